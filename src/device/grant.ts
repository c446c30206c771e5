import {
  bindingOf,
  bindingPath,
  type Grant,
  type GrantSubject,
  grantsOf,
  isManagedBinding,
  namesForGrant,
  requireGrant,
} from '../access/grant.ts'
import { prefixedName } from '../access/identity.ts'
import { MANAGED_BY_LABEL, MANAGED_BY_MCM } from '../access/label.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { isMcmError, NotFoundError, TrustError } from '../errors.ts'
import { type ClusterRoleBinding, RBAC_VERSION, type RoleBinding } from '../kube/rbac.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { withCluster } from './cluster-access.ts'
import { nearNames, reachableClusters, requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { addNames, removeNames } from './impersonator-list.ts'

/**
 * Giving rights in clusters and taking them: ordinary bindings written with the administrator's own
 * identity, the list of names the agent may speak for, and the directory's word on who may see a cluster.
 */

/** What happened in one cluster. */
export interface ClusterChange {
  readonly cluster: string
  readonly id: string
  readonly changed: readonly string[]
  /** Why it could not be done there, as a sentence. */
  readonly problem?: string
}

const FIELD_MANAGER = 'mcm'

/**
 * Grants a role in each of the clusters named. Repeatable: what is there already is left.
 * @throws UsageError, NotFoundError MCM_USER_UNKNOWN MCM_CLUSTER_UNKNOWN, AccessDeniedError
 */
export async function grantRole(
  session: FleetSession,
  wish: Grant,
  clusterNames: readonly string[],
): Promise<ClusterChange[]> {
  const grant = requireGrant(wish)
  requireAdmin(session, 'grant roles')
  requireKnownSubject(session, grant.subject)
  const clusters = clusterNames.map((name) => requireCluster(session.directory, name))
  const changes = await Promise.all(clusters.map((each) => grantInCluster(session, grant, each)))
  await addMembers(session, grant.subject, clusters)
  return changes
}

async function grantInCluster(
  session: FleetSession,
  grant: Grant,
  cluster: ClusterRecord,
): Promise<ClusterChange> {
  const names = namesForGrant(grant, cluster.prefix, usersOf(session, grant.subject))
  const binding = bindingOf(grant, cluster.prefix)
  const changed: string[] = []
  await session.device.progress.step(`granting in ${cluster.name}`, () =>
    withCluster(session, cluster, async ({ kubernetes }) => {
      await requireRole(kubernetes, grant.role)
      const options = { fieldManager: FIELD_MANAGER, force: true }
      await kubernetes.apply(bindingPath(binding), binding, options)
      changed.push(`${binding.kind} ${binding.metadata.name}`)
      if (await addNames(kubernetes, names)) changed.push('ClusterRole mcm-impersonator')
    }),
  )
  return { cluster: cluster.name, id: cluster.id, changed }
}

/** A binding to a role that does not exist would be accepted, and would grant nothing. */
async function requireRole(kubernetes: KubernetesApi, role: string): Promise<void> {
  const path = `/apis/${RBAC_VERSION}/clusterroles/${encodeURIComponent(role)}`
  if (await kubernetes.getIfAny(path)) return
  throw new NotFoundError('MCM_ROLE_UNKNOWN', `there is no ClusterRole ${role} in this cluster`, {
    hint: 'kubectl get clusterroles lists them; the presets are admin, ops, dev, ro, ns-dev, ns-ro',
  })
}

async function addMembers(
  session: FleetSession,
  subject: GrantSubject,
  clusters: readonly ClusterRecord[],
): Promise<void> {
  await appendStatements(session, ({ directory, key }) =>
    clusters
      .filter(({ id }) => !isListed(directory.state.members(id), subject))
      .map(({ id }) => ({
        type: 'member',
        detail: { action: 'add', subject: { ...subject }, cluster: id },
        signers: [key],
      })),
  )
}

/**
 * Takes a user's or group's rights in some clusters away; all of mcm's bindings there, or only of one role
 * or namespace. With nothing left there the subject is no member any more.
 */
export async function ungrant(
  session: FleetSession,
  subject: GrantSubject,
  only: { readonly role?: string; readonly namespace?: string },
  clusterNames: readonly string[],
): Promise<ClusterChange[]> {
  requireAdmin(session, 'take rights away')
  const clusters = clusterNames.map((name) => requireCluster(session.directory, name))
  const results = await Promise.all(
    clusters.map((cluster) => ungrantInCluster(session, subject, only, cluster)),
  )
  await removeMembers(
    session,
    subject,
    results.filter(({ isLeft }) => !isLeft).map(({ change }) => change.id),
  )
  return results.map(({ change }) => change)
}

async function ungrantInCluster(
  session: FleetSession,
  subject: GrantSubject,
  only: { readonly role?: string; readonly namespace?: string },
  cluster: ClusterRecord,
): Promise<{ change: ClusterChange; isLeft: boolean }> {
  const changed: string[] = []
  let isLeft = false
  await withCluster(session, cluster, async ({ kubernetes }) => {
    for (const binding of await managedBindings(kubernetes)) {
      const grants = grantsOf(binding, cluster.prefix).filter((grant) => isFor(grant, subject))
      if (grants.length === 0) continue
      if (!grants.some((grant) => isWanted(grant, only))) {
        isLeft = true
        continue
      }
      await kubernetes.delete(bindingPath(binding))
      changed.push(`${binding.kind} ${binding.metadata.name}`)
    }
    if (isLeft || keepsName(session, subject, cluster)) return
    const gone = ownName(subject, cluster.prefix)
    if (await removeNames(kubernetes, gone)) changed.push('ClusterRole mcm-impersonator')
  })
  return { change: { cluster: cluster.name, id: cluster.id, changed }, isLeft }
}

/** A user who is there through a group as well still has to be spoken for. */
function keepsName(
  { directory }: FleetSession,
  subject: GrantSubject,
  cluster: ClusterRecord,
): boolean {
  if (subject.kind === 'group') return false
  const groups = directory.state.users.get(subject.name)?.groups ?? []
  const members = directory.state.members(cluster.id)
  return groups.some((name) => isListed(members, { kind: 'group', name }))
}

async function removeMembers(
  session: FleetSession,
  subject: GrantSubject,
  clusterIds: readonly string[],
): Promise<void> {
  await appendStatements(session, ({ directory, key }) =>
    clusterIds
      .filter((id) => isListed(directory.state.members(id), subject))
      .map((id) => ({
        type: 'member',
        detail: { action: 'remove', subject: { ...subject }, cluster: id },
        signers: [key],
      })),
  )
}

/**
 * Everything a user has in every cluster this administrator can reach: bindings, name, and open sessions.
 * What cannot be reached is reported; the directory's own word has cut the user off there already.
 */
export async function endEverywhere(session: FleetSession, user: string): Promise<ClusterChange[]> {
  const clusters = reachableClusters(session.directory, session.state.user)
  return Promise.all(
    clusters.map((cluster) =>
      reported(cluster, () =>
        withCluster(session, cluster, async ({ kubernetes, agent }) => {
          const changed: string[] = []
          const subject = { kind: 'user', name: user } as const
          if (await cutSessions(() => agent.revoke({ user }))) changed.push('open sessions')
          for (const binding of await managedBindings(kubernetes)) {
            const grants = grantsOf(binding, cluster.prefix)
            if (!grants.some((grant) => isFor(grant, subject))) continue
            await kubernetes.delete(bindingPath(binding))
            changed.push(`${binding.kind} ${binding.metadata.name}`)
          }
          const gone = ownName(subject, cluster.prefix)
          if (await removeNames(kubernetes, gone)) changed.push('ClusterRole mcm-impersonator')
          return changed
        }),
      ),
    ),
  )
}

/** A user who never had a certificate there has nothing to revoke. */
async function cutSessions(revoke: () => Promise<unknown>): Promise<boolean> {
  try {
    await revoke()
    return true
  } catch (error) {
    if (error instanceof NotFoundError) return false
    throw error
  }
}

/**
 * A user who comes into a group acts under their own name, which every cluster where that group has
 * something must list. What cannot be reached now is reported, with what to do.
 */
export async function listGroupMember(
  session: FleetSession,
  user: string,
  groups: readonly string[],
): Promise<ClusterChange[]> {
  const { directory, state } = session
  const clusters = reachableClusters(directory, state.user).filter(({ id }) =>
    groups.some((name) => isListed(directory.state.members(id), { kind: 'group', name })),
  )
  return Promise.all(
    clusters.map((cluster) =>
      reported(cluster, () =>
        withCluster(session, cluster, async ({ kubernetes }) => {
          const names = ownName({ kind: 'user', name: user }, cluster.prefix)
          return (await addNames(kubernetes, names)) ? ['ClusterRole mcm-impersonator'] : []
        }),
      ),
    ),
  )
}

async function reported(
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
async function managedBindings(
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

function requireKnownSubject({ directory }: FleetSession, subject: GrantSubject): void {
  if (subject.kind === 'group') return
  const known = directory.state.users.get(subject.name)
  if (known && !known.revoked) return
  throw unknownUser(subject.name, [...directory.state.users.keys()])
}

/** @throws never; makes the error for a user nobody invited */
export function unknownUser(name: string, known: readonly string[]): NotFoundError {
  const near = nearNames(name, known)
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `mcm invite ${name}`
  return new NotFoundError('MCM_USER_UNKNOWN', `no user ${JSON.stringify(name)} in this fleet`, {
    hint,
  })
}

function usersOf({ directory }: FleetSession, subject: GrantSubject): string[] {
  if (subject.kind === 'user') return []
  return [...directory.state.users.values()]
    .filter(({ revoked, groups }) => !revoked && groups.includes(subject.name))
    .map(({ name }) => name)
}

function ownName(subject: GrantSubject, prefix: string) {
  const name = prefixedName(subject.name, prefix)
  return subject.kind === 'user' ? { users: [name], groups: [] } : { users: [], groups: [name] }
}

function isFor(grant: Grant, { kind, name }: GrantSubject): boolean {
  return grant.subject.kind === kind && grant.subject.name === name
}

function isWanted(grant: Grant, only: { role?: string; namespace?: string }): boolean {
  const isRole = only.role === undefined || grant.role === only.role
  return isRole && (only.namespace === undefined || grant.namespace === only.namespace)
}

function isListed(members: readonly GrantSubject[], subject: GrantSubject): boolean {
  return members.some(({ kind, name }) => kind === subject.kind && name === subject.name)
}
