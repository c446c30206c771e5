/**
 * One HTTP exchange: a request that came in on some connection, and the place where its one answer
 * goes. The room forwards exchanges; it knows nothing of users, clusters or what a certificate
 * means. Invariant: a client never takes a part of an answer for the whole, and an end on one side
 * ends the other.
 */

import type { Readable } from 'node:stream'
import { type Status, warningOf } from '../kube/status.ts'
import type { RawHeaders } from './headers.ts'
import type { UpgradeClient } from './upgrade-client.ts'

/** `Context` is whatever the owner of the connection put there, such as who is behind it. */
export interface Exchange<Context> {
  readonly context: Context
  /** `1.0` stands for everything before 1.1. */
  readonly httpVersion: '1.0' | '1.1' | '2.0'
  readonly method: string
  /** As on the wire, not judged; undefined where HTTP/2 sent none. */
  readonly target: string | undefined
  /** `:authority` of HTTP/2. */
  readonly authority: string | undefined
  readonly headers: RawHeaders
  /** Undefined when the request has no body. */
  readonly body: Readable | undefined
  readonly reply: Reply
}

export interface Reply {
  readonly isStarted: boolean
  /** Nothing can be written any more, and no `onClose` will follow. */
  readonly isClosed: boolean
  /** Status 200–599 and end-to-end headers; at most once. */
  start(status: number, headers: string[]): void
  /** False means: no more until `onDrain`. */
  write(chunk: Uint8Array): boolean
  end(chunk?: Uint8Array): void
  /** Cuts the answer, so that the client sees it is not whole. */
  abort(): void
  /**
   * No further request on this connection: `Connection: close`, or GOAWAY. Call it before `start`.
   */
  endConnection(): void
  onDrain(listener: () => void): void
  /**
   * Once, when nothing more can be written: the answer has been sent, or the client has gone
   * (`isComplete` false).
   */
  onClose(listener: (isComplete: boolean) => void): void
}

/**
 * A request to switch protocols: `Upgrade` of HTTP/1.1 (RFC 9110 §7.8), or an extended CONNECT of
 * HTTP/2 (RFC 8441).
 */
export interface UpgradeExchange<Context> {
  readonly context: Context
  readonly httpVersion: '1.0' | '1.1' | '2.0'
  /** Of an extended CONNECT: the method it stands for. */
  readonly method: string
  readonly target: string | undefined
  /** `:authority` of HTTP/2. */
  readonly authority: string | undefined
  /** `:protocol` of an extended CONNECT. */
  readonly protocol: string | undefined
  readonly headers: RawHeaders
  readonly client: UpgradeClient
}

/**
 * Answers with a Status, and its message as a warning too. Nothing happens when the answer has
 * begun.
 */
export function replyStatus(reply: Reply, status: Status, extra: readonly string[] = []): void {
  replyJson(reply, status.code, status, ['warning', warningOf(status), ...extra])
}

/** Answers with a JSON document. Nothing happens when the answer has begun. */
export function replyJson(
  reply: Reply,
  code: number,
  value: unknown,
  extra: readonly string[] = [],
): void {
  if (reply.isStarted) return
  const body = Buffer.from(JSON.stringify(value))
  const length = String(body.length)
  const headers = ['content-type', 'application/json', 'cache-control', 'no-store', ...extra]
  reply.start(code, [...headers, 'content-length', length])
  reply.end(body)
}
