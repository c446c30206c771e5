/**
 * One switch of protocols (exec, attach, port-forward, watch over WebSocket): a connection of its
 * own upstream, raw bytes only after a 101 that fits the request, everything else one answer and
 * then the end (the lesson of CVE-2018-1002105). Never pooled, never retried.
 */

import { createHash } from 'node:crypto'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Status } from '../kube/status.ts'
import type { UpgradeExchange } from './exchange.ts'
import { statusOfFailure } from './failure.ts'
import { valuesOf } from './headers.ts'
import { answerAndEnd, headOf, relayAndEnd } from './raw-answer.ts'
import { Refusal } from './refusal.ts'
import { answerHeaders, answerLines } from './response.ts'
import { splice } from './splice.ts'
import { type UpgradeProtocol, WEBSOCKET_KEY } from './upgrade-request.ts'
import { type Upstream, UpstreamProtocolError } from './upstream.ts'

/**
 * What is sent in place of the client's own head, without `Host`, `Connection`, `Upgrade` and
 * framing.
 */
export interface UpgradeHead {
  readonly method: string
  readonly target: string
  readonly headers: string[]
  readonly protocol: UpgradeProtocol
}

export interface UpgradeResult {
  /**
   * 101 when protocols were switched, else what the client was told; 0 when it went away before.
   */
  readonly status: number
  /** Towards the client. */
  readonly bytes: number
  /** From the client, after the switch. */
  readonly bytesFromClient: number
  readonly ended: 'complete' | 'client' | 'upstream' | 'cut'
}

/** A second try when the upstream does not accept the credentials of the first. */
export interface UpgradeRepeat {
  /** The head with other credentials. */
  readonly head: () => Promise<UpgradeHead>
  /** What the client is told when those are not accepted either. */
  readonly exhausted: Status
}

export interface Upgrading {
  /** Never rejects. */
  readonly done: Promise<UpgradeResult>
  /** Ends both sides at once. */
  cut(): void
  /** Bytes that wait here for either side. */
  bufferedBytes(): number
}

const SWITCH_TIMEOUT_MS = 60_000
/** RFC 6455 §1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** Forwards one upgrade, judged before by `requireUpgrade`, and joins both sides after the 101. */
export function forwardUpgrade<Context>(
  exchange: UpgradeExchange<Context>,
  upstream: Upstream,
  head: UpgradeHead,
  repeat?: UpgradeRepeat,
): Upgrading {
  const run = new UpgradeRun(exchange.socket, exchange.head, upstream)
  return {
    done: run.go(head, repeat),
    cut: () => run.cut(),
    bufferedBytes: () => run.bufferedBytes(),
  }
}

class UpgradeRun {
  readonly #client: Duplex
  readonly #early: Buffer
  readonly #upstream: Upstream
  readonly #abort = new AbortController()
  #isCut = false
  #socket: Duplex | undefined

  constructor(client: Duplex, early: Buffer, upstream: Upstream) {
    this.#upstream = upstream
    this.#client = client
    this.#early = early
    client.on('error', () => client.destroy())
    client.once('close', () => this.#abort.abort())
    if (client.destroyed) this.#abort.abort()
  }

  cut(): void {
    this.#isCut = true
    this.#socket?.destroy()
    this.#client.destroy()
  }

  bufferedBytes(): number {
    const ends = [this.#client, ...(this.#socket ? [this.#socket] : [])]
    return ends.reduce((sum, end) => sum + end.readableLength + end.writableLength, 0)
  }

  async go(head: UpgradeHead, repeat: UpgradeRepeat | undefined): Promise<UpgradeResult> {
    try {
      let answer = await this.#ask(head)
      if (repeat && isUnauthorized(answer)) {
        answer = await this.#ask(await repeat.head())
        if (isUnauthorized(answer)) throw new Refusal(repeat.exhausted)
      }
      if (answer.early === undefined) return await this.#refuse(answer.message)
      requireSwitch(answer.message, head)
      return await this.#join(answer.message, answer.early)
    } catch (error) {
      return await this.#fail(error as Error)
    } finally {
      this.#socket?.destroy()
      this.#client.destroy()
    }
  }

  async #ask(head: UpgradeHead): Promise<SwitchAnswer> {
    this.#socket?.destroy()
    this.#socket = await this.#upstream.dedicated(this.#abort.signal)
    // What this socket reports is seen again as the failure of the request or as its close.
    this.#socket.on('error', () => {})
    return ask(this.#socket, this.#upstream.authority, head, this.#abort.signal)
  }

  async #join(message: IncomingMessage, early: Buffer): Promise<UpgradeResult> {
    const upstream = this.#socket!
    const switched = ['connection', 'Upgrade', 'upgrade', message.headers.upgrade ?? '']
    const headers = answerHeaders(message.rawHeaders)
    this.#client.write(headOf(101, [...switched, ...headers]), 'latin1')
    if (early.length > 0) this.#client.write(early)
    if (this.#early.length > 0) upstream.write(this.#early)
    const { sent, received } = await splice(this.#client, upstream)
    const bytes = { bytes: received + early.length, bytesFromClient: sent + this.#early.length }
    return { status: 101, ...bytes, ended: this.#isCut ? 'cut' : 'complete' }
  }

  /**
   * The upstream's own refusal: that status, that body, then the end. Anything below 400 is none.
   */
  async #refuse(message: IncomingMessage): Promise<UpgradeResult> {
    const status = message.statusCode ?? 0
    if (status < 400) throw new UpstreamProtocolError(`answered ${status} to a switch of protocols`)
    const headers = answerHeaders(message.rawHeaders)
    this.#client.write(headOf(status, [...headers, 'connection', 'close']), 'latin1')
    const bytes = await relayAndEnd(message, this.#client)
    return { status, bytes, bytesFromClient: 0, ended: this.#isCut ? 'cut' : 'complete' }
  }

  async #fail(error: Error): Promise<UpgradeResult> {
    const nothing = { bytes: 0, bytesFromClient: 0 }
    if (this.#client.destroyed)
      return { status: 0, ...nothing, ended: this.#isCut ? 'cut' : 'client' }
    const status = statusOfFailure(this.#upstream.name, error)
    this.#socket?.destroy()
    await answerAndEnd(this.#client, status)
    return { status: status.code, ...nothing, ended: 'upstream' }
  }
}

interface SwitchAnswer {
  readonly message: IncomingMessage
  /** Bytes behind a 101; undefined for any other answer. */
  readonly early: Buffer | undefined
}

function isUnauthorized({ message, early }: SwitchAnswer): boolean {
  return early === undefined && message.statusCode === 401
}

/** Node's client reads the answer's head: it is as strict as the server's parser. */
function ask(
  socket: Duplex,
  host: string,
  head: UpgradeHead,
  signal: AbortSignal,
): Promise<SwitchAnswer> {
  return new Promise((resolve, reject) => {
    const request: ClientRequest = httpRequest({
      createConnection: () => socket,
      method: head.method,
      path: head.target,
      headers: ['Host', host, ...switchHeaders(head)],
      setDefaultHeaders: false,
      signal,
    })
    const timer = setTimeout(() => request.destroy(noAnswer()), SWITCH_TIMEOUT_MS)
    const settle = (answer: SwitchAnswer) => {
      clearTimeout(timer)
      resolve(answer)
    }
    request.once('upgrade', (message, _socket, early) => settle({ message, early }))
    request.once('response', (message) => settle({ message, early: undefined }))
    request.on('information', ({ statusCode }) => {
      if (statusCode === 101) request.destroy(new UpstreamProtocolError('a 101 without Upgrade'))
    })
    request.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    request.end()
  })
}

function switchHeaders({ headers, method, protocol }: UpgradeHead): string[] {
  const framing = method === 'POST' ? ['Content-Length', '0'] : []
  return [...headers, 'Connection', 'Upgrade', 'Upgrade', protocol, ...framing]
}

/** RFC 9110 §7.8, RFC 6455 §4.1: the 101 must be the answer to this very request. */
function requireSwitch(message: IncomingMessage, head: UpgradeHead): void {
  const lines = answerLines(message.rawHeaders)
  const [upgrade, ...more] = valuesOf(lines, 'upgrade')
  const isAsked = upgrade?.toLowerCase() === head.protocol.toLowerCase() && more.length === 0
  if (message.statusCode !== 101 || !isAsked)
    throw new UpstreamProtocolError('switched to another protocol')
  if (head.protocol !== 'websocket') return
  const [accept, ...others] = valuesOf(lines, 'sec-websocket-accept')
  if (accept !== acceptOf(head.headers) || others.length > 0)
    throw new UpstreamProtocolError('accepted another WebSocket')
}

function acceptOf(headers: readonly string[]): string | undefined {
  const index = headers.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === WEBSOCKET_KEY)
  if (index < 0) return undefined
  const key = headers[index + 1]!.trim()
  return createHash('sha1')
    .update(key + WEBSOCKET_GUID)
    .digest('base64')
}

function noAnswer(): Error {
  const message = `no answer within ${SWITCH_TIMEOUT_MS} ms`
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' })
}
