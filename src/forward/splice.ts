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
  /** Whether the right side is gone after a good end, and the left was given everything. */
  readonly isDelivered: boolean
  /** Lets go of both as they are; `done` resolves with what went until now. */
  takeApart(): void
}

export interface SpliceOptions {
  /** Writes a piece of `left` to `right`, or what becomes of it; not called once `right` takes nothing any more. */
  readonly passToRight?: (chunk: Buffer) => void
  readonly passToLeft?: (chunk: Buffer) => void
  /** How long a client that was given everything may stay. */
  readonly lingerMs?: number
}

/**
 * Joins two streams until both directions have ended: backpressure both ways, the end of one
 * direction passed on by itself (a half-close), an error or an early close of one cutting the
 * other. A client, on the left, whose upstream is gone after a good end is left open until it has had everything
 * and ends by itself.
 */
export function splice(left: Duplex, right: Duplex, options: SpliceOptions = {}): Splice {
  return new SplicedPair(left, right, options)
}

/** Its last bytes may be many, and their reader slow; one that takes none of them is not waited for. */
const FLUSH_MS = 60_000
/**
 * A kernel still delivers what a stream has taken, and forgets it when a stream is closed and its peer says one
 * word more (RFC 9293 §3.10.7): megabytes, which take a slow reader a while. Of two programs in a row each waits.
 */
const LINGER_MS = 120_000

class SplicedPair implements Splice {
  readonly done: Promise<SpliceResult>
  readonly #left: Half
  readonly #right: Half
  #resolve!: (result: SpliceResult) => void
  #broken: SpliceResult['broken']
  #first: Side | undefined
  #open = 2
  #isApart = false
  readonly #lingerMs: number

  constructor(left: Duplex, right: Duplex, options: SpliceOptions) {
    this.#lingerMs = options.lingerMs ?? LINGER_MS
    this.done = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#left = new Half('left', left)
    this.#right = new Half('right', right)
    this.#join(this.#left, this.#right, options.passToRight)
    this.#join(this.#right, this.#left, options.passToLeft)
  }

  get isDelivered(): boolean {
    return this.#left.isLetGo
  }

  takeApart(): void {
    if (this.#isApart) return
    this.#isApart = true
    this.#left.stopFlow()
    this.#right.stopFlow()
    this.#settle()
  }

  #join(from: Half, to: Half, pass?: (chunk: Buffer) => void): void {
    const { stream } = from
    const onClose = () => this.#onClose(from, to)
    stream.on('error', () => stream.destroy())
    // Whatever is joined may have ended before, and does not say so again.
    if (stream.readableEnded) queueMicrotask(() => this.#onEnd(from, to))
    else stream.once('end', () => this.#onEnd(from, to))
    if (stream.destroyed) queueMicrotask(onClose)
    else stream.once('close', onClose)
    from.startFlow(to.stream, pass)
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
    half.stopFlow()
    stream.resume()
    let timer = setTimeout(() => {
      this.#blame(half)
      cut(stream)
    }, FLUSH_MS)
    stream.once('close', () => clearTimeout(timer))
    const letGo = () => {
      clearTimeout(timer)
      half.isLetGo = true
      // Without a client nobody waits for what an upstream has not taken.
      if (half.side === 'right') stream.destroy()
      else timer = setTimeout(() => stream.destroy(), this.#lingerMs).unref()
    }
    if (stream.writableFinished) letGo()
    else stream.once('finish', letGo)
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
  /** It has had everything, and nobody waits for what it says. */
  isLetGo = false
  stopFlow: () => void = () => {}

  constructor(side: Side, stream: Duplex) {
    this.side = side
    this.stream = stream
  }

  /** What it says goes to `to`, no faster than that takes it. */
  startFlow(to: Duplex, pass: (chunk: Buffer) => void = (chunk) => to.write(chunk)): void {
    const { stream } = this
    const gather = gatherBulk(to)
    const onData = (chunk: Buffer) => {
      this.bytes += chunk.length
      if (!to.writable) return
      gather(chunk)
      pass(chunk)
      if (to.writableNeedDrain) stream.pause()
    }
    const onDrain = () => stream.resume()
    stream.on('data', onData)
    to.on('drain', onDrain)
    if (to.writableNeedDrain) stream.pause()
    else stream.resume()
    this.stopFlow = () => {
      stream.off('data', onData)
      to.off('drain', onDrain)
      stream.pause()
    }
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
