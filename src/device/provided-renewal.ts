import { IdentityError, isMcmError } from '../errors.ts'
import { deleteFile, readTextIfAny, withFileLock, writeFileAtomic } from '../store/files.ts'
import type { Device } from './device.ts'
import { requireDeviceKey } from './device-key.ts'
import { loadDirectory } from './directory-cache.ts'
import { REFRESH_TOKEN } from './home.ts'
import { hubCandidates } from './hub-connection.ts'
import { admissionRequest, providedBy, withHub } from './join-by-token.ts'
import {
  type CommandSource,
  type FreshToken,
  keepTokens,
  loginEnded,
  obtainToken,
  type TokenSource,
} from './provided-token.ts'
import { type DeviceState, type ProvidedLogin, requireState, updateState } from './state.ts'

/**
 * A login by a token has an end. Whoever comes first after it logs in anew: silently where the provider gave a
 * refresh token, in one browser window where not. Everybody else on this machine waits for that one.
 */

/** A person takes their time; longer than the provider's page is waited for. */
const WAIT_MS = 6 * 60_000

export interface RenewalOptions {
  /** How, when it cannot be done silently; a browser if there is one, else not at all. */
  readonly source?: TokenSource
  /** Although the login has not ended. */
  readonly isForced?: boolean
}

/** The state with a login that stands. @throws IdentityError MCM_LOGIN_ENDED MCM_TOKEN_REFUSED, UnreachableError */
export async function renewLogin(
  device: Device,
  options: RenewalOptions = {},
): Promise<DeviceState> {
  const asked = device.world.now()
  const wait = { waitMs: WAIT_MS, hint: 'somebody is logging in on this machine: see the browser' }
  return withFileLock(
    `${device.home.directory}/login`,
    async () => {
      const state = await requireState(device.home)
      if (!options.isForced && isStanding(state, device.world.now())) return state
      await requireNoFailureSince(device, asked)
      try {
        const renewed = await renew(device, state, options)
        await deleteFile(device.home.loginFailure)
        return renewed
      } catch (error) {
        await rememberFailure(device, error)
        throw error
      }
    },
    wait,
  )
}

/** Whether this device was invited, or its login lasts. */
export function isStanding({ provided }: DeviceState, now: Date): boolean {
  return provided === undefined || now < provided.admission.until
}

async function renew(
  device: Device,
  state: DeviceState,
  options: RenewalOptions,
): Promise<DeviceState> {
  const { provided, fleet } = state
  if (!provided) return state
  const directory = await loadDirectory(device.home, state)
  if (directory.head === null) throw noDirectory(device, provided)
  const provider = directory.state.providers.get(provided.provider)
  if (!provider) throw loginEnded(`the fleet takes no tokens of ${provided.provider} any more`)
  const key = await requireDeviceKey(device, state)
  const get = (source: TokenSource) => obtainToken(device, { fleet, key }, provider, source)
  const fresh = await firstOf(await sourcesOf(device, state, options), get)
  const { user } = fresh.judged.identity
  if (user !== state.user) throw otherUser(state.user, user)
  const candidates = hubCandidates(state, directory, device.world.now())
  const { name } = state.device
  await withHub({ device, candidates, key }, ({ hub }) =>
    hub.admit(admissionRequest(fresh, key, name)),
  )
  await keepTokens(device, fresh)
  const token = commandOf(provided)
  const renewed = providedBy(provider, fresh, key, { deviceName: name, ...(token && { token }) })
  return updateState(device.home, (current) => ({ ...current, provided: renewed }))
}

/** Only a link says where to log in when the copy here does not, and no hub shows it to whom it does not know. */
function noDirectory({ home }: Device, { provider }: ProvidedLogin): IdentityError {
  return new IdentityError(
    'MCM_LOGIN_ENDED',
    `this device cannot tell any more where provider ${provider} is: ${home.directoryCache} is missing or cannot be used`,
    {
      hint: `mcm login --oidc 'mcm://…' as the first time, with the link of ${provider} (mcm oidc, where somebody is logged in)`,
    },
  )
}

async function sourcesOf(
  device: Device,
  { provided }: DeviceState,
  { source = { kind: 'browser' } }: RenewalOptions,
): Promise<TokenSource[]> {
  const command = commandOf(provided!)
  if (command) return [command]
  const { salt } = provided!
  const refreshToken = await device.secrets.get(REFRESH_TOKEN)
  return refreshToken ? [{ kind: 'refresh', refreshToken, salt }, source] : [source]
}

function commandOf({ command, isAudienceFixed }: ProvidedLogin): CommandSource | undefined {
  if (command === undefined) return undefined
  return { kind: 'command', command, ...(isAudienceFixed ? { isAudienceFixed } : {}) }
}

/** The next one only when the provider says no; one that does not answer will not answer then either. */
async function firstOf(
  [source, ...others]: readonly TokenSource[],
  get: (source: TokenSource) => Promise<FreshToken>,
): Promise<FreshToken> {
  try {
    return await get(source!)
  } catch (error) {
    if (others.length === 0 || !(error instanceof IdentityError)) throw error
    return firstOf(others, get)
  }
}

interface Failure {
  readonly at: string
  readonly message: string
  readonly hint?: string
}

/** Whoever waited while another one failed need not fail once more, window by window. */
async function requireNoFailureSince({ home }: Device, asked: Date): Promise<void> {
  const text = await readTextIfAny(home.loginFailure)
  const failure = text === undefined ? undefined : (parse(text) as Failure | undefined)
  if (!failure || Date.parse(failure.at) < asked.getTime()) return
  throw loginEnded(failure.message, failure.hint)
}

async function rememberFailure({ home, world }: Device, error: unknown): Promise<void> {
  if (!isMcmError(error)) return
  const { message, hint } = error
  const at = world.now().toISOString()
  const failure: Failure = { at, message, ...(hint === undefined ? {} : { hint }) }
  await writeFileAtomic(home.loginFailure, JSON.stringify(failure))
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function otherUser(before: string, now: string): IdentityError {
  return new IdentityError(
    'MCM_TOKEN_REFUSED',
    `this device is ${before}’s, and ${now} has logged in`,
    { hint: `log in as ${before}, or mcm logout first` },
  )
}
