import type { Duplex } from 'node:stream'
import { gatherBulk } from '../duplex.ts'
import { isWhole } from './whole.ts'

export type Side = 'left' | 'right'

export interface SpliceResult {
  /** Bytes from `left`. */
  readonly sent: number
  readonly received: number
  /** Who said its last first. */
  readonly first?: Side
  /** Who went away first before all was said and heard; absent where both ended in good order. */
  readonly broken?: {
    readonly side: Side
    /** It had said its last by then, and did not wait for the other's. */
    readonly hadEnded: boolean
  }
}

export interface Splice {
  /** Never rejects. */
  readonly done: Promise<SpliceResult>
  /** Lets go of both as they are; `done` resolves with what went until now. */
  takeApart(): void
}

/**
 * Joins two streams until both directions have ended: backpressure both ways, the end of one
 * direction passed on by itself (a half-close), an error or an early close of one cutting the
 * other.
 */
export function splice(left: Duplex, right: Duplex): Splice {
  return new SplicedPair(left, right)
}

/** Its last bytes may be many, and their reader slow; one that takes none of them is not waited for. */
const FLUSH_MS = 60_000

class SplicedPair implements Splice {
  readonly done: Promise<SpliceResult>
  readonly #left: Half
  readonly #right: Half
  #resolve!: (result: SpliceResult) => void
  #broken: SpliceResult['broken']
  #first: Side | undefined
  #open = 2
  #isApart = false

  constructor(left: Duplex, right: Duplex) {
    this.done = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#left = new Half('left', left)
    this.#right = new Half('right', right)
    this.#join(this.#left, this.#right)
    this.#join(this.#right, this.#left)
  }

  takeApart(): void {
    if (this.#isApart) return
    this.#isApart = true
    this.#left.stream.unpipe(this.#right.stream)
    this.#right.stream.unpipe(this.#left.stream)
    this.#settle()
  }

  #join(from: Half, to: Half): void {
    const { stream } = from
    const onClose = () => this.#onClose(from, to)
    const gather = gatherBulk(to.stream)
    stream.on('data', (chunk: Buffer) => {
      from.bytes += chunk.length
      gather(chunk)
    })
    stream.on('error', () => stream.destroy())
    // Whatever is joined may have ended before, and does not say so again.
    if (stream.readableEnded) queueMicrotask(() => this.#onEnd(from, to))
    else stream.once('end', () => this.#onEnd(from, to))
    if (stream.destroyed) queueMicrotask(onClose)
    else stream.once('close', onClose)
    stream.pipe(to.stream, { end: false })
  }

  #onEnd(from: Half, to: Half): void {
    if (this.#isApart) return
    if (isWhole(from.stream)) {
      from.hasEnded = true
      this.#first ??= from.side
      to.stream.end()
    } else {
      this.#blame(from)
      cut(to.stream)
    }
  }

  #onClose(from: Half, to: Half): void {
    if (this.#isApart) return
    if (from.isBroken) this.#blame(from)
    // What it gave before its end is still on its way; it takes nothing any more.
    if (from.hasEnded) this.#endWhenFlushed(to)
    else cut(to.stream)
    this.#open -= 1
    if (this.#open === 0) this.#settle()
  }

  #blame({ side, hasEnded }: Half): void {
    this.#broken ??= { side, hadEnded: hasEnded }
  }

  #endWhenFlushed(half: Half): void {
    const { stream } = half
    if (stream.destroyed) return
    stream.resume()
    const timer = setTimeout(() => {
      this.#blame(half)
      cut(stream)
    }, FLUSH_MS)
    stream.once('close', () => clearTimeout(timer))
    const end = () => {
      // By itself where its peer has ended as well.
      if (stream.readableEnded) return
      half.isLetGo = true
      stream.destroy()
    }
    if (stream.writableFinished) end()
    else stream.once('finish', end)
  }

  #settle(): void {
    const [sent, received] = [this.#left.bytes, this.#right.bytes]
    const [first, broken] = [this.#first, this.#broken]
    this.#resolve({ sent, received, ...(first && { first }), ...(broken && { broken }) })
  }
}

class Half {
  readonly side: Side
  readonly stream: Duplex
  bytes = 0
  /** It has said its last, in good order. */
  hasEnded = false
  /** Closed here, since the other has nothing more for it. */
  isLetGo = false

  constructor(side: Side, stream: Duplex) {
    this.side = side
    this.stream = stream
  }

  /** Closed before it had said or heard everything. */
  get isBroken(): boolean {
    const { stream } = this
    if (this.isLetGo) return false
    if (!this.hasEnded || stream.errored !== null) return true
    // An HTTP/2 stream may close before it counts as finished: its code says how.
    return 'rstCode' in stream ? !isWhole(stream) : !stream.writableFinished
  }
}

/**
 * Ends a stream so that its peer cannot take the end for a clean one: without an error HTTP/2 would send
 * END_STREAM before its reset.
 */
export function cut(stream: Duplex): void {
  if (!stream.destroyed) stream.destroy(new Error('cut off'))
}
