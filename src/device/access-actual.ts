import type { ActualAccess } from '../access/access-difference.ts'
import { IMPERSONATOR_NAME, readImpersonator } from '../access/impersonator.ts'
import { MANAGED_BY_SELECTOR } from '../access/label.ts'
import type { WantedAccess } from '../access/wanted-access.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import type { Directory } from '../directory/directory.ts'
import { type ClusterRole, RBAC_VERSION } from '../kube/rbac.ts'
import { managedBindings } from './cluster-bindings.ts'

/** What there is: in a cluster, read with the administrator's own identity, and in the directory. */

const ROLES_PATH = `/apis/${RBAC_VERSION}/clusterroles`

/** @throws as KubernetesApi */
export async function readActualAccess(
  kubernetes: KubernetesApi,
  wanted: WantedAccess,
): Promise<Pick<ActualAccess, 'roles' | 'bindings' | 'list'>> {
  const [bindings, managed] = await Promise.all([
    managedBindings(kubernetes),
    managedRoles(kubernetes),
  ])
  const impersonator = managed.find(({ metadata }) => metadata.name === IMPERSONATOR_NAME)
  const list = readImpersonator(
    impersonator ?? (await kubernetes.get<ClusterRole>(`${ROLES_PATH}/${IMPERSONATOR_NAME}`)),
  )
  const roles = new Map(managed.map((role) => [role.metadata.name, role]))
  const named = new Set([
    ...wanted.roles.map(({ metadata }) => metadata.name),
    ...wanted.grants.map(({ grant }) => grant.role),
  ])
  for (const name of named) {
    if (roles.has(name)) continue
    const role = await kubernetes.getIfAny<ClusterRole>(`${ROLES_PATH}/${encodeURIComponent(name)}`)
    if (role) roles.set(name, role)
  }
  return { roles, bindings, list }
}

/** ClusterRoles with mcm's label. */
export async function managedRoles(kubernetes: KubernetesApi): Promise<ClusterRole[]> {
  const options = { labelSelector: MANAGED_BY_SELECTOR }
  const { items } = await kubernetes.list<ClusterRole>(ROLES_PATH, options)
  // Items of a list come without their kind.
  return items.map((item) => ({ ...item, kind: 'ClusterRole' as const, rules: item.rules ?? [] }))
}

/** What the directory says of a cluster at that moment. */
export function directoryAccess(
  { state }: Directory,
  clusterId: string,
  now: Date,
): Pick<ActualAccess, 'members' | 'timedGrants'> {
  const isStanding = ({ expires }: { readonly expires?: Date }) => !expires || now < expires
  return {
    members: state.memberships(clusterId).filter(isStanding),
    // Requests are nobody's to declare.
    timedGrants: state
      .timedGrants(clusterId)
      .filter((grant) => grant.request === undefined && isStanding(grant)),
  }
}

/**
 * Every name that the directory ever told of: people, and groups of people and clusters. Whom an identity
 * provider admits is its agent's to list.
 */
export function knownNames({ known, state }: Directory): {
  readonly users: ReadonlySet<string>
  readonly groups: ReadonlySet<string>
} {
  const users = new Set(state.users.keys())
  const groups = new Set<string>()
  for (const statement of known.values()) {
    if (statement?.type === 'invite' || statement?.type === 'groups')
      for (const group of statement.detail.groups) groups.add(group)
    if (statement?.type !== 'member') continue
    const { kind, name } = statement.detail.subject
    ;(kind === 'user' ? users : groups).add(name)
  }
  return { users: new Set([...users].filter((user) => !state.providerOf(user))), groups }
}
