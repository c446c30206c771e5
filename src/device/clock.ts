import { formatTime } from '../directory/time.ts'
import { TrustError } from '../errors.ts'

const MAX_SKEW_MS = 10 * 60_000

/**
 * Certificates live by the clock, so a clock that is far off is said before anything fails oddly.
 * `hubTime` is RFC 3339. @throws TrustError MCM_CLOCK_SKEW beyond 10 minutes
 */
export function requireClock(now: Date, hubTime: string): void {
  const skewMs = now.getTime() - Date.parse(hubTime)
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return
  const minutes = Math.round(Math.abs(skewMs) / 60_000)
  const direction = skewMs > 0 ? 'ahead of' : 'behind'
  const here = formatTime(now)
  throw new TrustError(
    'MCM_CLOCK_SKEW',
    `this clock is ${minutes} minutes ${direction} the hub's: ${here} here, ${hubTime} there`,
    {
      hint: 'set the clock of the machine that is wrong (timedatectl set-ntp true), then try again',
    },
  )
}
