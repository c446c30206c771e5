import { cpus } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'

const LOOK_MS = 500
/** What stands still still has its timers, and so have an idle API server and kubelet. */
const QUIET_SHARE = 0.8
const QUIET_LOOKS = 2

/**
 * Waits until the machine has had next to nothing to do for a second. Gives the milliseconds until that began, or
 * undefined when it has not come within `limitMs`.
 */
export async function untilQuiet(limitMs: number): Promise<number | undefined> {
  const started = performance.now()
  for (let quiet = 0; performance.now() - started < limitMs; ) {
    const from = times()
    await pause(LOOK_MS)
    const to = times()
    quiet = (to.idle - from.idle) / (to.all - from.all) >= QUIET_SHARE ? quiet + 1 : 0
    if (quiet === QUIET_LOOKS) return performance.now() - started - QUIET_LOOKS * LOOK_MS
  }
  return undefined
}

/** Of all processors together, since the machine's start; milliseconds. */
function times(): { readonly idle: number; readonly all: number } {
  const each = cpus().map(({ times }) => times)
  const all = each.flatMap((of) => Object.values(of)).reduce((sum, ms) => sum + ms, 0)
  return { idle: each.reduce((sum, { idle }) => sum + idle, 0), all }
}
