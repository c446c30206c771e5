import type { Duplex } from 'node:stream'
import { isWhole } from './whole.ts'

/** Bytes that went each way. */
export interface SpliceResult {
  readonly sent: number
  readonly received: number
}

/**
 * Joins two streams until both directions have ended: backpressure both ways, the end of one
 * direction passed on by itself (a half-close), an error or an early close of one cutting the
 * other. Never rejects. `sent` counts what came from `left`.
 */
export function splice(left: Duplex, right: Duplex): Promise<SpliceResult> {
  return new Promise((resolve) => {
    let [sent, received, open] = [0, 0, 2]
    const hasEnded = new Set<Duplex>()
    left.on('data', (chunk: Buffer) => {
      sent += chunk.length
    })
    right.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    const closed = (stream: Duplex, other: Duplex) => () => {
      // What it gave before its end is still on its way; it takes nothing any more.
      if (hasEnded.has(stream)) endWhenFlushed(other)
      else cut(other)
      open -= 1
      if (open === 0) resolve({ sent, received })
    }
    for (const [stream, other] of [
      [left, right],
      [right, left],
    ] as const) {
      stream.on('error', () => stream.destroy())
      if (stream.destroyed) queueMicrotask(closed(stream, other))
      else stream.once('close', closed(stream, other))
      stream.once('end', () => {
        if (!isWhole(stream)) return cut(other)
        hasEnded.add(stream)
        other.end()
      })
      stream.pipe(other, { end: false })
    }
  })
}

/** Its last bytes may be many, and their reader slow; one that takes none of them is not waited for. */
const FLUSH_MS = 60_000

function endWhenFlushed(stream: Duplex): void {
  if (stream.destroyed) return
  stream.resume()
  const timer = setTimeout(() => cut(stream), FLUSH_MS)
  stream.once('close', () => clearTimeout(timer))
  const end = () => {
    // By itself where its peer has ended as well.
    if (!stream.readableEnded) stream.destroy()
  }
  if (stream.writableFinished) end()
  else stream.once('finish', end)
}

/**
 * Ends a stream so that its peer cannot take the end for a clean one: without an error HTTP/2 would send
 * END_STREAM before its reset.
 */
export function cut(stream: Duplex): void {
  if (!stream.destroyed) stream.destroy(new Error('cut off'))
}
