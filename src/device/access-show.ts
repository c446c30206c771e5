import type { AccessFile } from '../access/access-file.ts'
import { type BoundGrant, grantKey, grantsOf } from '../access/grant.ts'
import { DESCRIPTION_ANNOTATION, NICKNAME_ANNOTATION } from '../access/label.ts'
import { roleDiffers } from '../access/object-difference.ts'
import { isOwnRole } from '../access/role.ts'
import { requestStatus } from '../directory/access-request.ts'
import type { ClusterRecord, UserRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { isMcmError, TrustError } from '../errors.ts'
import type { ClusterRole } from '../kube/rbac.ts'
import { managedRoles } from './access-actual.ts'
import { PARALLEL_CLUSTERS } from './access-plan.ts'
import { withCluster } from './cluster-access.ts'
import { managedBindings } from './cluster-bindings.ts'
import { reachableClusters } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { unknownUser } from './grant.ts'
import { inParallel } from './in-parallel.ts'

/** The access there is: as the bindings in the clusters say it, and the directory. */

export interface StandingGrant {
  readonly cluster: string
  readonly subject: { readonly kind: 'user' | 'group'; readonly name: string }
  readonly role: string
  readonly namespace?: string
  /** RFC 3339; when it ends by itself. */
  readonly expires?: string
  readonly nickname?: string
  /** The number of the request that it answers. */
  readonly request?: number
  /** What it needs besides and does not have, so that it gives nothing now. */
  readonly without?: string
}

export interface StandingAccess {
  readonly grants: readonly StandingGrant[]
  /** Clusters that could not be read, and why. */
  readonly problems: readonly { readonly cluster: string; readonly problem: string }[]
}

interface ReadCluster {
  readonly cluster: ClusterRecord
  readonly grants: readonly StandingGrant[]
  readonly roles: readonly ClusterRole[]
  readonly problem?: string
}

/** Everybody's, or what one user has, by name and through groups. @throws NotFoundError MCM_USER_UNKNOWN */
export async function standingAccess(
  session: FleetSession,
  user?: string,
): Promise<StandingAccess> {
  const { users } = session.directory.state
  const person = user === undefined ? undefined : users.get(user)
  if (user !== undefined && !person) throw unknownUser(user, [...users.keys()])
  const clusters = await readClusters(session)
  const grants = clusters.flatMap((each) => each.grants)
  return {
    grants: person ? grants.filter(({ subject }) => isOf(subject, person)) : grants,
    problems: unread(clusters),
  }
}

/** ClusterRoles of the owner's own, each with the clusters that have it. */
export async function ownRoles(
  session: FleetSession,
): Promise<{ role: ClusterRole; clusters: string[] }[]> {
  const found = new Map<string, { role: ClusterRole; clusters: string[] }>()
  for (const { cluster, roles } of await readClusters(session))
    for (const role of roles) {
      const before = found.get(role.metadata.name)
      if (before) before.clusters.push(cluster.name)
      else found.set(role.metadata.name, { role, clusters: [cluster.name] })
    }
  return [...found.values()]
}

/** All of it as the declaration that would make it: a beginning for `access.yaml`. */
export async function declarationOf(
  session: FleetSession,
): Promise<{ readonly declaration: AccessFile; readonly problems: StandingAccess['problems'] }> {
  const { users } = session.directory.state
  const people = [...users.values()].filter(({ revoked }) => !revoked)
  const clusters = await readClusters(session)
  const { roles, contested } = agreedRoles(clusters)
  const groups = new Set(people.flatMap((person) => [...person.groups]))
  // What gives nothing now is not declared: applying it would make it give something. What was asked for and
  // ends within hours is nobody's to declare.
  const grants = clusters
    .flatMap((each) => each.grants)
    .filter(({ without, request }) => without === undefined && request === undefined)
  for (const { subject } of grants) if (subject.kind === 'group') groups.add(subject.name)
  const named = new Set(people.map(({ name }) => name))
  const strangers = grants.flatMap(({ subject: { kind, name } }) =>
    kind === 'user' && !named.has(name) ? [name] : [],
  )
  const bots = new Set(people.flatMap(({ bot, name }) => (bot ? [name] : [])))
  return {
    declaration: {
      apiVersion: 'mcm.dev/v1alpha1',
      kind: 'Access',
      users: [
        ...people.filter(({ bot }) => !bot).map(declaredUser),
        ...[...new Set(strangers)].map((name) => ({ name })),
      ],
      groups: [...groups].sort().map((name) => ({ name })),
      bots: [...bots].map((name) => ({ name })),
      roles: roles.map(declaredRole),
      grants: declaredGrants(grants, bots),
    },
    problems: [...unread(clusters), ...contested],
  }
}

/** Clusters that could not be read. */
function unread(clusters: readonly ReadCluster[]): StandingAccess['problems'] {
  return clusters.flatMap(({ cluster, problem }) =>
    problem === undefined ? [] : [{ cluster: cluster.name, problem }],
  )
}

/**
 * Roles that are the same wherever they are. A declared role goes into every cluster: where two clusters differ,
 * choosing one would carry its rules into the other.
 */
function agreedRoles(clusters: readonly ReadCluster[]): {
  readonly roles: ClusterRole[]
  readonly contested: StandingAccess['problems']
} {
  const found = new Map<string, { readonly role: ClusterRole; readonly cluster: string }>()
  const contested = new Map<string, StandingAccess['problems'][number]>()
  for (const { cluster, roles } of clusters)
    for (const role of roles) {
      const { name } = role.metadata
      const first = found.get(name)
      if (!first) found.set(name, { role, cluster: cluster.name })
      else if (roleDiffers(first.role, role).includes('rules'))
        contested.set(name, {
          cluster: cluster.name,
          problem: `role ${name} has other rules there than in ${first.cluster} and is left out: declare it yourself`,
        })
    }
  return {
    roles: [...found.values()]
      .map(({ role }) => role)
      .filter((it) => !contested.has(it.metadata.name)),
    contested: [...contested.values()],
  }
}

async function readClusters(session: FleetSession): Promise<ReadCluster[]> {
  const clusters = reachableClusters(session.directory, session.state.user)
  return inParallel(clusters, PARALLEL_CLUSTERS, async (cluster) => {
    try {
      return await session.device.progress.step(`reading ${cluster.name}`, () =>
        readCluster(session, cluster),
      )
    } catch (error) {
      if (!isMcmError(error) || error instanceof TrustError) throw error
      return { cluster, grants: [], roles: [], problem: error.message }
    }
  })
}

function readCluster(session: FleetSession, cluster: ClusterRecord): Promise<ReadCluster> {
  return withCluster(session, cluster, async ({ kubernetes }) => {
    const [bindings, roles] = await Promise.all([
      managedBindings(kubernetes),
      managedRoles(kubernetes),
    ])
    const grants = bindings.flatMap((binding) => {
      const nickname = binding.metadata.annotations?.[NICKNAME_ANNOTATION]
      return grantsOf(binding, cluster.prefix).map((grant) =>
        standing(session, cluster, grant, nickname),
      )
    })
    return { cluster, grants: grants.sort(byText), roles: roles.filter(isOwnRole) }
  })
}

function standing(
  { directory, device }: FleetSession,
  cluster: ClusterRecord,
  grant: BoundGrant,
  nickname: string | undefined,
): StandingGrant {
  const { subject, role, namespace, timedGroup, request } = grant
  const { state } = directory
  const timed = state
    .timedGrants(cluster.id)
    .find(
      ({ group, subject: { kind, name } }) =>
        group === timedGroup && kind === subject.kind && name === subject.name,
    )
  const now = device.world.now()
  const isListed = state
    .memberships(cluster.id)
    .some((member) => isSame(member.subject, subject) && (!member.expires || now < member.expires))
  const isOver = timedGroup !== undefined && !(timed && now < timed.expires)
  const asked = request === undefined ? undefined : state.requests.get(request)
  const isWaiting = asked !== undefined && requestStatus(asked, now) === 'waiting'
  const over = isWaiting ? `request ${request} is not approved yet` : 'it is over'
  const without = isOver ? over : isListed ? undefined : 'no member of the cluster'
  return {
    cluster: cluster.name,
    subject: { kind: subject.kind, name: subject.name },
    role,
    ...(namespace === undefined ? {} : { namespace }),
    ...(timed ? { expires: formatTime(timed.expires) } : {}),
    ...(nickname === undefined ? {} : { nickname }),
    ...(request === undefined ? {} : { request }),
    ...(without === undefined ? {} : { without }),
  }
}

function declaredUser({ name, nickname, groups }: UserRecord): AccessFile['users'][number] {
  return {
    name,
    ...(nickname === undefined ? {} : { nickname }),
    ...(groups.length > 0 ? { groups: [...groups] } : {}),
  }
}

function declaredRole({ metadata, rules }: ClusterRole): AccessFile['roles'][number] {
  const description = metadata.annotations?.[DESCRIPTION_ANNOTATION]
  const list = (words: readonly string[] | undefined) => words && [...words]
  return {
    name: metadata.name,
    ...(description === undefined ? {} : { description }),
    rules: rules.map((rule) => ({
      apiGroups: list(rule.apiGroups),
      resources: list(rule.resources),
      resourceNames: list(rule.resourceNames),
      nonResourceURLs: list(rule.nonResourceURLs),
      verbs: [...rule.verbs],
    })),
  }
}

/** Clusters in which the same is granted share one line. */
function declaredGrants(
  grants: readonly StandingGrant[],
  bots: ReadonlySet<string>,
): AccessFile['grants'] {
  const lines = new Map<string, AccessFile['grants'][number] & { clusters: string[] }>()
  for (const { subject, role, namespace, expires, cluster } of grants) {
    const key = `${grantKey({ subject, role, ...(namespace ? { namespace } : {}) })} ${expires}`
    const line = lines.get(key)
    if (line) line.clusters.push(cluster)
    else
      lines.set(key, {
        ...declaredSubject(subject, bots),
        role,
        clusters: [cluster],
        ...(namespace === undefined ? {} : { namespaces: [namespace] }),
        ...(expires === undefined ? {} : { expires }),
      })
  }
  return [...lines.values()]
}

function declaredSubject({ kind, name }: StandingGrant['subject'], bots: ReadonlySet<string>) {
  if (kind === 'group') return { group: name }
  return bots.has(name) ? { bot: name } : { user: name }
}

function isOf({ kind, name }: StandingGrant['subject'], person: UserRecord): boolean {
  return kind === 'user' ? name === person.name : person.groups.includes(name)
}

function isSame(a: StandingGrant['subject'], b: StandingGrant['subject']): boolean {
  return a.kind === b.kind && a.name === b.name
}

function byText(a: StandingGrant, b: StandingGrant): number {
  const text = ({ subject, role, namespace }: StandingGrant) =>
    `${subject.kind} ${subject.name} ${role} ${namespace ?? ''}`
  return text(a) < text(b) ? -1 : 1
}
