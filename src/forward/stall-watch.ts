import type { Readable } from 'node:stream'

/** Looks after bodies that are being received. */
export interface StallWatch {
  /**
   * Calls `stalled` once when the source, although it is read, gives nothing for the whole time.
   * Pauses it.
   */
  add(source: Readable, stalled: () => void): void
  stop(): void
}

interface Watched {
  readonly stalled: () => void
  idleTicks: number
}

const TICKS = 4

/** One timer for all bodies: a stall is noticed after `limitMs`, at most a quarter later. */
export function stallWatch(limitMs: number): StallWatch {
  const watched = new Map<Readable, Watched>()
  const tick = () => {
    for (const [source, entry] of watched) {
      entry.idleTicks = source.readableFlowing ? entry.idleTicks + 1 : 0
      if (entry.idleTicks <= TICKS) continue
      watched.delete(source)
      entry.stalled()
    }
  }
  const timer = setInterval(tick, limitMs / TICKS).unref()
  return {
    add: (source, stalled) => {
      const entry: Watched = { stalled, idleTicks: 0 }
      watched.set(source, entry)
      source.pause()
      source.on('data', () => {
        entry.idleTicks = 0
      })
      source.once('end', () => watched.delete(source))
      source.once('close', () => watched.delete(source))
    },
    stop: () => {
      clearInterval(timer)
      watched.clear()
    },
  }
}
