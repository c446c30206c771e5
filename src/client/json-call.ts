import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2'
import type { Duplex } from 'node:stream'
import type { z } from 'zod'
import { decoupleWrites } from '../duplex.ts'
import { isMcmError, type McmError, messageOf, UnreachableError } from '../errors.ts'
import { errorCode } from './network-failure.ts'
import { errorOfAnswer } from './status-error.ts'

/** JSON over one HTTP/2 connection, every answer checked; what hub.ts and agent.ts have in common. */

const STREAM_WINDOW_BYTES = 4 << 20
const SESSION_WINDOW_BYTES = 32 << 20
const MAX_SESSION_MEMORY_MB = 256
const ANSWER_TIMEOUT_MS = 30_000
const MAX_ANSWER_BYTES = 64 << 20

/** Who is at the other end, and what to say when it is gone. */
export interface Peer {
  readonly name: string
  readonly authority: string
  readonly session: ClientHttp2Session
  /** What an answer may hold; 64 MiB unless told. */
  readonly maxAnswerBytes?: number
  /** The error for a connection that ended or did not answer. */
  lost(why: string, cause?: unknown): McmError
  /** Hears of every call that got no answer. */
  onNoAnswer?(): void
}

export interface Call {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  /** Until the whole answer is there; 30 s unless told. */
  readonly timeoutMs?: number
}

/** An HTTP/2 client on a socket that is ours; windows as on the tunnel (docs/PROTOCOL.md §6). */
export function startSession(socket: Duplex, authority: string): ClientHttp2Session {
  const session = connect(`https://${authority}`, {
    createConnection: () => decoupleWrites(socket),
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
    settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
  })
  // Told of its beginning, a session may already be over.
  session.once('connect', () => {
    if (!session.destroyed) session.setLocalWindowSize(SESSION_WINDOW_BYTES)
  })
  // Every call and stream reports the end of the session to its own caller.
  session.on('error', () => {})
  return session
}

/** The answer of a success, checked. @throws the error that was thrown there, UnreachableError */
export async function callJson<T>(peer: Peer, call: Call, schema: z.ZodType<T>): Promise<T> {
  const { status, body } = await exchange(peer, call)
  if (status < 200 || status > 299) throw errorOfAnswer(peer.name, status, body)
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw peer.lost(`its answer to ${call.method} ${call.path} is not understood`, parsed.error)
}

/** One exchange, whatever its status; a body that is no JSON is undefined. */
export async function exchange(peer: Peer, call: Call): Promise<{ status: number; body: unknown }> {
  const stream = openStream(peer, call.method, call.path, call.body !== undefined)
  if (call.body !== undefined) stream.end(JSON.stringify(call.body))
  const timeoutMs = call.timeoutMs ?? ANSWER_TIMEOUT_MS
  const timer = setTimeout(() => {
    stream.destroy(new Error(`no answer within ${timeoutMs / 1000} s`))
  }, timeoutMs)
  try {
    const [status, text] = await Promise.all([
      responseStatus(stream),
      readText(stream, peer.maxAnswerBytes),
    ])
    return { status, body: parseJson(text) }
  } catch (cause) {
    throw lostOf(peer, cause)
  } finally {
    clearTimeout(timer)
  }
}

function openStream(peer: Peer, method: string, path: string, hasBody: boolean): ClientHttp2Stream {
  const headers = {
    ':method': method,
    ':path': path,
    ':authority': peer.authority,
    accept: 'application/json',
    ...(hasBody ? { 'content-type': 'application/json' } : {}),
  }
  return beginStream(peer, headers, !hasBody)
}

/** A request stream with its errors taken care of. @throws McmError when the connection is gone */
export function beginStream(
  peer: Peer,
  headers: Record<string, string>,
  endStream: boolean,
): ClientHttp2Stream {
  try {
    const stream = peer.session.request(headers, { endStream })
    stream.on('error', () => {})
    return stream
  } catch (cause) {
    throw lostOf(peer, cause)
  }
}

/** The head of the answer. @throws Error when the stream ends without one */
export function responseHeaders(
  stream: ClientHttp2Stream,
): Promise<IncomingHttpHeaders & IncomingHttpStatusHeader> {
  return new Promise((resolve, reject) => {
    stream.once('response', resolve)
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('the connection ended')))
  })
}

export async function responseStatus(stream: ClientHttp2Stream): Promise<number> {
  return (await responseHeaders(stream))[':status'] ?? 0
}

/**
 * The text of the whole answer, bounded. Call it at once: by the time a stream's head has been awaited
 * its end may be over, and async iteration takes a finished HTTP/2 stream for a broken one.
 * @throws Error when it breaks off
 */
export function readText(stream: ClientHttp2Stream, maxBytes = MAX_ANSWER_BYTES): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size > maxBytes) stream.destroy(new Error('the answer is too long'))
    })
    stream.once('end', () => {
      if (stream.rstCode === constants.NGHTTP2_NO_ERROR) resolve(Buffer.concat(chunks).toString())
    })
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('the answer broke off')))
  })
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The error for a call that got no answer. */
export function lostOf(peer: Peer, cause: unknown): McmError {
  if (isMcmError(cause)) return cause
  peer.onNoAnswer?.()
  const code = errorCode(cause)
  const isGone = code?.startsWith('ERR_HTTP2_') === true
  return peer.lost(isGone ? 'the connection ended' : messageOf(cause), cause)
}

/** The usual `lost` of a peer. */
export function unreachablePeer(
  code: 'MCM_HUB_UNREACHABLE' | 'MCM_AGENT_UNREACHABLE',
  name: string,
): Peer['lost'] {
  return (why, cause) =>
    new UnreachableError(code, `${name} does not answer: ${why}`, {
      hint: 'try again; mcm clusters shows which agents are connected',
      cause,
    })
}
