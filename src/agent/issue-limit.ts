import { UnreachableError } from '../errors.ts'
import type { World } from '../world.ts'

/** Far more than anybody in order asks for, far less than what fills the API server's store. */
const OF_DEVICE = { burst: 30, refillMs: 10_000 }
/** Whoever comes by tokens may make a key for each: a program has one for every run. */
const OF_USER = { burst: 120, refillMs: 2_500 }
const MAX_BUCKETS = 10_000

/**
 * Lets each device have 30 certificates at once and one more every 10 seconds, and each user 120 and one every
 * 2.5 seconds: every one is a write to the API server. The function given throws UnreachableError MCM_TIMEOUT
 * beyond that.
 */
export function issueLimit(world: World): (user: string, device: string) => void {
  const takeOfDevice = buckets(world, OF_DEVICE)
  const takeOfUser = buckets(world, OF_USER)
  return (user, device) => {
    if (!takeOfDevice(device)) throw tooMany('this device')
    if (!takeOfUser(user)) throw tooMany(user)
  }
}

/** Takes one for somebody; false when there is none left. */
function buckets(
  world: World,
  { burst, refillMs }: { readonly burst: number; readonly refillMs: number },
): (whose: string) => boolean {
  const known = new Map<string, { tokens: number; at: number }>()
  return (whose) => {
    const now = world.now().getTime()
    const bucket = known.get(whose) ?? { tokens: burst, at: now }
    const tokens = Math.min(burst, bucket.tokens + Math.max(0, now - bucket.at) / refillMs)
    if (tokens < 1) return false
    if (known.size >= MAX_BUCKETS) known.clear()
    known.set(whose, { tokens: tokens - 1, at: now })
    return true
  }
}

function tooMany(who: string): UnreachableError {
  return new UnreachableError('MCM_TIMEOUT', `${who} has asked for too many certificates`, {
    hint: 'try again in a minute',
  })
}
