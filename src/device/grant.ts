import {
  bindingOf,
  bindingPath,
  type Grant,
  type GrantSubject,
  namesForGrant,
  requireGrant,
} from '../access/grant.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { NotFoundError } from '../errors.ts'
import { RBAC_VERSION } from '../kube/rbac.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { withCluster } from './cluster-access.ts'
import { type ClusterChange, isListed, ownName, reported } from './cluster-bindings.ts'
import { nearNames, reachableClusters, requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { addNames } from './impersonator-list.ts'

/**
 * Giving rights in clusters: ordinary bindings written with the administrator's own
 * identity, the list of names the agent may speak for, and the directory's word on who may see a cluster.
 */

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
