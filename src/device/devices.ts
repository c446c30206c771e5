import type { Detail } from '../directory/details.ts'
import { formatTime } from '../directory/time.ts'
import { isMcmError, NotFoundError, UsageError } from '../errors.ts'
import { appendStatements } from './append.ts'
import { withCluster } from './cluster-access.ts'
import { reachableClusters } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { revokeDevice } from './revoke.ts'

/** The devices of a person, or for an administrator of everybody: who has which, and ending one that is lost. */

export interface OwnedDevice {
  readonly user: string
  readonly id: string
  readonly name: string
  /** RFC 3339; when it joined, or logged in last. */
  readonly since: string
  /** RFC 3339; when its login ends, where a token let it in: as the hub says. */
  readonly until?: string
  readonly isAdmin: boolean
  /** The one this runs on. */
  readonly isThis: boolean
}

/** Those that stand, by user and name. */
export async function listDevices(session: FleetSession): Promise<OwnedDevice[]> {
  const { directory, state, key, hub } = session
  const { users, admins } = directory.state
  const isAdmin = admins.has(key.id)
  const seen = [...users.values()].filter(({ name }) => isAdmin || name === state.user)
  const joined = seen.flatMap((user) =>
    [...user.devices.values()]
      .filter(({ revoked, until }) => !revoked && until === undefined)
      .map(({ id, name, since }) => ({ user: user.name, id, name, since: formatTime(since) })),
  )
  const hasGuests = directory.state.providers.size > 0
  const guests = (hasGuests ? await hub.admittedDevices() : [])
    .filter((each) => (isAdmin || each.user === state.user) && isGuest(session, each))
    .map(({ user, id, name, since, until }) => ({ user, id, name, since, until }))
  return [...joined, ...guests]
    .map((each) => ({ ...each, isAdmin: admins.has(each.id), isThis: each.id === key.id }))
    .sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1))
}

/**
 * Whether the hub may speak of it: nothing it says is signed, so a key that statements know, or a name that no
 * provider gives, is not its to name. Or an administrator would end whatever key it shows.
 */
function isGuest(
  { directory: { state } }: FleetSession,
  { id, user }: { readonly id: string; readonly user: string },
): boolean {
  const known = state.deviceOwner(id)
  const isStated = known !== undefined && known.device.until === undefined
  const isOthers = known !== undefined && known.user.name !== user
  return !isStated && !isOthers && !state.admins.has(id) && state.providerOf(user) !== undefined
}

export interface RemovedDevice {
  readonly user: string
  readonly id: string
  readonly name: string
  /** Whether a signed statement ends it, which reaches every cluster that it has not reached yet. */
  readonly isSigned: boolean
  /** Where it had to be told to the agent alone, and could not be. */
  readonly problems: readonly { readonly cluster: string; readonly problem: string }[]
}

/**
 * Ends a device: one's own, or for an administrator anybody's, after `confirm` was shown which it is. Of a login by
 * token the whole id will do, whatever the hub lists.
 * @throws NotFoundError MCM_NOT_FOUND, UsageError MCM_USAGE for the device this runs on and when several match
 */
export async function removeDevice(
  session: FleetSession,
  wanted: { readonly user?: string; readonly device: string },
  reason: string,
  confirm: (found: OwnedDevice) => Promise<void> = async () => {},
): Promise<RemovedDevice> {
  const listed = await listDevices(session)
  const found = unlisted(session, listed, wanted) ?? requireOne(listed, wanted)
  if (found.isThis) throw ownDevice()
  await confirm(found)
  const { user, id, name } = found
  const isAdmin = session.directory.state.admins.has(session.key.id)
  if (isAdmin) await endAsAdmin(session, found, reason)
  else if (found.until === undefined) await endOwn(session, id, reason)
  const isSigned = isAdmin || found.until === undefined
  if (found.until === undefined) return { user, id, name, isSigned, problems: [] }
  const problems = await tellAgents(session, id)
  // Last: it only keeps the list and the door in step with what agents know.
  await session.hub.endAdmitted(id).catch(ignoreGone)
  return { user, id, name, isSigned, problems }
}

async function endAsAdmin(session: FleetSession, device: OwnedDevice, reason: string) {
  const { user, id, until } = device
  if (until === undefined) await revokeDevice(session, user, id, reason)
  else await appendEnd(session, { type: 'revoke', detail: { device: id, reason } })
}

/** The directory takes it from any device of the same user. */
async function endOwn(session: FleetSession, id: string, reason: string): Promise<void> {
  await appendEnd(session, { type: 'removal', detail: { device: id, reason } })
}

async function appendEnd(session: FleetSession, end: Detail): Promise<void> {
  await appendStatements(session, ({ key }) => [{ ...end, signers: [key] }])
}

/** Agents alone know a guest's devices for certain, and end them at once. */
async function tellAgents(session: FleetSession, id: string): Promise<RemovedDevice['problems']> {
  const clusters = reachableClusters(session.directory, session.state.user)
  const outcomes = await Promise.all(
    clusters.map(async (cluster) => {
      try {
        await withCluster(session, cluster, ({ agent }) => agent.revoke({ device: id }))
        return []
      } catch (error) {
        if (error instanceof NotFoundError) return []
        if (isMcmError(error)) return [{ cluster: cluster.name, problem: error.message }]
        throw error
      }
    }),
  )
  return outcomes.flat()
}

/**
 * A key that is not listed (any more): its login is over, or the hub has ended it and some agent did not hear of
 * it. Only by its whole id.
 */
function unlisted(
  session: FleetSession,
  listed: readonly OwnedDevice[],
  { user = session.state.user, device: id }: { readonly user?: string; readonly device: string },
): OwnedDevice | undefined {
  const isOwn = user === session.state.user
  const mayEnd = isOwn || session.directory.state.admins.has(session.key.id)
  const isKnown = listed.some((each) => each.id === id)
  if (!KEY_ID.test(id) || isKnown || !mayEnd || !isGuest(session, { id, user })) return undefined
  return { user, id, name: id, since: '', until: '', isAdmin: false, isThis: id === session.key.id }
}

const KEY_ID = /^[A-Za-z0-9_-]{43}$/

/** An administrator’s statement has ended it at the hub already. */
function ignoreGone(error: unknown): void {
  if (!(error instanceof NotFoundError)) throw error
}

function requireOne(
  devices: readonly OwnedDevice[],
  { user, device }: { readonly user?: string; readonly device: string },
): OwnedDevice {
  const found = devices.filter(
    (each) =>
      (user === undefined || each.user === user) &&
      (each.id.startsWith(device) || each.name === device),
  )
  if (found.length === 1) return found[0]!
  const list = found.map((each) => `${each.name} of ${each.user} (${each.id.slice(0, 8)})`)
  if (found.length > 1)
    throw new UsageError('MCM_USAGE', `${found.length} devices match ${JSON.stringify(device)}`, {
      hint: `name one by its id: ${list.join(', ')}`,
    })
  throw new NotFoundError('MCM_NOT_FOUND', `no device ${JSON.stringify(device)} is known to you`, {
    hint: 'mcm devices lists them',
  })
}

function ownDevice(): UsageError {
  return new UsageError('MCM_USAGE', 'this is the device you are on', {
    hint: 'mcm logout takes everything off it; another of your devices, or an administrator, ends it',
  })
}

function sortKey({ user, name, id }: OwnedDevice): string {
  return `${user}\u0000${name}\u0000${id}`
}
