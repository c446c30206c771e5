import { Directory } from '../directory/directory.ts'
import { generateSigningKey, type SigningKey, signingKeyPem } from '../directory/signing-key.ts'
import { UsageError } from '../errors.ts'
import type { Link } from '../protocol/link.ts'
import type { DirectoryAppend } from '../protocol/messages.ts'
import { type Draft, signDrafts } from './append.ts'
import { FLEET_KEY } from './home.ts'
import {
  forgetAttempt,
  isRefusal,
  type LoggedIn,
  type LoginAttempt,
  storeDeviceKey,
} from './login-attempt.ts'
import { type PendingLogin, writePendingLogin } from './pending-login.ts'

/**
 * Makes a fleet on a new hub: the fleet key, the genesis statement and the statement that names the hub
 * are made and kept here before the hub hears of them.
 */
export async function foundFleet(
  attempt: LoginAttempt,
  link: Link & { kind: 'start' },
  hubFleet: string | undefined,
): Promise<LoggedIn> {
  const { device, pending } = attempt
  const isResumed = pending?.founding !== undefined && pending.device.id === attempt.key.id
  if (hubFleet !== undefined && !(isResumed && pending.fleet === hubFleet)) throw alreadyFounded()
  const plan = isResumed ? pending : await prepare(attempt, link)
  const founding = plan.founding!
  const directory = await Directory.empty(plan.fleet).extend(founding)
  if (hubFleet === undefined) {
    await device.progress.step('founding the fleet', () => send(attempt, link, founding))
  }
  return { directory, user: plan.user, deviceName: plan.device.name }
}

async function send(
  { device, connection }: LoginAttempt,
  link: Link & { kind: 'start' },
  founding: DirectoryAppend,
): Promise<void> {
  try {
    await connection.hub.foundFleet({ token: link.token, ...founding })
  } catch (error) {
    // A refusal is final, and nothing of it stays; a lost answer is not: the next try asks the hub.
    if (isRefusal(error)) await forgetAttempt(device)
    throw error
  }
}

async function prepare(
  attempt: LoginAttempt,
  link: Link & { kind: 'start' },
): Promise<PendingLogin> {
  const { device, options, key } = attempt
  if (options.user === undefined) throw missingUser()
  const fleetKey = generateSigningKey()
  const drafts = foundingDrafts(attempt, link, options.user, fleetKey)
  const { signed, statements, details } = await signDrafts(device.world, null, drafts)
  const pending = {
    fleet: signed[0]!.hash,
    user: options.user,
    device: { id: key.id, name: options.deviceName },
    secrets: device.secrets.kind,
    founding: { statements, details },
  }
  await storeDeviceKey(device, key)
  await device.secrets.set(FLEET_KEY, signingKeyPem(fleetKey))
  await writePendingLogin(device.home, pending)
  return pending
}

function foundingDrafts(
  { options, key, connection }: LoginAttempt,
  link: Link,
  user: string,
  fleetKey: SigningKey,
): Draft[] {
  const device = { key: p256(key), name: options.deviceName }
  const hub = {
    endpoints: [...link.endpoints],
    privateEndpoints: [...(options.privateEndpoints ?? [])],
    certificate: connection.certificateDer.toString('base64'),
  }
  return [
    {
      type: 'fleet',
      detail: { fleetKey: p256(fleetKey), user, device },
      signers: [fleetKey, key],
    },
    { type: 'hub', detail: hub, signers: [key] },
  ]
}

type P256Jwk = { readonly crv: 'P-256'; readonly kty: 'EC'; readonly x: string; readonly y: string }

/** A device's own public key, in the form that details hold. */
export function p256(key: SigningKey): P256Jwk {
  if (key.jwk.kty === 'EC') return key.jwk
  throw new Error('a device key is P-256')
}

function alreadyFounded(): UsageError {
  return new UsageError('MCM_USAGE', 'this hub has a fleet already: its start link was used', {
    hint: 'ask an administrator of the fleet for an invite (mcm invite)',
  })
}

function missingUser(): UsageError {
  return new UsageError('MCM_USAGE', 'the first administrator needs a name', {
    hint: 'add --name NAME, as others will know you',
  })
}
