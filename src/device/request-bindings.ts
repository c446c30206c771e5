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
    if (grants.length === 0 || !grants.every((grant) => isOver(session, grant))) continue
    await kubernetes.delete(bindingPath(binding)).catch(ignoreGone)
    over.push(...grants)
    changed.push(`${binding.kind} ${binding.metadata.name}`)
  }
  const names = timedNames(over, cluster.prefix)
  if (await removeNames(kubernetes, names)) changed.push('ClusterRole mcm-impersonator')
  return changed
}

/** What there is in a cluster, without what answers requests that wait or run: that is not for a declaration to say. */
export function withoutRequests<
  T extends { readonly bindings: readonly Binding[]; readonly list: ImpersonatorList },
>(session: Session, { id, prefix }: ClusterRecord, actual: T): T {
  const { directory, device } = session
  const now = device.world.now()
  const answers = (binding: Binding) =>
    grantsOf(binding, prefix).filter((it) => it.request !== undefined && !isOver(session, it))
  const kept = new Set([
    ...actual.bindings.flatMap(answers).map(({ timedGroup }) => timedGroup!),
    ...[...directory.state.requests.values()]
      .filter((each) => each.cluster === id && isAlive(requestStatus(each, now)))
      .map(requestGroup),
  ])
  const keptNames = new Set([...kept].map((group) => timedGroupName(group, prefix)))
  return {
    ...actual,
    bindings: actual.bindings.filter((binding) => answers(binding).length === 0),
    list: { ...actual.list, groups: actual.list.groups.filter((name) => !keptNames.has(name)) },
  }
}

/** Whether it answers a request that is over. One that is newer than the directory known here may have been approved by another already. */
export function isOver(
  { directory, device }: Session,
  { request }: Pick<BoundGrant, 'request'>,
): boolean {
  if (request === undefined || request > (directory.head?.seq ?? -1)) return false
  const asked = directory.state.requests.get(request)
  return asked === undefined || !isAlive(requestStatus(asked, device.world.now()))
}

function isAlive(status: ReturnType<typeof requestStatus>): boolean {
  return status === 'waiting' || status === 'running'
}

/** Another administrator was faster. */
function ignoreGone(error: unknown): void {
  if (!(error instanceof NotFoundError)) throw error
}
