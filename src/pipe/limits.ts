/** What an end of a pipe may hold in each direction (docs/PROTOCOL.md §9.4). */
export const PIPE_BYTES = {
  /** May come before the reader has taken anything. */
  first: 64 << 10,
  /** However many pipes there are. */
  floor: 256 << 10,
  /** The product of 640 Mbit/s and 50 ms. */
  most: 4 << 20,
} as const

/** How long things may take on a pipe (docs/PROTOCOL.md §9.4). Milliseconds. */
export interface PipeLimits {
  /** Without a carrier. */
  readonly suspendedMs: number
  /** Without a word of the other end, by the wall clock. */
  readonly silentMs: number
  /** Nothing heard for so long: the client asks. */
  readonly pingAfterMs: number
  /** Something unanswered and nothing heard for so long: the carrier is given up. */
  readonly answerMs: number
  /** The same where the machine has just slept, and its network is another. */
  readonly answerAwakeMs: number
  /** For one attempt to resume, from the carrier to its proof. */
  readonly attemptMs: number
  /** Between attempts, at most. */
  readonly retryMs: number
  /** A carrier that lives for so long ends the suspension before it: one that is lost at once does not. */
  readonly settledMs: number
  /** How often an end looks at its clocks. */
  readonly lookMs: number
  readonly ackDelayMs: number
  readonly lingerMs: number
}

export const PIPE_LIMITS: PipeLimits = {
  suspendedMs: 120_000,
  silentMs: 150_000,
  pingAfterMs: 15_000,
  answerMs: 10_000,
  answerAwakeMs: 3_000,
  attemptMs: 10_000,
  retryMs: 2_000,
  settledMs: 2_000,
  lookMs: 1_000,
  ackDelayMs: 500,
  lingerMs: 120_000,
}
