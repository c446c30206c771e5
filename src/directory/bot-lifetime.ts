/** How long certificates of a bot live, where an invite says it (PROTOCOL §3.2). */

const HOUR = 3600
const DAY = 24 * HOUR
export const MIN_BOT_LIFETIME_SECONDS = 600
export const MAX_BOT_LIFETIME_SECONDS = 90 * DAY

/** As it is typed: `30d`, `36h`, `90m`, `601s`. */
export function lifetimeText(seconds: number): string {
  const units = [
    ['d', DAY],
    ['h', HOUR],
    ['m', 60],
  ] as const
  const unit = units.find(([, each]) => seconds % each === 0)
  return unit ? `${seconds / unit[1]}${unit[0]}` : `${seconds}s`
}
