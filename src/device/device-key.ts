import { type SigningKey, signingKeyFromPem } from '../directory/signing-key.ts'
import { StateError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { Device } from './device.ts'
import { DEVICE_KEY } from './home.ts'
import type { DeviceState } from './state.ts'

/** @throws StateError MCM_STATE_DAMAGED when the key is gone or another's */
export async function requireDeviceKey(device: Device, state: DeviceState): Promise<SigningKey> {
  const pem = await device.secrets.get(DEVICE_KEY)
  if (!pem) throw lostKey('is gone')
  const key = readKey(pem)
  if (key.id !== state.device.id) throw lostKey('is not the one that logged in')
  return key
}

/** The key that is kept here, whether anybody has logged in with it or not. @throws StateError MCM_STATE_DAMAGED */
export async function keptDeviceKey({ secrets }: Device): Promise<SigningKey | undefined> {
  const pem = await secrets.get(DEVICE_KEY)
  return pem && readKey(pem)
}

function readKey(pem: Secret<string>): SigningKey {
  try {
    return signingKeyFromPem(pem.reveal())
  } catch (error) {
    if (error instanceof StateError) throw lostKey('is damaged')
    throw error
  }
}

function lostKey(why: string): StateError {
  return new StateError('MCM_STATE_DAMAGED', `the key of this device ${why}`, {
    hint: 'mcm logout --yes, then mcm login with a new invite',
  })
}
