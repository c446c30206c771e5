import type { Directory } from '../directory/directory.ts'
import { type SigningKey, signingKeyPem } from '../directory/signing-key.ts'
import { isMcmError, UsageError } from '../errors.ts'
import type { Device } from './device.ts'
import { DEVICE_KEY, FLEET_KEY } from './home.ts'
import type { HubConnection } from './hub-connection.ts'
import { clearPendingLogin, type PendingLogin } from './pending-login.ts'
import type { TokenSource } from './provided-token.ts'
import type { DeviceState, ProvidedLogin } from './state.ts'

/** What founding a fleet and joining one have in common. */

export interface LoginOptions {
  /** Undefined: this device is logged in, and gets new certificates. */
  readonly link?: string
  /** How other people will know this device; as the machine calls itself. */
  readonly deviceName: string
  /** Who the first administrator is; only a start link needs it. */
  readonly user?: string
  /** Further endpoints of the hub, inside the owner's network; only with a start link. */
  readonly privateEndpoints?: readonly string[]
  readonly endpoint: DeviceState['endpoint']
  /** How a token is got, for a link to an identity provider; a person in a browser, or by a code. */
  readonly token?: TokenSource
}

export interface LoginAttempt {
  readonly device: Device
  readonly options: LoginOptions
  readonly key: SigningKey
  readonly connection: HubConnection
  /** What an earlier try of the same login left. */
  readonly pending: PendingLogin | undefined
}

export interface LoggedIn {
  readonly directory: Directory
  readonly user: string
  readonly deviceName: string
  /** Where a token let it in. */
  readonly provided?: ProvidedLogin
}

/** The key is in the store before anybody is told of it. */
export async function storeDeviceKey(device: Device, key: SigningKey): Promise<void> {
  await device.secrets.set(DEVICE_KEY, signingKeyPem(key))
}

/** Nothing was changed. */
export function alreadyLoggedIn({ user }: DeviceState, { home }: Device): UsageError {
  return new UsageError(
    'MCM_USAGE',
    `this device is already logged in as ${user} (${home.directory})`,
    { hint: 'mcm logout first, or set MCM_HOME to another directory for a second identity' },
  )
}

/** Whether the hub has said no, for good; a lost answer is no refusal. */
export function isRefusal(error: unknown): boolean {
  return isMcmError(error) && error.httpStatus >= 400 && error.httpStatus < 500
}

/** Takes everything of a refused attempt away again. */
export async function forgetAttempt(device: Device): Promise<void> {
  await clearPendingLogin(device.home)
  await device.secrets.delete(DEVICE_KEY)
  await device.secrets.delete(FLEET_KEY)
}
