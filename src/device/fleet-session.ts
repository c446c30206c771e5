import type { HubApi } from '../client/hub.ts'
import type { Directory } from '../directory/directory.ts'
import type { SigningKey } from '../directory/signing-key.ts'
import { AccessDeniedError, isMcmError } from '../errors.ts'
import { requireClock } from './clock.ts'
import type { Device } from './device.ts'
import { requireDeviceKey } from './device-key.ts'
import { extendFromHub, keepDirectory, ownDirectory } from './directory-cache.ts'
import {
  connectToHub,
  type HubCandidate,
  type HubConnection,
  hubCandidates,
} from './hub-connection.ts'
import { connectByChain } from './late-pin.ts'
import { renewReplaced } from './replaced-authorities.ts'
import { type DeviceState, requireState } from './state.ts'

/** A connection to the hub as this device, with the directory of this moment, verified. */
export interface FleetSession {
  readonly device: Device
  readonly state: DeviceState
  readonly directory: Directory
  readonly key: SigningKey
  readonly connection: HubConnection
  readonly hub: HubApi
}

/**
 * Connects, checks clock and directory, runs `work`, and closes.
 * @throws IdentityError MCM_NOT_LOGGED_IN, TrustError, UnreachableError, AccessDeniedError MCM_REVOKED
 */
export async function withFleet<T>(
  device: Device,
  work: (session: FleetSession) => Promise<T>,
): Promise<T> {
  const session = await openFleet(device)
  try {
    return await work(session)
  } finally {
    session.hub.close()
  }
}

/** The same for whoever keeps the connection; close its hub. `choose` says which candidates to try. */
export async function openFleet(
  device: Device,
  choose = (candidates: HubCandidate[]) => candidates,
): Promise<FleetSession> {
  const state = await standingState(device)
  const key = await requireDeviceKey(device, state)
  const cached = await ownDirectory(device.home, state)
  const candidates = choose(hubCandidates(state, cached, device.world.now()))
  const connection = await connectToHub(device, candidates, key).catch(async (error: unknown) => {
    if (!isMcmError(error) || error.code !== 'MCM_PIN_MISMATCH') throw error
    const proven = await connectByChain(device, state, cached, candidates, key)
    if (proven === undefined) throw error
    return proven
  })
  try {
    const { hub } = connection
    const session = { device, state, directory: cached, key, connection, hub }
    const synced = await syncDirectory(session)
    sayWhatIsKeptBack(synced)
    return synced
  } catch (error) {
    connection.hub.close()
    throw error
  }
}

/**
 * The same for whoever has worked with the session meanwhile: from what is kept here, so that a hub which shows the
 * directory of before gets nothing signed beside what was appended since. @throws as `syncDirectory`
 */
export async function catchUp(session: FleetSession): Promise<FleetSession> {
  const { device } = session
  const state = await requireState(device.home)
  const directory = await ownDirectory(device.home, state)
  return syncDirectory({ ...session, state, directory })
}

/** The session with the directory as it is now; kept on disk as well. @throws TrustError, AccessDeniedError MCM_REVOKED */
export async function syncDirectory(session: FleetSession): Promise<FleetSession> {
  const { device, directory, hub } = session
  const after = directory.head?.seq ?? -1
  // Every detail: a new membership shows statements of long ago.
  const [info, page] = await Promise.all([hub.info(), hub.directory({ after, details: 'all' })])
  requireClock(device.world.now(), info.time)
  const extended = await extendFromHub(directory, page, session.state.head)
  const isSame = isSameDirectory(extended, directory, session.state)
  // First what follows from it: whoever is killed in between meets the same difference again.
  if (!isSame) await renewReplaced(device, directory, extended)
  const state = isSame ? session.state : await keepDirectory(device.home, extended)
  const synced = { ...session, directory: extended, state }
  requireLive(synced)
  return synced
}

/** Nothing to keep: most commands meet the directory they left. */
function isSameDirectory(now: Directory, before: Directory, state: DeviceState): boolean {
  return now.head?.hash === state.head.hash && now.details.size === before.details.size
}

/** A login by a token that has ended is renewed first: the hub knows nobody whose has. */
async function standingState(device: Device): Promise<DeviceState> {
  const state = await requireState(device.home)
  const { provided } = state
  if (provided === undefined || device.world.now() < provided.admission.until) return state
  // Loaded here: few need it, and start-up time is felt.
  const { renewLogin } = await import('./provided-renewal.ts')
  return renewLogin(device)
}

/**
 * A hub takes no statement without its detail and shows an administrator every one (PROTOCOL §3.2), so one that is not
 * here is kept back: it may be a revocation, which this administrator then can bring to no cluster.
 */
function sayWhatIsKeptBack({ device, directory, key }: FleetSession): void {
  if (!directory.state.admins.has(key.id)) return
  const hidden = directory.statements.filter(({ seq }) => !directory.details.has(seq))
  const worst = hidden.find(({ type }) => type === 'revoke') ?? hidden[0]
  if (worst === undefined) return
  const which = `statement ${worst.seq} (${worst.type})`
  const what =
    hidden.length === 1 ? `${which} says` : `${which} and ${hidden.length - 1} others say`
  device.progress.say(`the hub keeps back what ${what}, which it shows every administrator`)
  device.progress.say(
    'try: ask whoever signed it to run mcm certs --all, which brings it to clusters',
  )
}

function requireLive({ directory, state, key }: FleetSession): void {
  const owner = directory.state.deviceOwner(key.id)
  if (!owner || directory.state.isLiveDevice(key.id)) return
  const what = owner.user.revoked ? `user ${state.user}` : `this device (${state.device.name})`
  throw new AccessDeniedError('MCM_REVOKED', `${what} has been revoked`, {
    hint: 'ask an administrator for a new invite, then mcm logout --yes and mcm login',
  })
}
