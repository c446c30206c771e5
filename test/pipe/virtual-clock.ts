import { vi } from 'vitest'

/**
 * A clock that goes on by a millisecond for every few turns of the event loop, and stands still while this
 * process does: what happens on it happens in the same order on every machine, however busy.
 */
export interface VirtualClock {
  stop(): void
}

/** Enough for what one end says to be taken, answered and heard. */
const TURNS_A_MS = 4

export function startVirtualClock(): VirtualClock {
  const turn = setImmediate
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'],
  })
  let isRunning = true
  let turns = 0
  const tick = () => {
    if (!isRunning) return
    turns += 1
    if (turns % TURNS_A_MS === 0) vi.advanceTimersByTime(1)
    turn(tick)
  }
  turn(tick)
  return {
    stop: () => {
      isRunning = false
      vi.useRealTimers()
    },
  }
}
