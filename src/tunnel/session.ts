import type { Http2Session, SessionOptions } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Log } from '../world.ts'

/**
 * What both ends of a tunnel share: windows, the heartbeat, and the end (docs/PROTOCOL.md §6). Knows
 * sockets and HTTP/2 only; nothing of clusters, users or certificates. Invariant: a session that was
 * begun here ends, and `closed` says so, when its peer is silent for interval plus timeout.
 */

const STREAM_WINDOW_BYTES = 4 << 20
const SESSION_WINDOW_BYTES = 32 << 20
const FRAME_BYTES = 64 << 10
const MAX_HEADER_LIST_BYTES = 16 << 10
const MAX_STREAMS = 16_384
/** Node counts megabytes; its default of 10 refuses streams of a tunnel in normal use. */
const MAX_SESSION_MEMORY_MB = 512
/** How long streams of a peer that said goodbye may go on. */
const MAX_DRAIN_MS = 15 * 60_000

export interface TunnelOptions {
  readonly log: Log
  /** Time between a ping's answer and the next ping; 4 s unless told. */
  readonly pingIntervalMs?: number
  /** How long a peer that has a ping to answer may be wholly silent; 10 s unless told. */
  readonly pingTimeoutMs?: number
}

/** One running end of a tunnel. */
export interface TunnelEnd {
  /** Resolves as soon as no new stream can be opened: the peer is leaving, or the tunnel ended. */
  readonly draining: Promise<void>
  /** Resolves when the tunnel is gone, for whatever reason; never rejects. */
  readonly closed: Promise<void>
  isOpen(): boolean
  /** The last measured round trip in milliseconds, null before the first. */
  roundTripMs(): number | null
  /** Lets streams finish for at most `graceMs` (0 unless told), then ends everything. */
  stop(graceMs?: number): Promise<void>
}

/** HTTP/2 options of both ends. HPACK's tables stay empty: a tunnel repeats no headers worth their memory. */
export const TUNNEL_SESSION_OPTIONS: SessionOptions = {
  maxSessionMemory: MAX_SESSION_MEMORY_MB,
  maxDeflateDynamicTableSize: 0,
  peerMaxConcurrentStreams: MAX_STREAMS,
  settings: {
    enablePush: false,
    headerTableSize: 0,
    initialWindowSize: STREAM_WINDOW_BYTES,
    maxFrameSize: FRAME_BYTES,
    maxHeaderListSize: MAX_HEADER_LIST_BYTES,
    maxConcurrentStreams: MAX_STREAMS,
  },
}

/** Sets the session's window, starts the heartbeat and follows the session to its end. */
export function superviseSession(
  session: Http2Session,
  socket: Duplex,
  options: TunnelOptions,
): TunnelEnd {
  const draining = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<void>()
  const heartbeat = new Heartbeat(session, socket, options)
  let graceTimer: NodeJS.Timeout | undefined
  function end(): void {
    session.destroy()
    // A closing session would wait for the peer's FIN.
    socket.destroy()
  }
  function endAfter(graceMs: number): void {
    clearTimeout(graceTimer)
    if (graceMs === 0) end()
    else graceTimer = setTimeout(end, graceMs)
  }
  // HTTP/2 has its own half-close; a socket that stays half open would keep a dead session.
  socket.allowHalfOpen = false
  whenReady(session, () => {
    session.setLocalWindowSize(SESSION_WINDOW_BYTES)
    heartbeat.ping()
  })
  session.on('error', (error) => options.log.warn('tunnel_error', { reason: error.message }))
  session.once('goaway', (code, _lastStream, data) => {
    const why = data === undefined ? {} : { reason: printable(Buffer.from(data).toString()) }
    options.log.info('tunnel_goodbye', { code, ...why })
    draining.resolve()
    // Not when we are leaving ourselves: the peer answers our goodbye with its own.
    if (graceTimer === undefined) endAfter(MAX_DRAIN_MS)
  })
  session.once('close', () => {
    heartbeat.stop()
    clearTimeout(graceTimer)
    socket.destroy()
    draining.resolve()
    closed.resolve()
  })
  return {
    draining: draining.promise,
    closed: closed.promise,
    isOpen: () => !session.closed && !session.destroyed,
    roundTripMs: () => heartbeat.roundTripMs,
    async stop(graceMs = 0) {
      draining.resolve()
      if (!session.closed) session.close()
      endAfter(graceMs)
      await closed.promise
    },
  }
}

/** The peer's words go to a log. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, '?').slice(0, 200)
}

function whenReady(session: Http2Session, work: () => void): void {
  if (session.connecting) session.once('connect', work)
  else if (!session.destroyed) work()
}

const PING_INTERVAL_MS = 4_000
const PING_TIMEOUT_MS = 10_000

/** Looks so many times in a timeout, so that a dead path is noticed in time whenever it died. */
const LOOKS = 20

/**
 * Pings, one at a time, and destroys the session when a ping stays unanswered and not one byte came
 * either: a link full of data delays a ping's answer behind it and is not dead. A path that dies is
 * noticed after `pingIntervalMs` and `pingTimeoutMs` together, and a twentieth of the latter. A hub has
 * thousands of these: each has one timer, and looks only while it waits for an answer.
 */
class Heartbeat {
  roundTripMs: number | null = null
  readonly #session: Http2Session
  readonly #socket: Duplex
  readonly #options: TunnelOptions
  #timer: NodeJS.Timeout | undefined
  #heardAt = 0
  #bytesSeen = 0

  constructor(session: Http2Session, socket: Duplex, options: TunnelOptions) {
    this.#session = session
    this.#socket = socket
    this.#options = options
  }

  ping(): void {
    if (this.#isOver()) return
    this.#heardAt = performance.now()
    this.#bytesSeen = bytesRead(this.#socket)
    this.#timer = setInterval(() => this.#look(), this.#timeoutMs / LOOKS)
    this.#session.ping((error, durationMs) => {
      if (!error && !this.#session.destroyed) this.#answered(durationMs)
    })
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #answered(durationMs: number): void {
    this.roundTripMs = durationMs
    clearTimeout(this.#timer)
    const intervalMs = this.#options.pingIntervalMs ?? PING_INTERVAL_MS
    this.#timer = setTimeout(() => this.ping(), intervalMs)
  }

  /** Twice: when this process itself stood still, its timers come before what has arrived meanwhile. */
  #look(): void {
    if (this.#isSilent()) setImmediate(() => this.#judge(this.#timer))
  }

  #judge(timer: NodeJS.Timeout | undefined): void {
    // Another timer: the answer has come.
    if (timer !== this.#timer || this.#isOver() || !this.#isSilent()) return
    this.#options.log.warn('tunnel_silent', { timeoutMs: this.#timeoutMs })
    this.#session.destroy()
    this.#socket.destroy()
  }

  #isSilent(): boolean {
    const now = performance.now()
    const bytes = bytesRead(this.#socket)
    if (bytes !== this.#bytesSeen) this.#heardAt = now
    this.#bytesSeen = bytes
    return now - this.#heardAt >= this.#timeoutMs
  }

  /** A draining session answers no pings (Node cancels them); its drain has an end of its own. */
  #isOver(): boolean {
    return this.#session.destroyed || this.#session.closed
  }

  get #timeoutMs(): number {
    return this.#options.pingTimeoutMs ?? PING_TIMEOUT_MS
  }
}

function bytesRead(socket: Duplex): number {
  return (socket as Duplex & { readonly bytesRead?: number }).bytesRead ?? 0
}
