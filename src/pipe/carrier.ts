import type { Duplex } from 'node:stream'
import { messageOf } from '../errors.ts'
import { CarrierFault, type ControlFrame, FrameReader, type FrameSink } from './frame.ts'

/** Who listens to a carrier at the moment. */
export interface CarrierOwner extends FrameSink {
  /** What had arrived together has been handed over. */
  onArrived(): void
  /** More can be given to it. */
  onRoom(): void
  /** The other end lets go of it in good order. */
  onEnd(): void
  /** It is gone, for that reason. */
  onLost(why: string): void
}

/** What may wait in a carrier: enough to keep it busy, too little to be late behind. */
const MAX_WAITING_BYTES = 256 << 10

/**
 * One connection that carries a pipe for a while: a byte stream that is read at all times and written to
 * in frames. Everything it does is told to its owner, who may change.
 */
export class Carrier {
  owner: CarrierOwner
  /** When anything came last, by a clock that stands still while the machine sleeps. */
  heardAtMs = performance.now()
  readonly #stream: Duplex
  readonly #reader = new FrameReader()
  #isLost = false
  #isWanted = false

  constructor(stream: Duplex, owner: CarrierOwner) {
    this.#stream = stream
    this.owner = owner
    stream.on('error', (error) => this.#lose(messageOf(error)))
    stream.once('close', () => this.#lose('the connection ended'))
    // A reset with a write unfinished would leave it waiting for a reader that waits for the write.
    stream.once('aborted', () => stream.destroy())
    stream.once('end', () => {
      if (!this.#isLost) this.owner.onEnd()
    })
    stream.on('data', (chunk: Buffer) => this.#read(chunk))
    if (stream.destroyed) queueMicrotask(() => this.#lose('the connection ended'))
  }

  get isLost(): boolean {
    return this.#isLost
  }

  /** Whether as much waits in it as may; `onRoom` follows. */
  get isBusy(): boolean {
    this.#isWanted = this.#stream.writableLength >= MAX_WAITING_BYTES
    return this.#isWanted
  }

  /** Writes what `work` sends as one batch. */
  batch(work: () => void): void {
    this.#stream.cork()
    work()
    this.#stream.uncork()
  }

  send(pieces: readonly Buffer[]): void {
    if (this.#isLost || !this.#stream.writable) return
    const last = pieces.length - 1
    for (let index = 0; index < last; index++) this.#stream.write(pieces[index]!)
    this.#stream.write(pieces[last]!, this.#onWritten)
  }

  /** Lets go of it when what was sent is through. */
  end(): void {
    this.#release()
    if (this.#stream.destroyed) return
    this.#stream.resume()
    this.#stream.end()
    const timer = setTimeout(() => this.#stream.destroy(), GOODBYE_MS).unref()
    this.#stream.once('close', () => clearTimeout(timer))
    const letGo = () => this.#stream.destroy()
    this.#stream.once(this.#stream.readableEnded ? 'finish' : 'end', letGo)
  }

  /** Gives it up; its owner hears nothing more. */
  destroy(): void {
    this.#release()
    // The error keeps an HTTP/2 stream from sending END_STREAM before its RST_STREAM.
    if (!this.#stream.destroyed) this.#stream.destroy(new Error('the carrier is given up'))
  }

  #release(): void {
    this.#isLost = true
    this.#reader.stop()
  }

  #read(chunk: Buffer): void {
    if (this.#isLost) return
    this.heardAtMs = performance.now()
    try {
      this.#reader.push(chunk, this.#sink)
      if (!this.#isLost) this.owner.onArrived()
    } catch (error) {
      if (!(error instanceof CarrierFault)) throw error
      this.#lose(error.message)
    }
  }

  readonly #sink: FrameSink = {
    onData: (offset: number, piece: Buffer) => this.owner.onData(offset, piece),
    onFrame: (frame: ControlFrame) => this.owner.onFrame(frame),
  }

  readonly #onWritten = () => {
    if (this.#isWanted && !this.#isLost && !this.isBusy) this.owner.onRoom()
  }

  #lose(why: string): void {
    if (this.#isLost) return
    this.destroy()
    this.owner.onLost(why)
  }
}

/** How long the other end may take to let go as well. */
const GOODBYE_MS = 5_000
