import { type BoundGrant, bindingPath, grantsOf } from '../access/grant.ts'
import type { ImpersonatorList } from '../access/impersonator.ts'
import { timedGroupName } from '../access/timed-group.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { requestGroup, requestStatus } from '../directory/access-request.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { NotFoundError } from '../errors.ts'
import type { ClusterRoleBinding, RoleBinding } from '../kube/rbac.ts'
import { managedBindings, timedNames } from './cluster-bindings.ts'
import type { FleetSession } from './fleet-session.ts'
import { removeNames } from './impersonator-list.ts'

/**
 * The bindings in a cluster that answer access requests (PROTOCOL §3.7): which may go, and which nobody may
 * take for left over.
 */

type Session = Pick<FleetSession, 'directory' | 'device'>
type Binding = RoleBinding | ClusterRoleBinding

/** Takes away what is bound and listed for requests that are over, with the caller's own identity. Gives what changed. */
export async function removeOverRequests(
  session: Session,
  cluster: ClusterRecord,
  kubernetes: KubernetesApi,
): Promise<string[]> {
  const changed: string[] = []
  const over: BoundGrant[] = []
  for (const binding of await managedBindings(kubernetes)) {
    const grants = grantsOf(binding, cluster.prefix)
    if (grants.length === 0 || !grants.every((grant) => isOver(session, grant, binding))) continue
    await kubernetes.delete(bindingPath(binding)).catch(ignoreGone)
    over.push(...grants)
    changed.push(`${binding.kind} ${binding.metadata.name}`)
  }
  const names = timedNames(over, cluster.prefix)
  if (await removeNames(kubernetes, names)) changed.push('ClusterRole mcm-impersonator')
  return changed
}

/**
 * What there is in a cluster, without what answers requests that wait or run: that is not for a declaration to say.
 * A binding that has anybody else in it stays, and is drift.
 */
export function withoutRequests<
  T extends { readonly bindings: readonly Binding[]; readonly list: ImpersonatorList },
>(session: Session, { id, prefix }: ClusterRecord, actual: T): T {
  const { directory, device } = session
  const now = device.world.now()
  const isAnswer = (binding: Binding) => {
    const grants = grantsOf(binding, prefix)
    const isAlone = grants.length === (binding.subjects ?? []).length
    const answersOne = (it: BoundGrant) => it.request !== undefined && !isOver(session, it, binding)
    return grants.length > 0 && isAlone && grants.every(answersOne)
  }
  const answers = actual.bindings.filter(isAnswer)
  const kept = new Set([
    ...answers.flatMap((binding) => grantsOf(binding, prefix)).map((it) => it.timedGroup!),
    ...[...directory.state.requests.values()]
      .filter((each) => each.cluster === id && isAlive(requestStatus(each, now)))
      .map(requestGroup),
  ])
  const keptNames = new Set([...kept].map((group) => timedGroupName(group, prefix)))
  return {
    ...actual,
    bindings: actual.bindings.filter((binding) => !answers.includes(binding)),
    list: { ...actual.list, groups: actual.list.groups.filter((name) => !keptNames.has(name)) },
  }
}

/** How long another administrator's approval may be under way: first comes the binding, then the statement. */
const UNDER_WAY_MS = 10 * 60_000

/** Whether a binding's grant answers a request that is over. One that is not known here was perhaps approved just now. */
export function isOver(
  session: Session,
  { request }: Pick<BoundGrant, 'request'>,
  { metadata }: Pick<Binding, 'metadata'>,
): boolean {
  if (request === undefined) return false
  if (request <= (session.directory.head?.seq ?? -1)) return !isRequestAlive(session, request)
  const { creationTimestamp = '' } = metadata
  const age = session.device.world.now().getTime() - Date.parse(creationTimestamp)
  return !(age <= UNDER_WAY_MS)
}

/** Whether it waits or runs. */
export function isRequestAlive({ directory, device }: Session, request: number): boolean {
  const asked = directory.state.requests.get(request)
  return asked !== undefined && isAlive(requestStatus(asked, device.world.now()))
}

function isAlive(status: ReturnType<typeof requestStatus>): boolean {
  return status === 'waiting' || status === 'running'
}

/** Another administrator was faster. */
function ignoreGone(error: unknown): void {
  if (!(error instanceof NotFoundError)) throw error
}
