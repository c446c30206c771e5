import {
  bindingOf,
  bindingPath,
  type Grant,
  type GrantSubject,
  namesForGrant,
  requireGrant,
} from '../access/grant.ts'
import { timedGroupOf } from '../access/timed-group.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { type ClusterRecord, type Membership, subjectKey } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { NotFoundError, UsageError } from '../errors.ts'
import { RBAC_VERSION } from '../kube/rbac.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements, type Draft } from './append.ts'
import { type ClusterAccess, withCluster } from './cluster-access.ts'
import type { ClusterChange } from './cluster-bindings.ts'
import { nearNames, requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { followServer } from './impersonation-form.ts'
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
  requireFuture(session, grant)
  const changes = await Promise.all(clusters.map((each) => grantInCluster(session, grant, each)))
  await sayGranted(session, grant, clusters)
  return changes
}

/** Repeatable as well. */
async function grantInCluster(
  session: FleetSession,
  grant: Grant,
  cluster: ClusterRecord,
): Promise<ClusterChange> {
  const changed = await session.device.progress.step(`granting in ${cluster.name}`, () =>
    withCluster(session, cluster, (access) => writeGrant(session, cluster, grant, access)),
  )
  return { cluster: cluster.name, id: cluster.id, changed }
}

/** Binding and names, with the caller's own identity: RBAC there judges whether they may give it. Gives what changed. */
export async function writeGrant(
  session: FleetSession,
  cluster: ClusterRecord,
  grant: Grant,
  { agent, kubernetes }: ClusterAccess,
): Promise<string[]> {
  const names = namesForGrant(grant, cluster.prefix, usersOf(session, grant.subject))
  const binding = await applyBinding(session, cluster, grant, kubernetes)
  const isFollowed = await followServer({ agent, kubernetes })
  const isListed = (await addNames(kubernetes, names)) || isFollowed
  const written = `${binding.kind} ${binding.metadata.name}`
  return [written, ...(isListed ? ['ClusterRole mcm-impersonator'] : [])]
}

/** Asks the API server whether the caller may give it, and keeps nothing there. @throws as `writeGrant` */
export async function tryGrant(
  session: FleetSession,
  cluster: ClusterRecord,
  grant: Grant,
  { kubernetes }: ClusterAccess,
): Promise<void> {
  await applyBinding(session, cluster, grant, kubernetes, { dryRun: true })
}

async function applyBinding(
  session: FleetSession,
  { prefix }: ClusterRecord,
  grant: Grant,
  kubernetes: KubernetesApi,
  how: { readonly dryRun?: boolean } = {},
) {
  const { kind, name } = grant.subject
  const person = kind === 'user' ? session.directory.state.users.get(name) : undefined
  const approver = grant.request === undefined ? undefined : session.state.user
  const binding = bindingOf(grant, prefix, person?.nickname, approver)
  await requireRole(kubernetes, grant.role)
  const options = { fieldManager: FIELD_MANAGER, force: true, ...how }
  await kubernetes.apply(bindingPath(binding), binding, options)
  return binding
}

/** A binding to a role that does not exist would be accepted, and would grant nothing. */
async function requireRole(kubernetes: KubernetesApi, role: string): Promise<void> {
  const path = `/apis/${RBAC_VERSION}/clusterroles/${encodeURIComponent(role)}`
  if (await kubernetes.getIfAny(path)) return
  throw new NotFoundError('MCM_ROLE_UNKNOWN', `there is no ClusterRole ${role} in this cluster`, {
    hint: 'kubectl get clusterroles lists them; the presets are admin, ops, dev, ro, ns-dev, ns-ro',
  })
}

/** A membership lasts as long as the longest grant; a grant that ends has its own statement. */
async function sayGranted(
  session: FleetSession,
  grant: Grant,
  clusters: readonly ClusterRecord[],
): Promise<void> {
  const end = grant.expires && { expires: formatTime(grant.expires) }
  await appendStatements(session, ({ directory, key }) =>
    clusters.flatMap(({ id: cluster }): Draft[] => {
      const subject = { ...grant.subject }
      const detail = { action: 'add', subject, cluster, ...end } as const
      const isLonger = !isMemberUntil(directory.state.memberships(cluster), grant)
      const member = { type: 'member', detail, signers: [key] } as const
      const timed = end && {
        type: 'grant' as const,
        detail: { subject, cluster, group: timedGroupOf(grant), ...end },
        signers: [key],
      }
      return [...(isLonger ? [member] : []), ...(timed ? [timed] : [])]
    }),
  )
}

function isMemberUntil(members: readonly Membership[], { subject, expires }: Grant): boolean {
  const found = members.find((each) => subjectKey(each.subject) === subjectKey(subject))
  if (!found) return false
  if (!found.expires) return true
  return expires !== undefined && expires <= found.expires
}

function requireFuture({ device }: FleetSession, { expires }: Grant): void {
  if (!expires || expires > device.world.now()) return
  throw new UsageError('MCM_USAGE', `a grant until ${formatTime(expires)} is over already`)
}

function requireKnownSubject({ directory }: FleetSession, subject: GrantSubject): void {
  if (subject.kind === 'group') return
  const known = directory.state.users.get(subject.name)
  if (known && !known.revoked) return
  // Whom a provider names nobody invites; and a grant brings back who was revoked.
  if (directory.state.providerOf(subject.name)) return
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
