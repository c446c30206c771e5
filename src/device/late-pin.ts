import type { Directory } from '../directory/directory.ts'
import { standingLeaves } from '../directory/overlap.ts'
import type { SigningKey } from '../directory/signing-key.ts'
import { isMcmError } from '../errors.ts'
import type { Device } from './device.ts'
import { extendFromHub } from './directory-cache.ts'
import { connectUnproven, type HubCandidate, type HubConnection } from './hub-connection.ts'
import type { DeviceState } from './state.ts'

/**
 * A hub whose certificate this device has not heard of: it slept while an admin signed another (PROTOCOL §12.3). The
 * chain proves the certificate of the connection it came over, or it proves nothing.
 */

/** A connection that the directory proves; undefined where no endpoint gives one. */
export async function connectByChain(
  device: Device,
  state: DeviceState,
  directory: Directory,
  tried: readonly HubCandidate[],
  key: SigningKey,
): Promise<HubConnection | undefined> {
  for (const endpoint of new Set(tried.map((each) => each.endpoint))) {
    device.signal.throwIfAborted()
    const connection = await connectUnproven(device, endpoint, key).catch(undefinedIfRefused)
    if (connection === undefined) continue
    const isProven = await isProvenBy(connection, device, state, directory).catch(falseIfRefused)
    if (isProven) return connection
    connection.hub.close()
  }
  return undefined
}

async function isProvenBy(
  { hub, candidate }: HubConnection,
  { world }: Device,
  state: DeviceState,
  directory: Directory,
): Promise<boolean> {
  const after = directory.head?.seq ?? -1
  const page = await hub.directory({ after, details: 'all' })
  const { hubs } = (await extendFromHub(directory, page, state.head)).state
  return hubs.some(
    (each) =>
      [...each.endpoints, ...each.privateEndpoints].includes(candidate.endpoint) &&
      standingLeaves(each, world.now()).some(({ pin }) => pin === candidate.pin),
  )
}

function undefinedIfRefused(error: unknown): undefined {
  if (!isMcmError(error)) throw error
}

function falseIfRefused(error: unknown): boolean {
  if (isMcmError(error)) return false
  throw error
}
