import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { isMcmError, messageOf, UsageError } from '../errors.ts'
import { REPLICA_HEADER } from '../protocol/names.ts'
import { answerJson } from '../tunnel/json-answer.ts'
import { readJsonBody } from '../tunnel/json-body.ts'
import { type ApiDeps, answerApi } from './api.ts'
import { doorkeeper } from './doorkeeper.ts'
import type { HubLimits } from './limits.ts'
import { type Peer, peerOf, viewerOf } from './peer.ts'
import { hubStatusOf } from './status-body.ts'
import type { Switchboard } from './switchboard.ts'

/** HTTP/2 on the public listener, for mcm's own clients: the API, and CONNECT streams. */
export interface Http2 {
  serve(socket: TLSSocket): void
  /** No new streams; what runs may end. */
  close(): void
}

export interface Http2Deps extends ApiDeps {
  readonly limits: HubLimits
  readonly switchboard: Switchboard
}

const STRANGER = { maxStreams: 16, windowBytes: 64 << 10, bodyBytes: 256 << 10, idleMs: 30_000 }
const KNOWN = { maxStreams: 1_000, windowBytes: 4 << 20, bodyBytes: 4 << 20 }
const SESSION_WINDOW_BYTES = 32 << 20
const MAX_SESSION_MEMORY_MB = 512
const MAX_HEADER_LIST_BYTES = 16 << 10
const BODY_MS = 30_000
const GOODBYE_MS = 1_000
/** A local proxy carries many people's programs: it may see thousands of streams aborted at once. */
const RESET_BURST = 100_000
const RESET_RATE = 10_000

export function http2(deps: Http2Deps): Http2 {
  const { limits, guests } = deps
  const sessions = new Set<ServerHttp2Session>()
  const lobby = doorkeeper({ total: limits.strangers, perAddress: limits.strangersPerAddress })
  return {
    serve(socket) {
      const peer = peerOf(socket)
      const isKnown = viewerOf(guests.directory.state, peer) !== undefined
      if (!isKnown && !lobby.admit(socket)) {
        // Not at once: Node does not survive that within the callback of the handshake.
        setImmediate(() => socket.destroy())
        return
      }
      const session = startSession(deps, socket, peer, isKnown)
      sessions.add(session)
      session.once('close', () => sessions.delete(session))
    },
    close() {
      for (const session of sessions) session.close()
    },
  }
}

function startSession(
  deps: Http2Deps,
  socket: TLSSocket,
  peer: Peer,
  isKnown: boolean,
): ServerHttp2Session {
  socket.allowHalfOpen = false
  const session = performServerHandshake(socket, {
    ...(isKnown ? { streamResetBurst: RESET_BURST, streamResetRate: RESET_RATE } : {}),
    ...(isKnown ? { maxSessionMemory: MAX_SESSION_MEMORY_MB } : {}),
    settings: {
      maxConcurrentStreams: (isKnown ? KNOWN : STRANGER).maxStreams,
      initialWindowSize: (isKnown ? KNOWN : STRANGER).windowBytes,
      maxHeaderListSize: MAX_HEADER_LIST_BYTES,
    },
  })
  if (isKnown) session.setLocalWindowSize(SESSION_WINDOW_BYTES)
  session.on('error', () => {})
  session.once('close', () => socket.destroy())
  const { idleMs } = deps.limits
  endWhenIdle(session, socket, isKnown ? idleMs : Math.min(idleMs, STRANGER.idleMs))
  session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => {})
    if (headers[':method'] === 'CONNECT') void connect(deps, peer, stream, headers)
    else void answer(deps, peer, stream, headers)
  })
  return session
}

/** Idle is who asks nothing, whatever else is sent: pings keep nobody's place. */
function endWhenIdle(session: ServerHttp2Session, socket: TLSSocket, idleMs: number): void {
  let streams = 0
  let timer = setTimeout(end, idleMs)
  function end(): void {
    session.close()
    // Who does not end a connection that we have ended does not keep it.
    timer = setTimeout(() => socket.destroy(), GOODBYE_MS)
  }
  session.on('stream', (stream) => {
    streams += 1
    clearTimeout(timer)
    stream.once('close', () => {
      streams -= 1
      if (streams === 0 && !session.closed) timer = setTimeout(end, idleMs)
    })
  })
  session.once('close', () => clearTimeout(timer))
}

async function connect(
  deps: Http2Deps,
  peer: Peer,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
): Promise<void> {
  try {
    // Extended CONNECT (RFC 8441) is another thing, and not offered.
    const authority = headers[':protocol'] === undefined ? (headers[':authority'] ?? '') : ''
    const line = await deps.switchboard.open(peer, authority, replicaOf(headers))
    if (stream.destroyed || stream.closed) {
      line.abandon()
      return
    }
    stream.respond({ ':status': 200 })
    line.join(stream)
  } catch (error) {
    refuse(stream, error)
  }
}

/** Only whoever resumes a pipe wants a certain one. */
function replicaOf(headers: IncomingHttpHeaders): string | undefined {
  const replica = headers[REPLICA_HEADER]
  return typeof replica === 'string' ? replica : undefined
}

async function answer(
  deps: Http2Deps,
  peer: Peer,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
): Promise<void> {
  const method = headers[':method'] ?? ''
  const path = headers[':path'] ?? ''
  const gone = new AbortController()
  stream.once('close', () => gone.abort())
  try {
    const body = await readJson(deps, peer, stream)
    const call = { method, path, peer, body, gone: gone.signal }
    const result = await answerApi(deps, call)
    answerJson(stream, result.status, result.body)
  } catch (error) {
    if (!isMcmError(error))
      deps.events.requestFailed(`${method} ${path.split('?')[0]}`, messageOf(error))
    refuse(stream, error)
  }
}

async function readJson(deps: Http2Deps, peer: Peer, stream: ServerHttp2Stream): Promise<unknown> {
  const isKnown = viewerOf(deps.guests.directory.state, peer) !== undefined
  try {
    return await readJsonBody(stream, (isKnown ? KNOWN : STRANGER).bodyBytes, BODY_MS)
  } catch (cause) {
    throw new UsageError('MCM_BAD_REQUEST', `the body cannot be read: ${messageOf(cause)}`, {
      cause,
    })
  }
}

function refuse(stream: ServerHttp2Stream, error: unknown): void {
  const status = hubStatusOf(error)
  answerJson(stream, status.code, status)
}
