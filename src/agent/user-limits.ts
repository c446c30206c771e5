import { Refusal } from '../forward/refusal.ts'
import { failureStatus } from '../kube/status.ts'

/**
 * What one person may have under way at once, so that nobody uses up what everybody shares: requests,
 * bodies that wait for a slow server, and requests given up, each of which costs a connection to the
 * API server.
 */
export interface UserLimits {
  /** Counts a request in; the function counts it out, once. @throws Refusal 429 */
  enter(user: string): () => void
  /** The same for a body that is passed on as it comes. @throws Refusal 429 */
  enterUpload(user: string): () => void
  /** A request was given up by its client. */
  noteAbort(user: string): void
}

export interface LimitOptions {
  readonly requests?: number
  readonly uploads?: number
  /** Requests given up at once, before it is asked to slow down. */
  readonly abortBurst?: number
  readonly abortsPerSecond?: number
  /** Milliseconds of a clock that never goes back. */
  readonly elapsedMs?: () => number
}

const DEFAULTS = { requests: 1_000, uploads: 32, abortBurst: 4_000, abortsPerSecond: 100 }

export function userLimits(options: LimitOptions = {}): UserLimits {
  const { requests, uploads, abortBurst, abortsPerSecond } = { ...DEFAULTS, ...options }
  const elapsedMs = options.elapsedMs ?? (() => performance.now())
  const enterRequest = places(requests, 'requests under way')
  const aborts = new Map<string, { left: number; at: number }>()
  const bucketOf = (user: string) => {
    const now = elapsedMs()
    const { left, at } = aborts.get(user) ?? { left: abortBurst, at: now }
    const refilled = Math.min(abortBurst, left + ((now - at) / 1000) * abortsPerSecond)
    return { left: refilled, at: now }
  }
  return {
    enter: (user) => {
      if (aborts.has(user)) {
        const bucket = bucketOf(user)
        if (bucket.left < 1) throw tooMany(user, 'has given up too many requests')
        if (bucket.left >= abortBurst) aborts.delete(user)
      }
      return enterRequest(user)
    },
    enterUpload: places(uploads, 'uploads under way'),
    noteAbort: (user) => {
      const { left, at } = bucketOf(user)
      aborts.set(user, { left: left - 1, at })
    },
  }
}

function places(maximum: number, what: string): (user: string) => () => void {
  const counts = new Map<string, number>()
  return (user) => {
    const count = (counts.get(user) ?? 0) + 1
    if (count > maximum) throw tooMany(user, `has ${maximum} ${what}`)
    counts.set(user, count)
    let isInside = true
    return () => {
      if (!isInside) return
      isInside = false
      const left = (counts.get(user) ?? 1) - 1
      if (left === 0) counts.delete(user)
      else counts.set(user, left)
    }
  }
}

function tooMany(user: string, why: string): Refusal {
  const message = `mcm: ${user} ${why}; more are not taken`
  return new Refusal(failureStatus(429, 'TooManyRequests', message, { retryAfterSeconds: 1 }))
}
