import type { Log, World } from '../world.ts'

const WINDOW_MS = 60_000
const LINES_PER_WINDOW = 20

interface Window {
  readonly since: number
  lines: number
  unsaid: number
}

/**
 * A log whose warnings strangers cause: of each kind so many a minute are written, and the first of the next
 * minute says how many were not, so that nobody who knocks often enough fills the disk.
 */
export function sparingLog(log: Log, world: World): Log {
  const windows = new Map<string, Window>()
  const open = (event: string): { readonly window: Window; readonly unsaid: number } => {
    const now = world.now().getTime()
    const before = windows.get(event)
    if (before && Math.abs(now - before.since) < WINDOW_MS) return { window: before, unsaid: 0 }
    const window = { since: now, lines: 0, unsaid: 0 }
    windows.set(event, window)
    return { window, unsaid: before?.unsaid ?? 0 }
  }
  return {
    info: (event, fields) => log.info(event, fields),
    error: (event, fields) => log.error(event, fields),
    warn: (event, fields) => {
      const { window, unsaid } = open(event)
      if (window.lines < LINES_PER_WINDOW) {
        window.lines += 1
        log.warn(event, unsaid === 0 ? fields : { ...fields, unsaid })
      } else window.unsaid += 1
    },
  }
}
