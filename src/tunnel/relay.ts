import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { BULK_WAITING_BYTES, gatherBulk } from '../duplex.ts'

/**
 * Joins two byte streams. Half-close is carried, each direction has its own backpressure, and an abort
 * of either side ends the other at once. Allocates nothing per chunk. Invariant: nothing is read from
 * one side while the other cannot take it, beyond the streams' own windows.
 */

export interface RelayOutcome {
  /** Bytes carried from left to right. */
  readonly sent: number
  /** Bytes carried from right to left. */
  readonly received: number
  /** Whether it ended by an error or an early close instead of an end of both directions. */
  readonly aborted: boolean
}

export interface Relay {
  /** Resolves when both sides are closed; never rejects. */
  readonly done: Promise<RelayOutcome>
  /** Bytes read from one side and not yet taken by the other. */
  bufferedBytes(): number
  /** Bytes carried so far, both directions together. */
  carriedBytes(): number
  /** Ends both sides at once, as an abort. */
  abort(): void
}

/** `relay` for those who only want to know the end. */
export function relay(left: Duplex, right: Duplex): Promise<RelayOutcome> {
  return startRelay(left, right).done
}

/**
 * Starts carrying bytes between two open streams, both with half-close allowed (`allowHalfOpen`).
 * Takes over their error handling.
 */
export function startRelay(left: Duplex, right: Duplex): Relay {
  const { promise: done, resolve } = Promise.withResolvers<RelayOutcome>()
  const outward = new Flow(left, right)
  const inward = new Flow(right, left)
  let aborted = false
  let open = 2

  function abort(): void {
    aborted = true
    destroyAsAbort(left)
    destroyAsAbort(right)
  }
  function onClose(flow: Flow): void {
    if (!flow.hasEnded) abort()
    else destroyWhenFlushed(flow.to)
    open -= 1
    if (open === 0) resolve({ sent: outward.carried, received: inward.carried, aborted })
  }
  for (const flow of [outward, inward]) {
    flow.from.on('error', abort)
    flow.from.once('close', () => onClose(flow))
    flow.start()
  }
  if (left.destroyed || right.destroyed) abort()
  return {
    done,
    abort,
    bufferedBytes: () => outward.bufferedBytes() + inward.bufferedBytes(),
    carriedBytes: () => outward.carried + inward.carried,
  }
}

/** One direction. */
class Flow {
  readonly from: Duplex
  readonly to: Duplex
  carried = 0
  hasEnded = false

  constructor(from: Duplex, to: Duplex) {
    this.from = from
    this.to = to
  }

  start(): void {
    const { from, to } = this
    const gather = gatherBulk(to)
    from.on('data', (chunk: Buffer) => {
      this.carried += chunk.length
      gather(chunk)
      if (!to.write(chunk) && to.writableLength >= BULK_WAITING_BYTES) from.pause()
    })
    to.on('drain', () => from.resume())
    if (from.readableEnded) this.#end()
    else from.once('end', () => this.#end())
    // A stream that somebody has paused before does not begin to flow by being listened to.
    from.resume()
  }

  #end(): void {
    this.hasEnded = true
    this.to.end()
  }

  bufferedBytes(): number {
    return this.from.readableLength + this.to.writableLength
  }
}

/** Ends a stream so that its peer cannot take the end for a clean one. */
function destroyAsAbort(stream: Duplex): void {
  if (stream.destroyed) return
  if (stream instanceof Socket && !(stream instanceof TLSSocket)) stream.resetAndDestroy()
  // The error keeps an HTTP/2 stream from sending END_STREAM before its RST_STREAM.
  else stream.destroy(new Error('relay aborted'))
}

function destroyWhenFlushed(stream: Duplex): void {
  if (stream.destroyed) return
  if (stream.writableFinished) stream.destroy()
  else stream.once('finish', () => stream.destroy())
}
