import { ByteQueue } from './byte-queue.ts'
import { CarrierFault, FRAME, frame, frameHead, HEAD_BYTES, MAX_PAYLOAD_BYTES } from './frame.ts'
import { PIPE_BYTES } from './limits.ts'

/** Below this head and payload are one write. */
const JOINED_BYTES = 1_024

/**
 * The direction an end sends: numbered bytes and the FIN behind them, kept until the other end has
 * acknowledged them, for whichever carrier comes next.
 */
export class Outgoing {
  readonly #bytes = new ByteQueue()
  /** Where the direction ends, once it does. FIN is the byte at that offset. */
  #finAt: number | undefined
  #isFinSent = false
  #isFinAcked = false
  #limit: number = PIPE_BYTES.first
  /** The furthest any carrier was given, FIN included. */
  #furthest = 0
  #wasAcked = false

  /** Bytes kept. */
  get length(): number {
    return this.#bytes.length
  }

  get end(): number {
    return this.#bytes.end
  }

  /** Bytes taken and not yet given to a carrier. */
  get unsentBytes(): number {
    return this.#bytes.end - this.#bytes.next
  }

  get isEnding(): boolean {
    return this.#finAt !== undefined
  }

  /** Everything, FIN included, has arrived. */
  get isFinAcked(): boolean {
    return this.#isFinAcked
  }

  /** Whether an acknowledgement has come at all. */
  get wasAcked(): boolean {
    return this.#wasAcked
  }

  /** Whether something a carrier was given has not been acknowledged. */
  get isUnacked(): boolean {
    return (this.#isFinSent && !this.#isFinAcked) || this.#bytes.next > this.#bytes.start
  }

  write(chunk: Buffer): void {
    if (this.#finAt === undefined) this.#bytes.push(chunk)
  }

  finish(): void {
    this.#finAt ??= this.#bytes.end
  }

  /** What is kept is not wanted any more. */
  forget(): void {
    this.#bytes.drop(this.#bytes.end)
  }

  /** Begins again behind what the other end has received, on another carrier. */
  rewind(received: number): void {
    this.#bytes.rewind(Math.max(received, this.#bytes.start))
    this.#isFinSent = this.#isFinAcked
  }

  /** Whether `received` says that something no longer kept never arrived. */
  isMissing(received: number): boolean {
    return received < this.#bytes.start
  }

  /** The next DATA, or FIN behind it. @param isKept whether it may have to be sent again */
  nextFrame(isKept: boolean): Buffer[] | undefined {
    return this.#dataFrame(isKept) ?? this.#finFrame(isKept)
  }

  /** @throws CarrierFault */
  requireSent(received: number): void {
    if (received > this.#furthest) throw new CarrierFault('it acknowledges what was never sent')
  }

  /** An ACK has come, and may be sent up to that limit. */
  allow(limit: number): void {
    this.#wasAcked = true
    this.#limit = Math.max(this.#limit, limit)
  }

  /** Everything below has arrived, and FIN if that is below. */
  acknowledge(received: number): void {
    if (this.#finAt !== undefined && received > this.#finAt) this.#isFinAcked = true
    this.#bytes.drop(received)
  }

  #dataFrame(isKept: boolean): Buffer[] | undefined {
    const { next } = this.#bytes
    const most = Math.min(MAX_PAYLOAD_BYTES, this.#limit - next)
    if (most <= 0) return undefined
    const pieces = this.#bytes.take(most)
    if (pieces.length === 0) return undefined
    const length = this.#bytes.next - next
    this.#furthest = Math.max(this.#furthest, this.#bytes.next)
    if (!isKept) this.#bytes.drop(this.#bytes.next)
    const head = frameHead(FRAME.data, next, length)
    if (length <= JOINED_BYTES) return [Buffer.concat([head, ...pieces], HEAD_BYTES + length)]
    return [head, ...pieces]
  }

  #finFrame(isKept: boolean): Buffer[] | undefined {
    if (this.#finAt === undefined || this.#isFinSent || this.unsentBytes > 0) return undefined
    this.#isFinSent = true
    this.#furthest = this.#finAt + 1
    if (!isKept) this.#isFinAcked = true
    return [frame(FRAME.fin, this.#finAt)]
  }
}
