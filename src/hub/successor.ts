import type { World } from '../world.ts'
import type { Successor } from './certificate-change.ts'
import { nextHubIdentity, takeNextIdentity, waitingHubIdentity } from './data.ts'

/** The next certificate of a hub in its directory; made now when `isWanted`. @throws StateError, UsageError */
export async function openSuccessor(
  world: World,
  directory: string,
  endpoints: readonly string[],
  isWanted: boolean,
): Promise<Successor> {
  const make = async () => (await nextHubIdentity(world, directory, endpoints)).certificate
  const waiting = isWanted ? await make() : (await waitingHubIdentity(directory))?.certificate
  return { waiting, make, take: () => takeNextIdentity(directory) }
}
