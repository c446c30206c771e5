import { Directory } from '../directory/directory.ts'
import type { Device } from './device.ts'
import { extendFromHub, offlineDirectory } from './directory-cache.ts'
import { type DirectoryVerdict, verdict } from './directory-view.ts'
import { withFleet } from './fleet-session.ts'
import { requireState } from './state.ts'

/** The directory for looking at: of this moment, or as it was last seen here. */
export async function currentDirectory(device: Device, isOffline: boolean): Promise<Directory> {
  await requireState(device.home)
  if (isOffline) return offlineDirectory(device.home)
  return withFleet(device, async ({ directory }) => directory)
}

/**
 * Everything verified from the genesis on, nothing taken from an earlier verification.
 * @throws TrustError MCM_DIRECTORY_INVALID MCM_DIRECTORY_ROLLED_BACK
 */
export async function verifiedDirectory(
  device: Device,
  isOffline: boolean,
): Promise<DirectoryVerdict> {
  const { fleet } = await requireState(device.home)
  if (isOffline) {
    const copy = await offlineDirectory(device.home)
    return verdict(await Directory.restore(fleet, copy.page(-1)), 'copy')
  }
  return withFleet(device, async ({ hub, state }) => {
    const page = await hub.directory({ after: -1, details: 'all' })
    return verdict(await extendFromHub(Directory.empty(fleet), page, state.head), 'hub')
  })
}
