/**
 * One switch of protocols (exec, attach, port-forward, watch over WebSocket): a connection or stream of
 * its own upstream, raw bytes only after an answer that switches, everything else one answer and then
 * the end (the lesson of CVE-2018-1002105). Never pooled, never retried.
 */

import type { Duplex } from 'node:stream'
import type { Status } from '../kube/status.ts'
import type { UpgradeExchange } from './exchange.ts'
import { statusOfFailure } from './failure.ts'
import { JoinedSides } from './joined-sides.ts'
import { answerAndEnd, relayAndEnd } from './raw-answer.ts'
import { Refusal } from './refusal.ts'
import { answerHeaders } from './response.ts'
import { cut, type SpliceResult } from './splice.ts'
import type { SwitchedProtocol } from './switched-protocol.ts'
import { SwitchedSpdy } from './switched-spdy.ts'
import { SwitchedWebSocket } from './switched-websocket.ts'
import { type UpgradeClient, WEBSOCKET_ACCEPT } from './upgrade-client.ts'
import {
  type OrdinaryAnswer,
  type SwitchedAnswer,
  type UpgradeAnswer,
  type UpgradeHead,
  type Upstream,
  UpstreamProtocolError,
} from './upstream.ts'

export interface UpgradeResult {
  /**
   * 101 when protocols were switched, else what the client was told; 0 when it went away before.
   */
  readonly status: number
  /** Towards the client. */
  readonly bytes: number
  /** From the client, after the switch. */
  readonly bytesFromClient: number
  /** `client` and `upstream`: who went away first, before all was said and heard. */
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
  /**
   * Ends both sides at once; with a reason the client is told it first, where its protocol has a place for that, for
   * which it has less than half a second.
   */
  cut(reason?: Status): void
  /** Bytes that wait here for either side. */
  bufferedBytes(): number
}

/** Forwards one upgrade, judged before by `requireUpgrade`, and joins both sides after the switch. */
export function forwardUpgrade<Context>(
  exchange: UpgradeExchange<Context>,
  upstream: Upstream,
  head: UpgradeHead,
  repeat?: UpgradeRepeat,
): Upgrading {
  const run = new UpgradeRun(exchange.client, upstream)
  return {
    done: run.go(head, repeat),
    cut: (reason) => run.cut(reason),
    bufferedBytes: () => run.bufferedBytes(),
  }
}

class UpgradeRun {
  readonly #client: UpgradeClient
  readonly #near: Duplex
  readonly #upstream: Upstream
  readonly #abort = new AbortController()
  #isCut = false
  #far: Duplex | undefined
  #joined: JoinedSides | undefined

  constructor(client: UpgradeClient, upstream: Upstream) {
    this.#upstream = upstream
    this.#client = client
    const { socket } = client
    this.#near = socket
    socket.on('error', () => socket.destroy())
    socket.once('close', () => this.#abort.abort())
    if (socket.destroyed) this.#abort.abort()
  }

  cut(reason?: Status): void {
    this.#isCut = !this.#joined?.isDelivered
    if (this.#joined && reason) {
      this.#joined.part(reason)
      return
    }
    if (this.#far) cut(this.#far)
    cut(this.#near)
  }

  bufferedBytes(): number {
    const ends = [this.#near, ...(this.#far ? [this.#far] : [])]
    return ends.reduce((sum, end) => sum + end.readableLength + end.writableLength, 0)
  }

  async go(head: UpgradeHead, repeat: UpgradeRepeat | undefined): Promise<UpgradeResult> {
    try {
      let answer = await this.#ask(head)
      if (repeat && isUnauthorized(answer)) {
        answer = await this.#ask(await repeat.head())
        if (isUnauthorized(answer)) throw new Refusal(repeat.exhausted)
      }
      return answer.isSwitched ? await this.#join(answer, head) : await this.#refuse(answer)
    } catch (error) {
      return await this.#fail(error as Error)
    } finally {
      if (this.#far) cut(this.#far)
      cut(this.#near)
    }
  }

  async #ask(head: UpgradeHead): Promise<UpgradeAnswer> {
    if (this.#far) cut(this.#far)
    const answer = await this.#upstream.upgrade(head, this.#abort.signal)
    this.#far = answer.socket
    this.#far.on('error', () => {})
    // The client may have gone, or been cut, while the answer was on its way.
    this.#abort.signal.throwIfAborted()
    return answer
  }

  async #join(answer: SwitchedAnswer, { protocol }: UpgradeHead): Promise<UpgradeResult> {
    const { socket: far, early } = answer
    const near = this.#near
    const headers = switchedHeaders(answer)
    this.#client.switch(protocol, headers)
    const switched = protocolOf(protocol, headers)
    const { early: earlyFromClient } = this.#client
    this.#joined = new JoinedSides({
      near,
      far,
      protocol: switched,
      earlyFromFar: early,
      earlyFromNear: earlyFromClient,
    })
    const result = await this.#joined.done
    return {
      status: 101,
      bytes: result.received + early.length,
      bytesFromClient: result.sent + earlyFromClient.length,
      ended: this.#isCut ? 'cut' : endOf(result, switched),
    }
  }

  /**
   * The upstream's own refusal: that status, that body, then the end. Anything below 400 is none.
   */
  async #refuse({ status, headers, body }: OrdinaryAnswer): Promise<UpgradeResult> {
    if (status < 400) throw new UpstreamProtocolError(`answered ${status} to a switch of protocols`)
    this.#client.answer(status, answerHeaders(headers))
    const bytes = await relayAndEnd(body, this.#near)
    return { status, bytes, bytesFromClient: 0, ended: this.#isCut ? 'cut' : 'complete' }
  }

  async #fail(error: Error): Promise<UpgradeResult> {
    const nothing = { bytes: 0, bytesFromClient: 0 }
    if (this.#near.destroyed)
      return { status: 0, ...nothing, ended: this.#isCut ? 'cut' : 'client' }
    const status = statusOfFailure(this.#upstream.name, error)
    if (this.#far) cut(this.#far)
    await answerAndEnd(this.#client, status)
    return { status: status.code, ...nothing, ended: 'upstream' }
  }
}

/** An upstream that has said its last, as after any command, need not hear the client out. */
function endOf(
  { broken, first }: SpliceResult,
  protocol: SwitchedProtocol,
): UpgradeResult['ended'] {
  if (broken?.side === 'left') return 'client'
  if (broken && !broken.hadEnded) return 'upstream'
  return protocol.brokenBy(first === 'left' ? 'client' : 'upstream') ?? 'complete'
}

/** @param headers of the answer that switched */
function protocolOf(
  protocol: UpgradeHead['protocol'],
  headers: readonly string[],
): SwitchedProtocol {
  const find = (name: string) => {
    const index = headers.findIndex((each, i) => i % 2 === 0 && each.toLowerCase() === name)
    return index < 0 ? undefined : headers[index + 1]
  }
  return protocol === 'websocket'
    ? new SwitchedWebSocket(find('sec-websocket-protocol'))
    : new SwitchedSpdy(find('x-stream-protocol-version'))
}

function isUnauthorized(answer: UpgradeAnswer): boolean {
  return !answer.isSwitched && answer.status === 401
}

/** The accept answers this hop's key; the client's own is made for it. */
function switchedHeaders({ headers }: SwitchedAnswer): string[] {
  const kept = answerHeaders(headers)
  const index = kept.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === WEBSOCKET_ACCEPT)
  return index < 0 ? kept : kept.toSpliced(index, 2)
}
