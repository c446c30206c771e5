import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { HeldPings } from '../../src/forward/held-pings.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate'] }))
afterEach(() => void vi.useRealTimers())

function upstream() {
  const state = { isStopped: false, givenBytes: 0 }
  const [passed, answered]: [string[], string[]] = [[], []]
  const pings = new HeldPings({
    isStopped: () => state.isStopped,
    givenBytes: () => state.givenBytes,
    pass: (ping) => passed.push(String(ping)),
    answer: (ping) => answered.push(String(ping)),
  })
  const hold = (text: string) => pings.hold(Buffer.from(text))
  return { state, pings, hold, passed, answered }
}

/** A time in which the upstream says something in every quiet one. */
function speakFor(state: { givenBytes: number }, ms: number): void {
  for (let at = 0; at < ms; at += 50) {
    state.givenBytes += 1
    vi.advanceTimersByTime(50)
  }
}

it('a ping passes as soon as the upstream is quiet', () => {
  const { state, hold, passed, answered } = upstream()
  expect(hold('one')).toBe(true)
  speakFor(state, 1_000)
  expect(passed).toEqual([])
  expect(hold('two')).toBe(true)
  vi.advanceTimersByTime(300)
  expect(passed).toEqual(['one', 'two'])
  hold('three')
  vi.advanceTimersByTime(300)
  expect([passed, answered]).toEqual([['one', 'two', 'three'], []])
})

it('what has arrived by then, and was not read yet, is looked at first', () => {
  const { state, hold, passed } = upstream()
  hold('one')
  // The turn of the event loop in which the time is over is the one that reads.
  setTimeout(() => {
    state.givenBytes += 1
  }, 100)
  vi.advanceTimersByTime(100)
  vi.runAllTicks()
  expect(passed).toEqual([])
})

it('nothing passes to an upstream that is not read, and nothing is answered to a client that takes nothing', () => {
  const { state, hold, passed, answered } = upstream()
  state.isStopped = true
  hold('one')
  vi.advanceTimersByTime(600_000)
  expect([passed, answered]).toEqual([[], []])
  state.isStopped = false
  vi.advanceTimersByTime(1_500)
  expect([passed, answered]).toEqual([['one'], []])
})

it('a client is answered here where the upstream goes on speaking, well within a minute', () => {
  const { state, hold, passed, answered } = upstream()
  hold('one')
  speakFor(state, 9_000)
  expect(answered).toEqual([])
  speakFor(state, 2_000)
  expect([passed, answered]).toEqual([[], ['one']])
  hold('two')
  speakFor(state, 9_000)
  expect(answered).toEqual(['one'])
})

it('a client that takes little at a time is answered too', () => {
  const { state, hold, passed, answered } = upstream()
  state.isStopped = true
  hold('one')
  vi.advanceTimersByTime(20_000)
  state.givenBytes += 65_536
  vi.advanceTimersByTime(1_500)
  expect([passed, answered]).toEqual([[], ['one']])
})

it('of a client that pings without end the newest are held, and none passes before its time', () => {
  const { state, hold, passed } = upstream()
  state.isStopped = true
  for (let count = 0; count < 100; count++) expect(hold(`${count}`)).toBe(true)
  state.isStopped = false
  vi.advanceTimersByTime(2_000)
  expect(passed).toEqual(Array.from({ length: 16 }, (_, index) => `${84 + index}`))
})

it('nothing happens after the end', () => {
  const { pings, hold, passed, answered } = upstream()
  hold('one')
  pings.stop()
  expect(hold('two')).toBe(false)
  vi.advanceTimersByTime(60_000)
  expect([passed, answered, vi.getTimerCount()]).toEqual([[], [], 0])
})
