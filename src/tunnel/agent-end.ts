import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Duplex } from 'node:stream'
import { decoupleWrites } from '../duplex.ts'
import { isMcmError, NotFoundError } from '../errors.ts'
import { statusOf } from '../kube/status.ts'
import { answerJson } from './json-answer.ts'
import { readBody } from './json-body.ts'
import {
  superviseSession,
  TUNNEL_SESSION_OPTIONS,
  type TunnelEnd,
  type TunnelOptions,
} from './session.ts'

/** What the agent does with the hub's requests. A thrown McmError becomes its status. */
export interface TunnelHandlers {
  /** Answers one JSON exchange; `body` is empty when there is none. */
  request(
    method: string,
    path: string,
    body: Buffer,
  ): Promise<{ readonly status: number; readonly body: unknown }>
  /** Accepts a byte stream by returning; whatever it does with the stream is its own affair. */
  connect(authority: string, headers: IncomingHttpHeaders, stream: Duplex): void
}

const MAX_BODY_BYTES = 8 << 20
const BODY_TIMEOUT_MS = 30_000
/** Streams a hub's users may abort at once; Node's defaults (1000, 33/s) would end the tunnel. */
const RESET_BURST = 1_000_000
const RESET_RATE = 100_000

/**
 * The agent's end of a tunnel: the side that dialled is the HTTP/2 server on that socket. It never
 * opens a stream itself.
 */
export function serveTunnel(
  socket: Duplex,
  handlers: TunnelHandlers,
  options: TunnelOptions,
): TunnelEnd {
  const session = performServerHandshake(decoupleWrites(socket), {
    ...TUNNEL_SESSION_OPTIONS,
    streamResetBurst: RESET_BURST,
    streamResetRate: RESET_RATE,
  })
  session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => {})
    if (headers[':method'] === 'CONNECT') acceptConnect(stream, headers, handlers, options)
    else void answer(stream, headers, handlers, options)
  })
  return superviseSession(session, socket, options)
}

function acceptConnect(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  handlers: TunnelHandlers,
  options: TunnelOptions,
): void {
  try {
    const authority = headers[':authority']
    if (!authority) throw new NotFoundError('MCM_NOT_FOUND', 'the CONNECT names no authority')
    // Before the handler: it may be quick to write.
    handlers.connect(authority, headers, stream)
    if (!stream.headersSent && !stream.destroyed) stream.respond({ ':status': 200 })
  } catch (error) {
    refuse(stream, error, options)
  }
}

async function answer(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  handlers: TunnelHandlers,
  options: TunnelOptions,
): Promise<void> {
  try {
    const body = await readBody(stream, MAX_BODY_BYTES, BODY_TIMEOUT_MS)
    const { status, body: answered } = await handlers.request(
      headers[':method'] ?? '',
      headers[':path'] ?? '',
      body,
    )
    answerJson(stream, status, answered)
  } catch (error) {
    refuse(stream, error, options)
  }
}

function refuse(stream: ServerHttp2Stream, error: unknown, options: TunnelOptions): void {
  if (!isMcmError(error)) options.log.error('tunnel_request_failed', { reason: String(error) })
  const status = statusOf(error)
  answerJson(stream, status.code, status)
}
