import {
  type ErrorCode,
  type ErrorDetails,
  isMcmError,
  type McmError,
  TrustError,
  UnreachableError,
} from '../errors.ts'
import type { Device } from './device.ts'
import { openFleet } from './fleet-session.ts'
import { offlineAfterAll, offlineStandpoint, type Standpoint } from './latest-directory.ts'
import { withUpkeep } from './upkeep.ts'
import type { Traveller } from './way-to-agent.ts'

/** For commands that have to end somebody at agents whatever has become of the hub (PROTOCOL §8.1). */

/**
 * Runs `work` with a hub, or where none answers by the directory kept here, which is said: it then finds those clusters
 * that have an address of their own. With `isDirect` so at once, and no hub is asked anything. Where a hub is what stands
 * in the way, an administrator is told of that. @throws as `withFleet` but for the hub that does not answer
 */
export async function withFleetOrAgents<T>(
  device: Device,
  work: (traveller: Traveller) => Promise<T>,
  { isDirect = false } = {},
): Promise<T> {
  if (isDirect) return work({ ...(await offlineAfterAll(device, 'leaving the hub out')), isDirect })
  const opened = await openFleet(device).catch(async (error: unknown) => {
    if (!(error instanceof UnreachableError)) throw await withHow(device, error)
    return offlineAfterAll(device)
  })
  if (!('connection' in opened)) return work(opened)
  const hindered = new Set<string>()
  try {
    const done = await withUpkeep(opened, (session) => work({ ...session, hindered }))
    if (mayLeaveHubOut(opened, hindered))
      device.progress.say(`the hub did not let everything through; ${HOW}`)
    return done
  } catch (error) {
    const isByHub = hindered.size > 0 || error instanceof TrustError
    throw isByHub ? await withHow(device, error) : error
  } finally {
    opened.hub.close()
  }
}

const HOW = 'with --direct you go to the agents’ own addresses and leave the hub out'

async function withHow(device: Device, error: unknown): Promise<unknown> {
  if (!isMcmError(error)) return error
  // Whatever is wrong here as well, the error that there was comes first.
  const here = await offlineStandpoint(device).catch(() => undefined)
  if (!here || !mayLeaveHubOut(here, here.directory.state.clusters.keys())) return error
  const Family = error.constructor as Family
  const hint = error.hint === undefined ? HOW : `${error.hint}; ${HOW}`
  return new Family(error.code, error.message, { hint, cause: error })
}

type Family = new (code: ErrorCode, message: string, details: ErrorDetails) => McmError

/** For an administrator, where one of these clusters has an address of its own. */
function mayLeaveHubOut({ directory, key }: Standpoint, clusters: Iterable<string>): boolean {
  const { admins, clusters: known } = directory.state
  return admins.has(key.id) && [...clusters].some((id) => known.get(id)?.direct !== undefined)
}
