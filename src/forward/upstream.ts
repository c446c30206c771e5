import type { Duplex, Readable } from 'node:stream'
import type { RawHeaders } from './headers.ts'
import type { UpgradeProtocol } from './upgrade-request.ts'

/**
 * A request as it shall stand on the wire: its headers are final and hold no framing but
 * Content-Length.
 */
export interface UpstreamRequest {
  readonly method: string
  readonly target: string
  /** End-to-end lines; `Host` is the upstream's own. */
  readonly headers: string[]
  readonly body: Buffer | Readable | undefined
  /** How long the answer's head may take; 0 is for ever. */
  readonly answerTimeoutMs: number
}

/** What comes back, in this order. After `onEnd` or `onError` nothing more comes. */
export interface UpstreamEvents {
  /** Never a 1xx. */
  onResponse(status: number, headers: RawHeaders): void
  /** False pauses the answer until `resume`. */
  onData(chunk: Uint8Array): boolean
  onEnd(): void
  onError(error: Error): void
}

export interface UpstreamCall {
  resume(): void
  /** Ends the exchange upstream at once; no event follows. */
  abort(): void
}

/** Where exchanges are forwarded to: one fixed server. */
export interface Upstream {
  /** For sentences, such as `the API server`. */
  readonly name: string
  /** `Host` of every request. */
  readonly authority: string
  send(request: UpstreamRequest, events: UpstreamEvents): UpstreamCall
  /**
   * Asks for one switch of protocols, on a connection or stream shared with nobody, once. `signal`
   * ends it while it has no answer. @throws Error when there is no answer, or none that fits
   */
  upgrade(head: UpgradeHead, signal: AbortSignal): Promise<UpgradeAnswer>
  /** Ends what is under way. */
  close(): Promise<void>
}

/**
 * A switch of protocols as it is asked for: `method` and `headers` in the words of HTTP/1.1, without `Host`,
 * `Connection`, `Upgrade` and framing.
 */
export interface UpgradeHead {
  readonly method: string
  readonly target: string
  readonly headers: string[]
  readonly protocol: UpgradeProtocol
}

/** What came back. `headers` are as they came; `socket` is the receiver's to destroy. */
export type UpgradeAnswer = SwitchedAnswer | OrdinaryAnswer

export interface SwitchedAnswer {
  readonly isSwitched: true
  readonly headers: RawHeaders
  readonly socket: Duplex
  /** Bytes of the new protocol that came with the answer. */
  readonly early: Buffer
}

export interface OrdinaryAnswer {
  readonly isSwitched: false
  readonly status: number
  readonly headers: RawHeaders
  readonly socket: Duplex
  readonly body: Readable
}

/** The upstream answered something that is no HTTP answer to this request. */
export class UpstreamProtocolError extends Error {
  override readonly name = 'UpstreamProtocolError'
}
