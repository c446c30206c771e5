import type { Directory } from '../directory/directory.ts'
import type { SigningKey } from '../directory/signing-key.ts'
import { UnreachableError } from '../errors.ts'
import type { Device } from './device.ts'
import { requireDeviceKey } from './device-key.ts'
import { offlineDirectory } from './directory-cache.ts'
import { withFleet } from './fleet-session.ts'
import { type DeviceState, requireState } from './state.ts'

/** This device and a verified directory, with or without a hub. */
export interface Standpoint {
  readonly device: Device
  readonly state: DeviceState
  readonly directory: Directory
  readonly key: SigningKey
}

/** By the copy on this machine, asking nobody. @throws IdentityError MCM_NOT_LOGGED_IN, TrustError, StateError */
export async function offlineStandpoint(device: Device): Promise<Standpoint> {
  const state = await requireState(device.home)
  const key = await requireDeviceKey(device, state)
  return { device, state, directory: await offlineDirectory(device.home), key }
}

/** By the directory as it is now; where no hub answers by the copy on this machine, which is said. @throws as above */
export async function latestStandpoint(device: Device): Promise<Standpoint> {
  try {
    return await withFleet(device, async ({ state, directory, key }) => ({
      device,
      state,
      directory,
      key,
    }))
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error
    return offlineAfterAll(device)
  }
}

/** `offlineStandpoint`, and says why: no hub has answered unless told. @throws as above */
export async function offlineAfterAll(device: Device, why = 'no hub answers'): Promise<Standpoint> {
  const standpoint = await offlineStandpoint(device)
  const seq = standpoint.directory.head?.seq ?? -1
  device.progress.say(`${why}: by the copy of the directory here, statement ${seq}`)
  return standpoint
}
