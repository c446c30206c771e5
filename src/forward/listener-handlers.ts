import type { Exchange, UpgradeExchange } from './exchange.ts'

/** What a listener hands on, and how long it waits for a client. */
export interface ListenerHandlers<Context> {
  request(exchange: Exchange<Context>): void
  upgrade(exchange: UpgradeExchange<Context>): void
}

/**
 * Ends a connection in good order (GOAWAY) where it is idle: it has had requests and has none. Gives whether it is
 * ended, now or before.
 */
export type RetireIdle = () => boolean

export interface ListenerTimeouts {
  /** For the head of an HTTP/1.1 request, and for the first SETTINGS of HTTP/2. */
  readonly headMs: number
  /** For a request body without progress while it is wanted. */
  readonly bodyStallMs: number
  /** For an idle HTTP/1.1 connection; above the 90 s of Go's clients. */
  readonly idleMs: number
}

export const DEFAULT_TIMEOUTS: ListenerTimeouts = {
  headMs: 10_000,
  bodyStallMs: 60_000,
  idleMs: 95_000,
}
