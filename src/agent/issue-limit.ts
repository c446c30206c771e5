import { UnreachableError } from '../errors.ts'
import type { World } from '../world.ts'

/** Far more than any device in order asks for, far less than what fills the API server's store. */
const BURST = 30
const REFILL_MS = 10_000
const MAX_DEVICES = 10_000

/**
 * Lets each device have 30 certificates at once and one more every 10 seconds: every one is a write
 * to the API server. The function given throws UnreachableError MCM_TIMEOUT beyond that.
 */
export function issueLimit(world: World): (device: string) => void {
  const buckets = new Map<string, { tokens: number; at: number }>()
  return (device) => {
    const now = world.now().getTime()
    const bucket = buckets.get(device) ?? { tokens: BURST, at: now }
    const refilled = Math.max(0, now - bucket.at) / REFILL_MS
    const tokens = Math.min(BURST, bucket.tokens + refilled)
    if (tokens < 1) throw tooMany()
    if (buckets.size >= MAX_DEVICES) buckets.clear()
    buckets.set(device, { tokens: tokens - 1, at: now })
  }
}

function tooMany(): UnreachableError {
  return new UnreachableError('MCM_TIMEOUT', 'this device has asked for too many certificates', {
    hint: 'try again in a minute',
  })
}
