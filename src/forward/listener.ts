/**
 * Serves HTTP/2 and HTTP/1.1 on connections that somebody else accepted and authenticated. It turns
 * every request into an exchange and every upgrade into an upgrade exchange, and keeps slow and
 * broken clients in bounds.
 */

import type { Duplex } from 'node:stream'
import type { Exchange, UpgradeExchange } from './exchange.ts'
import { http1Server } from './http1-listener.ts'
import { serveHttp2 } from './http2-listener.ts'
import { stallWatch } from './stall-watch.ts'

export interface ListenerHandlers<Context> {
  request(exchange: Exchange<Context>): void
  upgrade(exchange: UpgradeExchange<Context>): void
}

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

export interface ListenerOptions {
  readonly timeouts?: ListenerTimeouts | undefined
  /** Offer extended CONNECT (RFC 8441) on HTTP/2. */
  readonly takesExtendedConnect?: boolean
  /** Clients may be far away: the windows of HTTP/2 follow the path, whose round trip is measured now and then. */
  readonly isDistant?: boolean
}

export interface Listener<Context> {
  /** Serves one connection, set up to its last handshake, by the protocol it negotiated. */
  accept(socket: Duplex, protocol: 'h2' | 'http/1.1', context: Context): void
  /** Stops its timers; the connections are their owner's to end. */
  stop(): void
}

export function openListener<Context>(
  handlers: ListenerHandlers<Context>,
  options: ListenerOptions = {},
): Listener<Context> {
  const { timeouts = DEFAULT_TIMEOUTS, takesExtendedConnect = false, isDistant = false } = options
  const stalls = stallWatch(timeouts.bodyStallMs)
  const http1 = http1Server(handlers, timeouts, stalls)
  return {
    accept: (socket, protocol, context) => {
      // An error on a connection is the end of that connection and of nothing else.
      socket.on('error', () => socket.destroy())
      if (protocol === 'h2')
        serveHttp2(socket, handlers, { timeouts, stalls, takesExtendedConnect, isDistant }, context)
      else http1.accept(socket, context)
    },
    stop: () => {
      http1.stop()
      stalls.stop()
    },
  }
}
