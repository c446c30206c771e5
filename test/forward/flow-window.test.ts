import { expect, test } from 'vitest'
import { NEAR_WINDOW_BYTES, windowFor } from '../../src/forward/flow-window.ts'

const MEBIBYTE = 1024 * 1024
/** 25 MB/s, in bytes a millisecond. */
const RATE = 25_000

test('a near path has a short queue', () => {
  expect(windowFor(0.5, 100_000, 1)).toBe(NEAR_WINDOW_BYTES)
  expect(windowFor(0.5, 0, 1)).toBe(NEAR_WINDOW_BYTES)
})

test('a far path is filled: three times what it holds', () => {
  expect(windowFor(50, RATE, 1)).toBe(3 * 50 * RATE)
})

test('a window that holds the rate down grows, whatever the path carries, until it does not', () => {
  const [roundTripMs, capacity] = [50, RATE]
  let window = NEAR_WINDOW_BYTES
  for (let look = 0; look < 10; look += 1) {
    // Half of it is on its way to being granted again.
    const rate = Math.min(capacity, window / (roundTripMs + window / 2 / capacity))
    window = Math.max(window, windowFor(roundTripMs, rate, 1))
  }
  expect(window / (roundTripMs + window / 2 / capacity)).toBeGreaterThan(capacity)
})

test('no path makes it more than 8 MiB, nor all streams together more than 32 MiB', () => {
  expect(windowFor(300, 1_000_000, 1)).toBe(8 * MEBIBYTE)
  expect(100 * windowFor(300, 1_000_000, 100)).toBeLessThanOrEqual(32 * MEBIBYTE)
  expect(windowFor(300, 1_000_000, 10_000)).toBe(64 * 1024)
})
