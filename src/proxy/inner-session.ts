import type { ClientHttp2Session } from 'node:http2'
import { connect as connectHttp2, constants } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { decoupleWrites } from '../duplex.ts'
import { fitFlowWindow, NEAR_WINDOW_BYTES } from '../forward/flow-window.ts'
import { type Http2Upstream, http2Upstream } from '../forward/http2-upstream.ts'
import type {
  UpgradeAnswer,
  UpgradeHead,
  UpstreamCall,
  UpstreamEvents,
  UpstreamRequest,
} from '../forward/upstream.ts'
import type { Credential } from './cluster.ts'
import { type InnerPath, PLAIN_PATH } from './inner-path.ts'

/**
 * One warm HTTP/2 session with an agent, as one certificate. It notices its own death, takes no more
 * streams than an agent allows, and can be retired: what runs on it goes on, nothing new comes.
 */

const SESSION_WINDOW_BYTES = 32 * 1024 * 1024
/** Below what agents allow on one connection (forward `maxConcurrentStreams`). */
const MAX_STREAMS = 200
/** Beats that a PING may stay unanswered. Beats, not time: a machine that slept gets a second chance. */
const MAX_SILENT_BEATS = 2
/** A probe before use answers within this, or the session counts as dead. */
const PROBE_TIMEOUT_MS = 1_000
/** Heard from within this time, a session is taken without a probe. */
const FRESH_MS = 12_000
const IDLE_MS = 15 * 60_000

export interface InnerSession {
  readonly credential: Credential
  readonly closed: Promise<void>
  readonly path: InnerPath
  readonly openStreams: number
  /** Counts as a stream until the function is called. */
  hold(): () => void
  /** Alive as far as is known, not retired, and with room for one more stream. */
  isUsable(): boolean
  /** Whether the agent answers, asked only when it was not heard of lately (a lid was closed). */
  isAlive(): Promise<boolean>
  /** Whether `upgrade` may be used: the agent's SETTINGS say so. */
  readonly offersUpgrades: Promise<boolean>
  send(request: UpstreamRequest, events: UpstreamEvents): UpstreamCall
  upgrade(head: UpgradeHead, signal: AbortSignal): Promise<UpgradeAnswer>
  /** Every five seconds: a PING. Ends a session that leaves two unanswered, retires one that nobody uses. */
  beat(): void
  /** No new streams; ends when those it has are done. */
  retire(): void
  destroy(): void
}

export interface InnerSessionOptions {
  readonly socket: TLSSocket
  readonly host: string
  readonly name: string
  readonly credential: Credential
  /** What the socket runs on; a plain stream unless told. */
  readonly path?: InnerPath
  /** Milliseconds of the wall clock, which goes on while a machine sleeps. */
  now(): number
}

/** Starts HTTP/2 on an inner TLS connection that negotiated it. */
export function innerSession(options: InnerSessionOptions): InnerSession {
  const session = connectHttp2(`https://${options.host}`, {
    createConnection: () => decoupleWrites(options.socket),
    settings: { enablePush: false, initialWindowSize: NEAR_WINDOW_BYTES },
    maxSessionMemory: 64,
  })
  // Told of its beginning, a session may already be over.
  session.once('connect', () => {
    if (!session.destroyed) session.setLocalWindowSize(SESSION_WINDOW_BYTES)
  })
  return new WarmSession(session, options)
}

class WarmSession implements InnerSession {
  readonly credential: Credential
  readonly closed: Promise<void>
  readonly offersUpgrades: Promise<boolean>
  readonly #session: ClientHttp2Session
  readonly #socket: TLSSocket
  readonly #upstream: Http2Upstream
  readonly #now: () => number
  readonly path: InnerPath
  #heardAt: number
  #usedAt: number
  #silentBeats = 0
  #streams = 0
  #isRetired = false

  constructor(session: ClientHttp2Session, options: InnerSessionOptions) {
    const { host, name, credential, now } = options
    this.credential = credential
    this.#session = session
    this.#socket = options.socket
    this.path = options.path ?? PLAIN_PATH
    this.#now = now
    this.#heardAt = now()
    this.#usedAt = now()
    this.#upstream = http2Upstream(session, { name, authority: host })
    this.offersUpgrades = this.#upstream.offersUpgrades
    this.closed = new Promise((resolve) => session.once('close', () => resolve()))
    session.once('connect', () => this.#fitWindow())
    session.on('error', () => session.destroy())
    session.on('goaway', () => this.retire())
  }

  get openStreams(): number {
    return this.#streams
  }

  isUsable(): boolean {
    const { closed, destroyed } = this.#session
    if (closed || destroyed || this.#isRetired || this.path.isSuspended) return false
    return this.#streams < MAX_STREAMS
  }

  isAlive(): Promise<boolean> {
    if (this.#now() - this.#heardAt < FRESH_MS) return Promise.resolve(true)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => {
      // What runs on a pipe waits for it; only nothing new is begun on it.
      if (!this.path.isPipe) this.destroy()
      resolve(false)
    }, PROBE_TIMEOUT_MS)
    this.#ping(() => resolve(true))
    void this.closed.then(() => resolve(false))
    return promise.finally(() => clearTimeout(timer))
  }

  send(request: UpstreamRequest, events: UpstreamEvents): UpstreamCall {
    const end = this.hold()
    const call = this.#upstream.send(request, endingWith(events, end))
    const abort = () => {
      end()
      call.abort()
    }
    return { resume: () => call.resume(), abort }
  }

  async upgrade(head: UpgradeHead, signal: AbortSignal): Promise<UpgradeAnswer> {
    const leave = this.hold()
    try {
      const answer = await this.#upstream.upgrade(head, signal)
      answer.socket.once('close', leave)
      if (answer.socket.closed) leave()
      return answer
    } catch (error) {
      leave()
      throw error
    }
  }

  beat(): void {
    if (this.#session.destroyed) return
    // Node cancels the pings of a session that is being closed: its silence says nothing.
    if (this.#session.closed) return
    if (this.#streams === 0 && this.#now() - this.#usedAt > IDLE_MS) this.retire()
    if (this.#silentBeats >= MAX_SILENT_BEATS) this.destroy()
    // A pipe sees for itself whether its path is dead, and finds another.
    if (!this.path.isPipe) this.#silentBeats += 1
    this.#ping(() => {})
  }

  retire(): void {
    this.#isRetired = true
    // Not while streams live: one that is being closed cannot ask any more whether its peer is there.
    if (this.#streams === 0 && !this.#session.closed && !this.#session.destroyed)
      this.#session.close()
  }

  destroy(): void {
    this.#isRetired = true
    // With a code: an answer that was under way must not look as if it had ended.
    this.#session.destroy(new Error('the session was ended'), constants.NGHTTP2_CANCEL)
    // The session by itself waits until a silent peer has taken its last words.
    this.#socket.destroy()
  }

  hold(): () => void {
    this.#streams += 1
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      this.#streams -= 1
      this.#usedAt = this.#now()
      if (this.#isRetired) this.retire()
    }
  }

  #fitWindow(): void {
    const window = fitFlowWindow(this.#session, {
      bytesRead: () => this.#socket.bytesRead,
      openStreams: () => this.#streams,
    })
    this.#session.once('close', () => window.stop())
  }

  #ping(answered: () => void): void {
    if (this.#session.destroyed) return
    this.#session.ping((error) => {
      if (error) return
      this.#heardAt = this.#now()
      this.#silentBeats = 0
      answered()
    })
  }
}

function endingWith(events: UpstreamEvents, end: () => void): UpstreamEvents {
  return {
    onResponse: (status, headers) => events.onResponse(status, headers),
    onData: (chunk) => events.onData(chunk),
    onEnd: () => {
      end()
      events.onEnd()
    },
    onError: (error) => {
      end()
      events.onError(error)
    },
  }
}
