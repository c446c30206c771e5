import { generateSigningKey, type SigningKey } from '../directory/signing-key.ts'
import { type Link, parseLink } from '../protocol/link.ts'
import { requirePrincipalName } from '../protocol/names.ts'
import { withFileLock } from '../store/files.ts'
import { type ClusterOutcome, fetchCertificates } from './certificates.ts'
import { requireClock } from './clock.ts'
import type { Device } from './device.ts'
import { keptDeviceKey, requireDeviceKey } from './device-key.ts'
import { writeDirectory } from './directory-cache.ts'
import { withFleet } from './fleet-session.ts'
import { foundFleet } from './found-fleet.ts'
import { connectToHub } from './hub-connection.ts'
import { joinFleet } from './join-fleet.ts'
import {
  alreadyLoggedIn,
  type LoggedIn,
  type LoginAttempt,
  type LoginOptions,
  storeDeviceKey,
} from './login-attempt.ts'
import { clearPendingLogin, type PendingLogin, readPendingLogin } from './pending-login.ts'
import { type DeviceState, readState, updateState, writeState } from './state.ts'

/** From a link to a device of the fleet with a certificate for every cluster; each step can be repeated. */

export interface LoginResult {
  readonly user: string
  readonly groups: readonly string[]
  readonly fleet: string
  readonly device: { readonly id: string; readonly name: string }
  readonly keys: 'keychain' | 'file'
  /** True when this call made the fleet. */
  readonly isFounder: boolean
  readonly clusters: readonly ClusterOutcome[]
}

/**
 * Logs this device in. When it is already, in the same fleet, fetches what is missing, or without a link
 * new certificates for everything.
 * @throws UsageError MCM_BAD_LINK MCM_USAGE, IdentityError MCM_INVITE_EXPIRED MCM_INVITE_USED,
 *   TrustError MCM_PIN_MISMATCH MCM_DIRECTORY_INVALID MCM_CLOCK_SKEW, UnreachableError, StateError
 */
export async function login(device: Device, options: LoginOptions): Promise<LoginResult> {
  const link = options.link === undefined ? undefined : parseLink(options.link)
  if (options.user !== undefined) requirePrincipalName(options.user)
  const isNew = link !== undefined && (await logInAlone(device, link, options))
  if (link === undefined) await renewProvided(device, options)
  return withFleet(device, async (session) => {
    const { state, directory } = session
    const clusters = await fetchCertificates(session, { renew: link === undefined })
    return {
      user: state.user,
      groups: directory.state.users.get(state.user)?.groups ?? [],
      fleet: state.fleet,
      device: state.device,
      keys: state.secrets,
      isFounder: isNew && link?.kind === 'start',
      clusters,
    }
  })
}

/** Two logins at once would each make a key. */
async function logInAlone(device: Device, link: Link, options: LoginOptions): Promise<boolean> {
  return withFileLock(`${device.home.directory}/login`, () => logInOnce(device, link, options))
}

/** True when this call logged in, false when the device was already. */
async function logInOnce(device: Device, link: Link, options: LoginOptions): Promise<boolean> {
  const state = await readState(device.home)
  if (link.kind === 'oidc') return logInByToken(device, link, options, state)
  if (state && isSameFleet(state, link)) return false
  if (state && link.kind === 'join') throw alreadyLoggedIn(state, device)
  const pending = await usablePending(device, link)
  const key = await loginKey(device, state, pending)
  const candidates = link.endpoints.map((endpoint) => ({ endpoint, pin: link.hubPin }))
  const connection = await connectToHub(device, candidates, key)
  try {
    const info = await connection.hub.info()
    requireClock(device.world.now(), info.time)
    if (state && info.fleet === state.fleet) return false
    if (state) throw alreadyLoggedIn(state, device)
    const attempt = { device, options, key, connection, pending }
    const loggedIn =
      link.kind === 'start'
        ? await foundFleet(attempt, link, info.fleet)
        : await joinFleet(attempt, link, info.fleet)
    await finish(attempt, link, loggedIn)
    return true
  } finally {
    connection.hub.close()
  }
}

/** Again as well: it is the way to a new token, for the same person. */
async function logInByToken(
  device: Device,
  link: Link & { kind: 'oidc' },
  options: LoginOptions,
  state: DeviceState | undefined,
): Promise<boolean> {
  if (state && state.fleet !== link.fleet) throw alreadyLoggedIn(state, device)
  if (state && !state.provided) return false
  const key = state ? await requireDeviceKey(device, state) : await newLoginKey(device, options)
  const { joinByToken } = await import('./join-by-token.ts')
  const attempt = { device, options, key }
  const loggedIn = await joinByToken(attempt, link, state)
  await finish(attempt, link, loggedIn)
  return true
}

/** A token that was made beforehand is for a key that was there before. */
async function newLoginKey(device: Device, { token }: LoginOptions): Promise<SigningKey> {
  if (token?.kind !== 'command' || !token.isAudienceFixed) return generateSigningKey()
  const key = (await keptDeviceKey(device)) ?? generateSigningKey()
  await storeDeviceKey(device, key)
  return key
}

/** Without a link whoever came by a token gets a new one: that is what they were told to run. */
async function renewProvided(device: Device, { token }: LoginOptions): Promise<void> {
  const state = await readState(device.home)
  if (!state?.provided) return
  const { renewLogin } = await import('./provided-renewal.ts')
  await renewLogin(device, { source: token ?? { kind: 'person' }, isForced: true })
}

function isSameFleet(state: DeviceState, link: Link): boolean {
  return link.kind === 'join' && link.fleet === state.fleet
}

/** An unfinished login of another link must not lend this one its key. */
async function usablePending(device: Device, link: Link): Promise<PendingLogin | undefined> {
  const pending = await readPendingLogin(device.home)
  if (!pending) return undefined
  if (link.kind === 'start') return pending.founding ? pending : undefined
  return pending.fleet === link.fleet ? pending : undefined
}

async function loginKey(
  device: Device,
  state: DeviceState | undefined,
  pending: PendingLogin | undefined,
): Promise<SigningKey> {
  if (state) return requireDeviceKey(device, state)
  if (!pending) return generateSigningKey()
  const key = await requireDeviceKey(device, pendingState(pending)).catch(() => undefined)
  return key ?? generateSigningKey()
}

function pendingState(pending: PendingLogin): DeviceState {
  const { fleet, user, device, secrets } = pending
  const head = { seq: 0, hash: fleet }
  return { fleet, user, device, secrets, head, endpoint: 'public', hub: { endpoints: [], pin: '' } }
}

/**
 * What a second login by a token finds here it changes under the lock, and not the head: other processes have gone on
 * while somebody was in the browser. The directory is caught up with as in every command.
 */
async function finish(
  { device, options, key }: Pick<LoginAttempt, 'device' | 'options' | 'key'>,
  link: Link,
  { directory, user, deviceName, provided }: LoggedIn,
): Promise<void> {
  const own = {
    device: { id: key.id, name: deviceName },
    secrets: device.secrets.kind,
    hub: { endpoints: [...link.endpoints], pin: link.hubPin },
    endpoint: options.endpoint,
    ...(provided === undefined ? {} : { provided }),
  }
  if (await readState(device.home)) {
    await updateState(device.home, (current) => ({ ...current, ...own }))
  } else {
    await writeDirectory(device.home, directory)
    const [fleet, head] = [directory.fleet!, directory.head!]
    await writeState(device.home, { ...own, fleet, user, head })
  }
  await clearPendingLogin(device.home)
}
