/**
 * Serves HTTP/2 and HTTP/1.1 on connections that somebody else accepted and authenticated. It turns
 * every request into an exchange and every upgrade into an upgrade exchange, and keeps slow and
 * broken clients in bounds.
 */

import type { Duplex } from 'node:stream'
import { http1Server } from './http1-listener.ts'
import { serveHttp2 } from './http2-listener.ts'
import {
  DEFAULT_TIMEOUTS,
  type ListenerHandlers,
  type ListenerTimeouts,
  type RetireIdle,
} from './listener-handlers.ts'
import { stallWatch } from './stall-watch.ts'

export interface ListenerOptions {
  readonly timeouts?: ListenerTimeouts | undefined
  /** Offer extended CONNECT (RFC 8441) on HTTP/2. */
  readonly takesExtendedConnect?: boolean
  /** Clients may be far away: the windows of HTTP/2 follow the path, whose round trip is measured now and then. */
  readonly isDistant?: boolean
}

export interface Listener<Context> {
  /** Serves one connection, set up to its last handshake, by the protocol it negotiated. */
  accept(socket: Duplex, protocol: 'h2' | 'http/1.1', context: Context): RetireIdle
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
      const http2 = { timeouts, stalls, takesExtendedConnect, isDistant }
      if (protocol === 'h2') return serveHttp2(socket, handlers, http2, context)
      http1.accept(socket, context)
      // Where HTTP/1.1 cannot say so, whoever asks at that moment would lose a request.
      return () => false
    },
    stop: () => {
      http1.stop()
      stalls.stop()
    },
  }
}
