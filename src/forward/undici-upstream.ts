import type { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import { type Dispatcher, Pool } from 'undici'
import { ConnectionQueue } from './connection-queue.ts'
import type { RawHeaders } from './headers.ts'
import { askHttp1Upgrade } from './http1-upgrade.ts'
import {
  type Upstream,
  type UpstreamCall,
  type UpstreamEvents,
  UpstreamProtocolError,
  type UpstreamRequest,
} from './upstream.ts'

export interface TlsUpstreamOptions {
  /** For sentences, such as `the API server`. */
  readonly name: string
  /** A DNS name or an address, without brackets. */
  readonly host: string
  readonly port: number
  readonly caPem: string | undefined
  /** The name to send and to verify instead of the host. */
  readonly serverName?: string
  readonly insecureSkipTlsVerify?: boolean
  readonly connectTimeoutMs?: number
}

const DEFAULT_CONNECT_TIMEOUT_MS = 10_000
/** Below the API server's 90 s, so that it never closes a connection we are writing on. */
const IDLE_CONNECTION_MS = 60_000
const KEEP_ALIVE_PROBE_MS = 15_000

/**
 * One HTTPS server over pooled HTTP/1.1 connections: always this host and port, its certificate
 * checked, no redirect followed, nothing decoded, no environment proxy. A GET or HEAD without an
 * answer on a connection that was just closed is sent once more; anything else never.
 */
export function undiciUpstream(options: TlsUpstreamOptions): Upstream {
  const timeout = options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  const authority = `${host}:${options.port}`
  const pool = new Pool(`https://${authority}`, {
    allowH2: false,
    pipelining: 1,
    connections: null,
    keepAliveTimeout: IDLE_CONNECTION_MS,
    keepAliveMaxTimeout: IDLE_CONNECTION_MS,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { ...tlsOptions(options), timeout, keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS },
  })
  const queued: QueuedPool = { pool, queue: new ConnectionQueue(pool) }
  return {
    name: options.name,
    authority,
    send: (request, events) => sendWithOneRetry(queued, request, events),
    upgrade: async (head, signal) => {
      const socket = await dedicatedSocket(options, timeout, signal)
      return askHttp1Upgrade(socket, authority, head, signal)
    },
    close: () => pool.destroy(),
  }
}

interface QueuedPool {
  readonly pool: Dispatcher
  readonly queue: ConnectionQueue
}

function tlsOptions(options: TlsUpstreamOptions) {
  return {
    rejectUnauthorized: !options.insecureSkipTlsVerify,
    ...(options.caPem === undefined ? {} : { ca: options.caPem }),
    ...(options.serverName === undefined ? {} : { servername: options.serverName }),
  }
}

function sendWithOneRetry(
  pool: QueuedPool,
  request: UpstreamRequest,
  events: UpstreamEvents,
): UpstreamCall {
  const isRepeatable =
    (request.method === 'GET' || request.method === 'HEAD') && request.body === undefined
  if (!isRepeatable) return new UndiciCall(events).dispatch(pool, request)
  let current = new UndiciCall({
    onResponse: (status, headers) => events.onResponse(status, headers),
    onData: (chunk) => events.onData(chunk),
    onEnd: () => events.onEnd(),
    onError: (error) => {
      if (current.hasResponse || !isClosedConnection(error)) events.onError(error)
      else current = new UndiciCall(events).dispatch(pool, request)
    },
  })
  current.dispatch(pool, request)
  return { resume: () => current.resume(), abort: () => current.abort() }
}

/** The other side closed a kept-alive connection just as we wrote on it. */
function isClosedConnection(error: Error): boolean {
  const { code = '' } = error as { code?: string }
  if (code === 'UND_ERR_SOCKET') return !isProtocolError(error)
  return code === 'ECONNRESET' || code === 'EPIPE'
}

/** undici names these by their text or class alone. */
function isProtocolError(error: Error): boolean {
  return error.name === 'HTTPParserError' || /^bad (upgrade|response)$/.test(error.message)
}

class UndiciCall implements UpstreamCall, Dispatcher.DispatchHandler {
  hasResponse = false
  readonly #events: UpstreamEvents
  #controller: Dispatcher.DispatchController | undefined
  #leave: () => void = () => {}
  #isOver = false

  constructor(events: UpstreamEvents) {
    this.#events = events
  }

  dispatch({ pool, queue }: QueuedPool, request: UpstreamRequest): this {
    const { method, target, headers, body = null, answerTimeoutMs } = request
    const head = { method, path: target, headers, body, headersTimeout: answerTimeoutMs }
    this.#leave = queue.enter({
      start: () => {
        try {
          pool.dispatch({ ...head, bodyTimeout: 0 }, this)
        } catch (error) {
          this.onResponseError(undefined, error as Error)
        }
      },
      fail: (error) => this.onResponseError(undefined, error),
    })
    if (this.#isOver) this.#leave()
    return this
  }

  resume(): void {
    this.#controller?.resume()
  }

  abort(): void {
    if (this.#isOver) return
    this.#finish()
    this.#controller?.abort(new Error('aborted'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isOver) controller.abort(new Error('aborted'))
  }

  onRequestUpgrade(
    _controller: Dispatcher.DispatchController,
    _status: number,
    _headers: unknown,
    socket: Duplex,
  ): void {
    socket.destroy()
    this.onResponseError(undefined, new UpstreamProtocolError('protocols were switched unasked'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#isOver) return
    if (status === 101) {
      const error = new UpstreamProtocolError('protocols were switched unasked')
      this.onResponseError(controller, error)
      controller.abort(error)
      return
    }
    if (status < 200) return
    this.hasResponse = true
    this.#events.onResponse(status, rawHeadersOf(controller))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#isOver && !this.#events.onData(chunk)) controller.pause()
  }

  onResponseEnd(): void {
    if (this.#isOver) return
    this.#finish()
    this.#events.onEnd()
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#isOver) return
    this.#finish()
    const isWrong = isProtocolError(error)
    this.#events.onError(
      isWrong ? new UpstreamProtocolError(error.message, { cause: error }) : error,
    )
  }

  #finish(): void {
    this.#isOver = true
    this.#leave()
  }
}

function rawHeadersOf(controller: Dispatcher.DispatchController): RawHeaders {
  const raw = controller.rawHeaders as readonly Buffer[]
  return raw.map((part) => part.toString('latin1'))
}

function dedicatedSocket(
  options: TlsUpstreamOptions,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const { host, port } = options
    const halfOpen = { ALPNProtocols: ['http/1.1'], allowHalfOpen: true }
    const socket = connect({ ...tlsOptions(options), ...halfOpen, host, port })
    const timer = setTimeout(() => socket.destroy(connectTimeout(timeoutMs)), timeoutMs)
    const abort = () => socket.destroy(new Error('aborted'))
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    const settle = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
    socket.once('secureConnect', () => {
      settle()
      socket.off('error', reject)
      socket.setNoDelay(true)
      socket.setKeepAlive(true, KEEP_ALIVE_PROBE_MS)
      resolve(socket)
    })
    socket.once('error', reject)
    socket.once('close', () => {
      settle()
      reject(new Error('the connection closed before it was set up'))
    })
  })
}

function connectTimeout(timeoutMs: number): Error {
  return Object.assign(new Error(`no connection within ${timeoutMs} ms`), { code: 'ETIMEDOUT' })
}
