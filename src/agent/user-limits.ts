import { Refusal } from '../forward/refusal.ts'
import { failureStatus } from '../kube/status.ts'

/** What one person may have under way at once, so that nobody uses up what everybody shares. */
export const MAX_REQUESTS_PER_USER = 1_000

export interface UserLimits {
  /**
   * Counts one in; the function counts it out, once. @throws Refusal 429 when there are too many
   */
  enter(user: string): () => void
}

export function userLimits(maximum = MAX_REQUESTS_PER_USER): UserLimits {
  const counts = new Map<string, number>()
  return {
    enter: (user) => {
      const count = (counts.get(user) ?? 0) + 1
      if (count > maximum) throw tooMany(user, maximum)
      counts.set(user, count)
      let isInside = true
      return () => {
        if (!isInside) return
        isInside = false
        const left = (counts.get(user) ?? 1) - 1
        if (left === 0) counts.delete(user)
        else counts.set(user, left)
      }
    },
  }
}

function tooMany(user: string, maximum: number): Refusal {
  const why = `mcm: ${user} has ${maximum} requests under way, more are not taken`
  return new Refusal(failureStatus(429, 'TooManyRequests', why, { retryAfterSeconds: 1 }))
}
