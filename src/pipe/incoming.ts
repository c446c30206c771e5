import type { PipeBudget } from './budget.ts'
import { ByteQueue } from './byte-queue.ts'
import { CarrierFault, FRAME, frame, offsetBytes } from './frame.ts'
import { PIPE_BYTES } from './limits.ts'

const GROWTH = 4
const MAX_ACK_STEP_BYTES = 128 << 10

/** Whether an acknowledgement should go out. */
export type AckDue = 'now' | 'soon' | 'none'

/**
 * The direction an end receives: each byte once, in order, up to the limit it gave, which goes ahead of
 * what its reader has taken by a window that grows with a quick reader.
 */
export class Incoming {
  readonly #budget: PipeBudget
  readonly #bytes = new ByteQueue()
  #received = 0
  #hasFin = false
  #window: number = PIPE_BYTES.first
  #granted: number = PIPE_BYTES.first
  /** Taken when the window grew last. */
  #grownAt = 0
  #acked = 0

  constructor(budget: PipeBudget) {
    this.#budget = budget
  }

  /** Bytes that wait for the reader. */
  get length(): number {
    return this.#bytes.length
  }

  /** Everything below has arrived; FIN counts as one. */
  get received(): number {
    return this.#received
  }

  /** Whether the other end has said its last. */
  get hasFin(): boolean {
    return this.#hasFin
  }

  /** Whether the other end has been sent the acknowledgement of everything. */
  get isAcked(): boolean {
    return this.#acked === this.#received
  }

  /** The next bytes for the reader, if there are any. */
  read(maxBytes: number): Buffer | undefined {
    const piece = this.#bytes.takePiece(maxBytes)
    if (!piece) return undefined
    this.#bytes.drop(this.#bytes.next)
    this.#grow()
    return piece
  }

  /**
   * The part of a piece of DATA that is new, for the reader at once (`pass`) or to be kept (`store`).
   * @throws CarrierFault a gap, more than was allowed, or more behind the end
   */
  receive(offset: number, piece: Buffer): Buffer | undefined {
    const end = offset + piece.length
    if (offset > this.#received) throw new CarrierFault('bytes are missing')
    if (end > this.#granted) throw new CarrierFault('more bytes than were allowed')
    if (end <= this.#received) return undefined
    if (this.#hasFin) throw new CarrierFault('bytes behind the end')
    const fresh = piece.subarray(this.#received - offset)
    this.#received = end
    return fresh
  }

  store(fresh: Buffer): void {
    this.#bytes.push(fresh)
  }

  /** It went straight to the reader; only while nothing is stored. */
  pass(fresh: Buffer): void {
    this.#bytes.skip(fresh.length)
    this.#grow()
  }

  /** FIN, for the first time or again. @throws CarrierFault */
  receiveFin(offset: number): void {
    if (this.#hasFin && offset === this.#received - 1) return
    if (this.#hasFin || offset !== this.#received) throw new CarrierFault('an end out of place')
    this.#hasFin = true
    this.#received += 1
  }

  /** Nobody will ask for an acknowledgement: there are no keys. */
  waiveAck(): void {
    this.#acked = this.#received
  }

  ackDue(): AckDue {
    const step = Math.min(this.#window / 4, MAX_ACK_STEP_BYTES)
    const news = this.#received - this.#acked
    const grant = this.#grantable() - this.#granted
    if (news >= step || grant >= step || (this.#hasFin && news > 0)) return 'now'
    return news > 0 || grant > 0 ? 'soon' : 'none'
  }

  /** What is due, now. */
  ackFrame(): Buffer {
    this.#granted = Math.max(this.#granted, this.#grantable())
    this.#acked = this.#received
    return frame(FRAME.ack, this.#received, offsetBytes(this.#granted))
  }

  /** What is kept is not wanted any more. */
  forget(): void {
    this.#bytes.drop(this.#bytes.end)
  }

  #grantable(): number {
    const window = this.#budget.isTight ? Math.min(this.#window, PIPE_BYTES.floor) : this.#window
    return this.#bytes.start + window
  }

  #grow(): void {
    const taken = this.#bytes.start
    if (taken - this.#grownAt < this.#window) return
    this.#grownAt = taken
    if (this.#budget.isAmple) this.#window = Math.min(PIPE_BYTES.most, this.#window * GROWTH)
  }
}
