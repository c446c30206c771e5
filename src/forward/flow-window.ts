import type { Http2Session } from 'node:http2'

/**
 * How far one end of an HTTP/2 session lets the other send ahead on each stream: twice what the path holds (round trip
 * times rate), so that a far path is filled and a queue before its slowest part stays short. Whoever
 * shares the path waits behind that queue: a keystroke, above all.
 */
export interface FlowWindow {
  stop(): void
}

export interface FlowWindowOptions {
  /** Bytes that have come so far, of all streams. */
  readonly bytesRead: () => number
  readonly openStreams: () => number
}

/** Where the path is short: a few milliseconds of what two cores can carry. */
export const NEAR_WINDOW_BYTES = 512 * 1024
const MAX_WINDOW_BYTES = 8 * 1024 * 1024
const MIN_WINDOW_BYTES = 64 * 1024
/** Of all streams together: so much may lie here when nobody takes any of it. */
const BUDGET_BYTES = 32 * 1024 * 1024

const IDLE_LOOK_MS = 1_000
const BUSY_LOOK_MS = 100
/** PINGs at the beginning: one alone says more of two busy processes than of the path between them. */
const FIRST_PINGS = 5
/** A path may change: its best round trip of so long counts, at most twice as long. */
const ROUND_TRIP_MS = 300_000
const RATE_HALF_LIFE_MS = 5_000

/**
 * Keeps the window fitted for every stream of a session that is set up, until it is stopped. The session must have begun
 * with NEAR_WINDOW_BYTES. Sends PINGs: some at first, then while much is carried.
 */
export function fitFlowWindow(session: Http2Session, options: FlowWindowOptions): FlowWindow {
  return new FittedWindow(session, options)
}

/** The window for streams of a session. @param rate bytes a millisecond */
export function windowFor(roundTripMs: number, rate: number, openStreams: number): number {
  const share = Math.max(MIN_WINDOW_BYTES, BUDGET_BYTES / Math.max(1, openStreams))
  const fitted = Math.max(NEAR_WINDOW_BYTES, 3 * roundTripMs * rate)
  return Math.round(Math.min(fitted, MAX_WINDOW_BYTES, share))
}

class FittedWindow implements FlowWindow {
  readonly #session: Http2Session
  readonly #options: FlowWindowOptions
  #timer: NodeJS.Timeout
  #roundTripMs = Number.POSITIVE_INFINITY
  #roundTripBeforeMs = Number.POSITIVE_INFINITY
  #roundTripSince = performance.now()
  #lookedAt = performance.now()
  #bytes: number
  #rate = 0
  #window = NEAR_WINDOW_BYTES

  constructor(session: Http2Session, options: FlowWindowOptions) {
    this.#session = session
    this.#options = options
    this.#bytes = options.bytesRead()
    this.#ping(FIRST_PINGS)
    this.#timer = setTimeout(() => this.#look(), IDLE_LOOK_MS).unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #look(): void {
    if (this.#session.destroyed || this.#session.closed) return
    const came = this.#measure()
    const roundTripMs = Math.min(this.#roundTripMs, this.#roundTripBeforeMs)
    if (Number.isFinite(roundTripMs))
      this.#fit(windowFor(roundTripMs, this.#rate, this.#options.openStreams()))
    const isBusy = came > this.#window / 4
    if (isBusy) this.#ping(1)
    this.#timer = setTimeout(() => this.#look(), isBusy ? BUSY_LOOK_MS : IDLE_LOOK_MS).unref()
  }

  #ping(count: number): void {
    if (count === 0 || this.#session.destroyed || this.#session.closed) return
    this.#session.ping((error, roundTripMs) => {
      if (error) return
      this.#noteRoundTrip(roundTripMs)
      this.#ping(count - 1)
    })
  }

  #noteRoundTrip(ms: number): void {
    const now = performance.now()
    if (now - this.#roundTripSince > ROUND_TRIP_MS) {
      this.#roundTripSince = now
      this.#roundTripBeforeMs = this.#roundTripMs
      this.#roundTripMs = ms
    }
    this.#roundTripMs = Math.min(this.#roundTripMs, ms)
  }

  /** Bytes since the last look; the rate is the highest of late. */
  #measure(): number {
    const now = performance.now()
    const elapsed = now - this.#lookedAt
    const bytes = this.#options.bytesRead()
    const came = bytes - this.#bytes
    this.#rate = Math.max(came / elapsed, this.#rate * 0.5 ** (elapsed / RATE_HALF_LIFE_MS))
    this.#bytes = bytes
    this.#lookedAt = now
    return came
  }

  /** Not for every small change: each is a frame, and its answer. */
  #fit(window: number): void {
    const isClose = window < 1.25 * this.#window && window > this.#window / 2
    if (isClose || this.#session.pendingSettingsAck) return
    this.#window = window
    this.#session.settings({ initialWindowSize: window })
  }
}
