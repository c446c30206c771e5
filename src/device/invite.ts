import { type Grant, requireGrant } from '../access/grant.ts'
import { lifetimeText } from '../directory/bot-lifetime.ts'
import { inviteSigningKey } from '../directory/signing-key.ts'
import { formatTime } from '../directory/time.ts'
import { UsageError } from '../errors.ts'
import { formatLink } from '../protocol/link.ts'
import { requirePrincipalName } from '../protocol/names.ts'
import { Secret } from '../secret.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { askProtection } from './ceiling.ts'
import { type ClusterChange, reported } from './cluster-bindings.ts'
import { requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { followNames } from './follow-names.ts'
import { grantRole } from './grant.ts'

/** One link that brings a person, another device of theirs, or a bot into the fleet. */

export interface InviteOptions {
  readonly user: string
  /** Undefined: those the user has now. */
  readonly groups?: readonly string[]
  readonly expiresInMs: number
  readonly bot: boolean
  /** How long certificates of a bot live; a day unless told. */
  readonly lifetimeSeconds?: number
  /** What the user may do from the first day. */
  readonly grant?: {
    readonly role: string
    readonly namespace?: string
    readonly clusters: readonly string[]
  }
}

export interface Invite {
  readonly user: string
  readonly groups: readonly string[]
  /** RFC 3339. */
  readonly expires: string
  readonly bot: boolean
  /** Holds the secret: shown once, and never logged. */
  readonly link: Secret<string>
  /** Clusters where the user's groups have grants, and what had to be changed there. */
  readonly clusters: readonly ClusterChange[]
}

const SECRET_BYTES = 16
const MAX_EXPIRY_MS = 30 * 24 * 3_600_000

/** @throws UsageError MCM_BAD_NAME MCM_USAGE, AccessDeniedError MCM_FORBIDDEN */
export async function createInvite(session: FleetSession, options: InviteOptions): Promise<Invite> {
  requireAdmin(session, `invite ${options.user}`)
  const user = requirePrincipalName(options.user, options.bot ? 'bot' : 'user')
  requireKind(session, options)
  const wish = grantWish(session, user, options.grant)
  const groups = invitedGroups(session, options)
  await requireAllowedLife(session, options)
  const expires = expiry(session, options.expiresInMs)
  const fleet = session.state.fleet
  const secret = Buffer.from(session.device.world.random(SECRET_BYTES)).toString('base64url')
  const inviteKey = inviteSigningKey(secret, fleet)
  const { bot, lifetimeSeconds: lifetime } = options
  const detail = { user, groups: [...groups], expires: formatTime(expires), bot }
  const after = await appendStatements(session, (current) => [
    {
      type: 'invite',
      detail: { ...detail, ...(lifetime === undefined ? {} : { lifetime }) },
      inviteKey: inviteKey.id,
      signers: [current.key],
    },
  ])
  const clusters = [
    ...(await followNames(session, after)),
    ...(wish ? await grantEach(after, wish, options.grant?.clusters ?? []) : []),
  ]
  const link = new Secret(formatLink({ kind: 'join', ...hubOfLink(after), fleet, secret }))
  return { user, groups, expires: formatTime(expires), bot, link, clusters }
}

/** The invite stands by now: where the grant fails that is said, and the link is not lost with it. */
async function grantEach(
  session: FleetSession,
  wish: Grant,
  clusterNames: readonly string[],
): Promise<ClusterChange[]> {
  const changes: ClusterChange[] = []
  for (const name of clusterNames) {
    const cluster = requireCluster(session.directory, name)
    const grant = async () =>
      (await grantRole(session, wish, [name])).flatMap((each) => each.changed)
    changes.push(await reported(cluster, grant))
  }
  return changes
}

/** Looked at before anything is signed: a misspelt cluster must not leave an invite behind. */
function grantWish(
  { directory }: FleetSession,
  user: string,
  grant: InviteOptions['grant'],
): Grant | undefined {
  if (!grant) return undefined
  for (const cluster of grant.clusters) requireCluster(directory, cluster)
  const { role, namespace } = grant
  const subject = { kind: 'user', name: user } as const
  return requireGrant({ subject, role, ...(namespace === undefined ? {} : { namespace }) })
}

/** Neither becomes the other by an invite, and a bot is in no group of people's. */
function requireKind({ directory }: FleetSession, { user, bot, groups = [] }: InviteOptions): void {
  const known = directory.state.users.get(user)
  if (bot && known && !known.bot)
    throw new UsageError('MCM_USAGE', `${user} is the name of a person`, {
      hint: 'give the program a name of its own: it never has a person’s rights',
    })
  if (!bot && known?.bot && !known.revoked)
    throw new UsageError('MCM_USAGE', `${user} is the name of a bot`, {
      hint: `mcm bots create ${user} makes a link for another machine of it`,
    })
  if (bot && groups.length > 0)
    throw new UsageError('MCM_USAGE', `${user} is to be a bot, and bots are in no group`, {
      hint: `grant the bot itself something: mcm grant ${user} --role ROLE --cluster CLUSTER`,
    })
}

/** Asked before anything is signed, of the clusters that a grant names; the others refuse when it comes. */
async function requireAllowedLife(
  session: FleetSession,
  { user, lifetimeSeconds: wanted, grant }: InviteOptions,
): Promise<void> {
  for (const name of wanted === undefined ? [] : (grant?.clusters ?? [])) {
    const cluster = requireCluster(session.directory, name)
    const maximum = (await askProtection(session, cluster)).protection?.botMaximumLife
    if (maximum !== undefined && wanted! > maximum) throw tooLong(user, cluster.name, maximum)
  }
}

function tooLong(user: string, cluster: string, maximum: number): UsageError {
  const allowed = lifetimeText(maximum)
  return new UsageError('MCM_USAGE', `the owner of ${cluster} allows bots ${allowed} at most`, {
    hint: `mcm bots create ${user} --for ${allowed}; or ask the owner for --bot-max-life`,
  })
}

/** A second device must not cost its owner the groups of the first. */
function invitedGroups({ directory }: FleetSession, options: InviteOptions): readonly string[] {
  if (options.bot) return []
  const known = directory.state.users.get(options.user)
  const current = known && !known.revoked ? known.groups : []
  const groups = options.groups ?? current
  return [...new Set(groups.map((group) => requirePrincipalName(group, 'group')))]
}

function expiry({ device }: FleetSession, expiresInMs: number): Date {
  if (expiresInMs > 0 && expiresInMs <= MAX_EXPIRY_MS)
    return new Date(device.world.now().getTime() + expiresInMs)
  throw new UsageError('MCM_USAGE', 'an invite lives between a minute and 30 days', {
    hint: 'give --expires as 24h or 7d',
  })
}

/** The hub this connection goes to, as the directory knows it: its public endpoints first. */
export function hubOfLink({ directory, connection }: FleetSession): {
  endpoints: readonly string[]
  hubPin: string
} {
  const { endpoint, pin } = connection.candidate
  const hub = directory.state.hubs.find((each) => each.pin === pin)
  if (!hub) return { endpoints: [endpoint], hubPin: pin }
  return { endpoints: [...hub.endpoints, ...hub.privateEndpoints], hubPin: hub.pin }
}
