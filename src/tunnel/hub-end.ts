import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import { messageOf, UnreachableError } from '../errors.ts'
import { readJsonBody } from './json-body.ts'
import {
  superviseSession,
  TUNNEL_SESSION_OPTIONS,
  type TunnelEnd,
  type TunnelOptions,
} from './session.ts'

/**
 * The hub's end of a tunnel: the side that accepted the socket is the HTTP/2 client. It opens streams
 * toward the agent; the agent can open none, because an HTTP/2 server cannot and push is off.
 */
export interface HubTunnel extends TunnelEnd {
  /** One JSON exchange. Any status is an answer. @throws UnreachableError MCM_AGENT_UNREACHABLE */
  request(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }>
  /** A byte stream to an authority of the agent's. @throws UnreachableError MCM_AGENT_UNREACHABLE */
  connect(authority: string, headers?: Readonly<Record<string, string>>): Promise<Duplex>
  /** CONNECT streams open now. */
  openStreams(): number
}

export interface HubTunnelOptions extends TunnelOptions {
  /** How long the agent may take to answer a request or a CONNECT; 10 s unless told. */
  readonly answerTimeoutMs?: number
}

const ANSWER_TIMEOUT_MS = 10_000
const MAX_ANSWER_BYTES = 1 << 20
const CLOSED = 'the tunnel ended'

/** Speaks HTTP/2 as client on an accepted, authenticated socket. */
export function openTunnel(socket: Duplex, options: HubTunnelOptions): HubTunnel {
  const session = connect('http://agent.mcm.internal', {
    ...TUNNEL_SESSION_OPTIONS,
    createConnection: () => socket,
  })
  const end = superviseSession(session, socket, options)
  const answerTimeoutMs = options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS
  let openStreams = 0
  return {
    ...end,
    openStreams: () => openStreams,
    request: (method, path, body) => exchange(session, { method, path, body }, answerTimeoutMs),
    async connect(authority, headers = {}) {
      const stream = begin(session, { ':method': 'CONNECT', ':authority': authority, ...headers })
      openStreams += 1
      stream.once('close', () => {
        openStreams -= 1
      })
      const status = await answerStatus(stream, answerTimeoutMs)
      if (status === 200) return stream
      stream.destroy()
      throw unreachable(`the agent refused ${authority} with status ${status}`)
    },
  }
}

/** Ends a connection that may not become a tunnel; the agent can log the sentence. */
export function refuseTunnel(socket: Duplex, sentence: string): void {
  const session = connect('http://agent.mcm.internal', { createConnection: () => socket })
  session.on('error', () => {})
  session.once('connect', () => {
    session.goaway(constants.NGHTTP2_REFUSED_STREAM, 0, Buffer.from(sentence))
    session.destroy()
  })
  socket.allowHalfOpen = false
  socket.on('error', () => {})
}

async function exchange(
  session: ClientHttp2Session,
  call: { method: string; path: string; body: unknown },
  timeoutMs: number,
): Promise<{ status: number; body: unknown }> {
  const hasBody = call.body !== undefined
  const stream = begin(
    session,
    {
      ':method': call.method,
      ':path': call.path,
      ...(hasBody ? { 'content-type': 'application/json' } : {}),
    },
    !hasBody,
  )
  if (hasBody) stream.end(JSON.stringify(call.body))
  // Both at once: an answer without body is over before its head has been awaited.
  const body = readJsonBody(stream, MAX_ANSWER_BYTES, timeoutMs)
  body.catch(() => {})
  const status = await answerStatus(stream, timeoutMs)
  try {
    return { status, body: await body }
  } catch (cause) {
    stream.destroy()
    throw unreachable(`the agent's answer cannot be read: ${messageOf(cause)}`, cause)
  }
}

function begin(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  endStream = false,
): ClientHttp2Stream {
  if (session.closed || session.destroyed) throw unreachable(CLOSED)
  try {
    return session.request(headers, { endStream })
  } catch (cause) {
    throw unreachable(`the tunnel takes no new stream: ${messageOf(cause)}`, cause)
  }
}

function answerStatus(stream: ClientHttp2Stream, timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(unreachable(`the agent did not answer within ${timeoutMs} ms`))
      stream.destroy(new Error('no answer'))
    }, timeoutMs)
    stream.once('response', (headers) => {
      clearTimeout(timer)
      resolve(headers[':status'] ?? 0)
    })
    // Stays for the whole life of the stream: whoever uses it adds a handler that says more.
    stream.on('error', (cause) => {
      clearTimeout(timer)
      reject(unreachable(`the agent gave up the stream: ${cause.message}`, cause))
    })
    stream.once('close', () => {
      clearTimeout(timer)
      reject(unreachable(CLOSED))
    })
  })
}

function unreachable(message: string, cause?: unknown): UnreachableError {
  return new UnreachableError('MCM_AGENT_UNREACHABLE', message, {
    hint: 'look at the agent: kubectl -n mcm-system get pods',
    cause,
  })
}
