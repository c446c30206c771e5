/** Timings as people read them: percentiles in milliseconds, rates in requests a second. */

export interface Timing {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly perSecond: number
}

/** Runs `work` `count` times with `concurrency` at once, after a tenth as many to warm up. */
export async function time(
  work: () => Promise<unknown>,
  count: number,
  concurrency = 1,
): Promise<Timing> {
  await lanes(work, Math.ceil(count / 10), concurrency, [])
  const durations: number[] = []
  const started = performance.now()
  await lanes(work, count, concurrency, durations)
  const seconds = (performance.now() - started) / 1000
  durations.sort((left, right) => left - right)
  return { p50Ms: at(durations, 0.5), p99Ms: at(durations, 0.99), perSecond: count / seconds }
}

async function lanes(
  work: () => Promise<unknown>,
  count: number,
  concurrency: number,
  durations: number[],
): Promise<void> {
  let left = count
  const lane = async () => {
    while (left-- > 0) {
      const started = performance.now()
      await work()
      durations.push(performance.now() - started)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** The middle of several runs. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5)
}

/** The value below which this share of them lies. */
export function percentile(values: readonly number[], share: number): number {
  return at(
    [...values].sort((left, right) => left - right),
    share,
  )
}

export function round(value: number, digits = 2): string {
  return value.toFixed(digits)
}
