/** Times in statements: RFC 3339 in UTC with seconds, `2026-01-02T03:04:05Z`, and nothing else. */

/** The time as text, fractions of a second dropped. */
export function formatTime(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`
}

/** The time, or undefined when this is not its one form. */
export function parseTime(text: string): Date | undefined {
  const time = new Date(text)
  return Number.isNaN(time.getTime()) || formatTime(time) !== text ? undefined : time
}
