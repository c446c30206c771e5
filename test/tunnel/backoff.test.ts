import { describe, expect, it } from 'vitest'
import { fullJitterBackoff } from '../../src/tunnel/backoff.ts'

const bounds = { baseMs: 500, capMs: 30_000 }
const least = () => new Uint8Array(4)
const most = () => new Uint8Array(4).fill(255)
const middle = () => Uint8Array.of(128, 0, 0, 0)

describe('full-jitter backoff', () => {
  it('may wait nothing at all, whatever the attempt', () => {
    expect([0, 3, 50].map((attempt) => fullJitterBackoff(least, attempt, bounds))).toEqual([
      0, 0, 0,
    ])
  })

  it('doubles its window per attempt', () => {
    expect([0, 1, 2, 3].map((attempt) => fullJitterBackoff(middle, attempt, bounds))).toEqual([
      250, 500, 1000, 2000,
    ])
  })

  it('never waits longer than the cap, even after a thousand attempts', () => {
    expect(fullJitterBackoff(most, 1000, bounds)).toBe(29_999)
    expect(fullJitterBackoff(most, 6, bounds)).toBe(29_999)
  })
})
