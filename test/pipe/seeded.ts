/** Randomness that comes again: one seed, one run. */
export interface Seeded {
  /** 0 … bound-1. */
  below(bound: number): number
  bytes(count: number): Buffer
}

/** Mulberry32. */
export function seeded(seed: number): Seeded {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  const below = (bound: number) => next() % bound
  return { below, bytes: (count) => Buffer.from(Array.from({ length: count }, () => below(256))) }
}
