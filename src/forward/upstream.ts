import type { Duplex, Readable } from 'node:stream'
import type { RawHeaders } from './headers.ts'

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
   * A connection of its own for one upgrade, HTTP/1.1, shared with nobody. @throws Error when it
   * cannot be made
   */
  dedicated(signal: AbortSignal): Promise<Duplex>
  /** Ends what is under way. */
  close(): Promise<void>
}

/** The upstream answered something that is no HTTP answer to this request. */
export class UpstreamProtocolError extends Error {
  override readonly name = 'UpstreamProtocolError'
}
