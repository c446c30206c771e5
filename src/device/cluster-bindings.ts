import { type BoundGrant, type GrantSubject, isManagedBinding } from '../access/grant.ts'
import { prefixedName } from '../access/identity.ts'
import type { ImpersonatorNames } from '../access/impersonator.ts'
import { MANAGED_BY_LABEL, MANAGED_BY_MCM } from '../access/label.ts'
import { timedGroupName } from '../access/timed-group.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { isMcmError, TrustError } from '../errors.ts'
import { type ClusterRoleBinding, RBAC_VERSION, type RoleBinding } from '../kube/rbac.ts'

/** What grants in a cluster consist of, for giving and for taking them. */

/** What happened in one cluster. */
export interface ClusterChange {
  readonly cluster: string
  readonly id: string
  readonly changed: readonly string[]
  /** Why it could not be done there, as a sentence. */
  readonly problem?: string
}

/** The same for a cluster that may be down: what could not be done is said, not thrown. @throws TrustError, and bugs */
export async function reported(
  cluster: ClusterRecord,
  work: () => Promise<readonly string[]>,
): Promise<ClusterChange> {
  const { name, id } = cluster
  try {
    return { cluster: name, id, changed: await work() }
  } catch (error) {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    return { cluster: name, id, changed: [], problem: error.message }
  }
}

/** Bindings that mcm keeps, of the whole cluster. */
export async function managedBindings(
  kubernetes: KubernetesApi,
): Promise<(RoleBinding | ClusterRoleBinding)[]> {
  const options = { labelSelector: `${MANAGED_BY_LABEL}=${MANAGED_BY_MCM[MANAGED_BY_LABEL]}` }
  const root = `/apis/${RBAC_VERSION}`
  const [inNamespaces, inCluster] = await Promise.all([
    kubernetes.list<RoleBinding>(`${root}/rolebindings`, options),
    kubernetes.list<ClusterRoleBinding>(`${root}/clusterrolebindings`, options),
  ])
  // Items of a list come without their kind.
  return [
    ...inNamespaces.items.map((item) => ({ ...item, kind: 'RoleBinding' as const })),
    ...inCluster.items.map((item) => ({ ...item, kind: 'ClusterRoleBinding' as const })),
  ].filter(isManagedBinding)
}

/** The name a subject has for the agent. */
export function ownName(subject: GrantSubject, prefix: string): ImpersonatorNames {
  const name = prefixedName(subject.name, prefix)
  return subject.kind === 'user' ? { users: [name], groups: [] } : { users: [], groups: [name] }
}

/** The timed groups that some grants are bound to, as the agent's list has them. */
export function timedNames(grants: readonly BoundGrant[], prefix: string): ImpersonatorNames {
  const groups = grants.flatMap(({ timedGroup }) =>
    timedGroup === undefined ? [] : [timedGroupName(timedGroup, prefix)],
  )
  return { users: [], groups }
}

export function isFor(grant: BoundGrant, { kind, name }: GrantSubject): boolean {
  return grant.subject.kind === kind && grant.subject.name === name
}

export function isListed(members: readonly GrantSubject[], subject: GrantSubject): boolean {
  return members.some(({ kind, name }) => kind === subject.kind && name === subject.name)
}
