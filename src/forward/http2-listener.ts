import {
  constants,
  type Http2Session,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerStreamResponseOptions,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { failureStatus } from '../kube/status.ts'
import { type Reply, replyStatus, type UpgradeExchange } from './exchange.ts'
import { fitFlowWindow, NEAR_WINDOW_BYTES } from './flow-window.ts'
import type { ListenerHandlers, ListenerTimeouts, RetireIdle } from './listener-handlers.ts'
import type { StallWatch } from './stall-watch.ts'
import { http2UpgradeClient } from './upgrade-client.ts'
import { methodOfConnect } from './upgrade-request.ts'

const SESSION_WINDOW_BYTES = 32 * 1024 * 1024
/** Below the half minute after which load balancers and NAT forget a connection. */
const PING_MS = 20_000
/** Without a request for so long a session counts as idle. */
const IDLE_MS = 1_000

/** Ours differ from Node's where a busy, honest client would meet Node's limits. */
const SESSION_OPTIONS = {
  settings: {
    // Four times the API server's own 250: a stream that was reset counts until it is taken down.
    maxConcurrentStreams: 1_000,
    initialWindowSize: NEAR_WINDOW_BYTES,
    maxHeaderListSize: 64 * 1024,
    enablePush: false,
  },
  // With Node's 1000 and 33 a thousand aborted watches end the whole connection.
  streamResetBurst: 10_000,
  streamResetRate: 1_000,
  // After a hundred streams beyond the limit Node would end it, too.
  maxSessionRejectedStreams: 1_000_000,
  // Above our own limit, so that it is ours that answers.
  maxHeaderListPairs: 256,
  maxSessionMemory: 64,
  strictSingleValueFields: false,
}

/** The upstream's date or none (an option that @types/node does not know). */
const AS_GIVEN = { sendDate: false } as ServerStreamResponseOptions

export interface Http2ServerOptions {
  readonly timeouts: ListenerTimeouts
  readonly stalls: StallWatch
  readonly takesExtendedConnect: boolean
  readonly isDistant: boolean
}

/** Serves HTTP/2 on one connection. Gives what ends it in good order where it is idle. */
export function serveHttp2<Context>(
  socket: Duplex,
  handlers: ListenerHandlers<Context>,
  { timeouts, stalls, takesExtendedConnect, isDistant }: Http2ServerOptions,
  context: Context,
): RetireIdle {
  // HTTP/2 has a half-close of its own; below it one would keep a dead session for ever.
  socket.allowHalfOpen = false
  socket.once('end', () => socket.destroy())
  const session = performServerHandshake(socket, {
    ...SESSION_OPTIONS,
    settings: { ...SESSION_OPTIONS.settings, enableConnectProtocol: takesExtendedConnect },
  })
  const preface = setTimeout(() => socket.destroy(), timeouts.headMs).unref()
  session.once('remoteSettings', () => clearTimeout(preface))
  session.once('close', () => {
    clearTimeout(preface)
    socket.destroy()
  })
  session.on('error', () => socket.destroy())
  session.setLocalWindowSize(SESSION_WINDOW_BYTES)
  if (isDistant) followPath(session, socket)
  session.on('stream', (stream, fields, flags, raw) => {
    stream.on('error', () => {})
    if (fields[':method'] === 'CONNECT' && fields[':protocol'] !== undefined) {
      handlers.upgrade(upgradeOf(stream as ServerHttp2Stream, session, fields, raw, context))
      return
    }
    const exchange = exchangeOf(stream as ServerHttp2Stream, session, fields, flags, raw, context)
    if (exchange.body) stalls.add(exchange.body, () => exchange.reply.abort())
    if (agreeToContinue(stream as ServerHttp2Stream, fields, exchange.reply))
      handlers.request(exchange)
  })
  return retireWhenIdle(session)
}

/** Whoever has asked nothing yet, or asked just now, may be about to: that one is left alone. */
function retireWhenIdle(session: ServerHttp2Session): RetireIdle {
  let openStreams = 0
  let idleSince = Number.POSITIVE_INFINITY
  session.on('stream', (stream) => {
    openStreams += 1
    stream.once('close', () => {
      openStreams -= 1
      idleSince = performance.now()
    })
  })
  return () => {
    if (session.closed || session.destroyed) return true
    if (openStreams > 0 || performance.now() - idleSince < IDLE_MS) return false
    session.close()
    return true
  }
}

function exchangeOf<Context>(
  stream: ServerHttp2Stream,
  session: Http2Session,
  fields: IncomingHttpHeaders,
  flags: number,
  raw: readonly string[],
  context: Context,
) {
  const hasBody = (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0
  return {
    context,
    httpVersion: '2.0',
    method: fields[':method'] ?? '',
    target: fields[':path'],
    authority: fields[':authority'],
    headers: raw,
    body: hasBody ? stream : undefined,
    reply: http2Reply(stream, session, hasBody),
  } as const
}

/** Keeps the path open, and its windows fitted to it. */
function followPath(session: ServerHttp2Session, socket: Duplex): void {
  let openStreams = 0
  session.on('stream', (stream) => {
    openStreams += 1
    stream.once('close', () => {
      openStreams -= 1
    })
  })
  const facts = {
    bytesRead: () => (socket as Partial<Socket>).bytesRead ?? 0,
    openStreams: () => openStreams,
  }
  // The client has spoken: before that a PING would wait for it.
  session.once('remoteSettings', () => {
    const window = fitFlowWindow(session, facts)
    session.once('close', () => window.stop())
  })
  const timer = setInterval(() => {
    if (!session.destroyed && !session.closed) session.ping(() => {})
  }, PING_MS).unref()
  session.once('close', () => clearInterval(timer))
}

/** An extended CONNECT (RFC 8441). One with END_STREAM is half closed from its beginning. */
function upgradeOf<Context>(
  stream: ServerHttp2Stream,
  session: ServerHttp2Session,
  fields: IncomingHttpHeaders,
  raw: readonly string[],
  context: Context,
): UpgradeExchange<Context> {
  const protocol = String(fields[':protocol'])
  return {
    context,
    httpVersion: '2.0',
    method: methodOfConnect(protocol),
    target: fields[':path'],
    authority: fields[':authority'],
    protocol,
    headers: raw,
    client: http2UpgradeClient(stream, session),
  }
}

/** RFC 9110 §10.1.1. HTTP/1.1 does the same by itself. */
function agreeToContinue(stream: ServerHttp2Stream, fields: IncomingHttpHeaders, reply: Reply) {
  const { expect } = fields
  if (expect === undefined) return true
  if (expect.toLowerCase() === '100-continue') {
    stream.additionalHeaders({ ':status': 100 })
    return true
  }
  const why = 'mcm: the request is refused: its expectation is unknown'
  replyStatus(reply, failureStatus(417, 'ExpectationFailed', why))
  return false
}

function http2Reply(stream: ServerHttp2Stream, session: Http2Session, hasBody: boolean): Reply {
  const isGone = () => stream.destroyed || stream.closed
  return {
    get isStarted() {
      return stream.headersSent
    },
    get isClosed() {
      return stream.closed || stream.destroyed
    },
    start: (status, headers) => {
      if (!isGone()) stream.respond([':status', String(status), ...headers], AS_GIVEN)
    },
    write: (chunk) => isGone() || stream.write(chunk),
    end: (chunk) => {
      if (isGone()) return
      stream.end(chunk, () => {
        // The rest of a refused body is not wanted (RFC 9113 §8.1); unread, it would keep the stream for ever.
        if (!hasBody || stream.readableEnded) return
        stream.resume()
        stream.close(constants.NGHTTP2_NO_ERROR)
      })
    },
    // With an error: a plain close would send END_STREAM first, and the answer would look whole.
    abort: () => stream.destroy(new Error('the answer was cut off')),
    endConnection: () => session.close(),
    onDrain: (listener) => stream.on('drain', listener),
    onClose: (listener) => {
      stream.once('close', () => listener(isComplete(stream)))
    },
  }
}

/** Whether everything was sent; a reset by either side says it was not, whatever was written. */
function isComplete(stream: ServerHttp2Stream): boolean {
  return stream.writableFinished && stream.rstCode === constants.NGHTTP2_NO_ERROR
}
