import type { PipeBudget } from './budget.ts'
import { ByteQueue } from './byte-queue.ts'
import {
  CarrierFault,
  FRAME,
  frame,
  frameHead,
  HEAD_BYTES,
  MAX_PAYLOAD_BYTES,
  OFFSET_BYTES,
  offsetBytes,
} from './frame.ts'

/**
 * pipe is one byte stream that outlives what carries it: numbered bytes, acknowledgements, replay, and the
 * proof with which a new carrier is taken for the old one's successor (docs/PROTOCOL.md §9). It knows
 * frames and offsets; it must not know TLS, HTTP, hubs, users, or what the bytes mean. Its invariant:
 * what one end was given to send the other end gives out once, whole and in order, or the pipe ends;
 * whatever a carrier does, an end holds no more than its limits.
 *
 * This file is one end without any I/O: frames in, frames out, bytes in, bytes out.
 */

/** What an end lets come before its reader has taken anything. */
export const FIRST_LIMIT_BYTES = 64 << 10
/** What every pipe may hold in each direction, however many there are. */
const FLOOR_BYTES = 256 << 10
/** The product of 640 Mbit/s and 50 ms. */
const MAX_BYTES = 4 << 20
const GROWTH = 4
const MAX_ACK_STEP_BYTES = 128 << 10
/** Below this head and payload are one write. */
const JOINED_BYTES = 1_024

/** Why a pipe was reset, as it stands in the frame. */
export const RESET = {
  aborted: 0,
  suspendedTooLong: 1,
  notAllowed: 2,
  agentEnds: 3,
  tooMuchWaits: 4,
} as const

/** Whether an acknowledgement should go out. */
export type AckDue = 'now' | 'soon' | 'none'

export class PipeEnd {
  readonly #budget: PipeBudget
  readonly #sent = new ByteQueue()
  readonly #arrived = new ByteQueue()
  #chargedBytes = 0
  #isArmed = false

  /** Where our direction ends, once it does. FIN is the byte at that offset. */
  #finAt: number | undefined
  #isFinSent = false
  #isFinAcked = false
  #peerLimit = FIRST_LIMIT_BYTES
  /** The furthest any carrier was given of our direction, its end included. */
  #furthest = 0
  #wasAcked = false

  #received = 0
  #peerFin = false
  #window = FIRST_LIMIT_BYTES
  #granted = FIRST_LIMIT_BYTES
  /** Taken when the window grew last. */
  #grownAt = 0
  #ackedReceived = 0
  #mustAck = false
  #mustPing = false
  #mustPong = false

  #reset: number | undefined
  #isResetSent = false
  #peerReset: number | undefined
  #isOver = false

  constructor(budget: PipeBudget) {
    this.#budget = budget
  }

  // What the owner does.

  /** The keys are there: from now on what is sent is kept until it is acknowledged. */
  arm(): void {
    this.#isArmed = true
    this.#mustAck = true
  }

  get isArmed(): boolean {
    return this.#isArmed
  }

  /** Whether the other end has the keys, too: it acknowledges nothing before. */
  get isResumable(): boolean {
    return this.#isArmed && this.#wasAcked
  }

  /** Takes bytes to send. Look at `hasRoom` before. */
  write(chunk: Buffer): void {
    if (this.#finAt !== undefined || this.isReset) return
    this.#sent.push(chunk)
    this.#charge()
  }

  /** Our direction ends here. */
  end(): void {
    this.#finAt ??= this.#sent.end
  }

  /** Ends both directions at once; what was kept is forgotten. */
  reset(code: number): void {
    if (this.isReset) return
    this.#reset = code
    this.forget()
  }

  /** Whether more may be taken to send. */
  get hasRoom(): boolean {
    const most = this.#budget.isTight ? FLOOR_BYTES : MAX_BYTES
    return this.#sent.length < most
  }

  /** Bytes taken and not yet given to a carrier. */
  get unsentBytes(): number {
    return this.#sent.end - this.#sent.next
  }

  /** Whether something a carrier was given has not been acknowledged. */
  get isUnacked(): boolean {
    const hasFin = this.#isFinSent && !this.#isFinAcked
    return hasFin || this.#sent.next > this.#sent.start || (this.#isResetSent && !this.#isOver)
  }

  get heldBytes(): number {
    return this.#chargedBytes
  }

  /** The next bytes for our reader, if there are any. */
  read(maxBytes: number): Buffer | undefined {
    const piece = this.#arrived.takePiece(maxBytes)
    if (!piece) return undefined
    this.#arrived.drop(this.#arrived.next)
    this.#afterRead()
    return piece
  }

  /** Whether our reader has everything there will be. */
  get isReadToEnd(): boolean {
    return this.#peerFin && this.#arrived.length === 0
  }

  get isPeerDone(): boolean {
    return this.#peerFin
  }

  get isEnding(): boolean {
    return this.#finAt !== undefined
  }

  /** Everything we sent, its end included, has arrived. */
  get isFinAcked(): boolean {
    return this.#isFinAcked
  }

  get isReset(): boolean {
    return this.#reset !== undefined || this.#peerReset !== undefined
  }

  /** The code with which the other end reset it. */
  get peerReset(): number | undefined {
    return this.#peerReset
  }

  /** Both directions have ended and both ends know; nothing is left to send but to let the carrier go. */
  get isOver(): boolean {
    const isWhole = this.#isFinAcked && this.#peerFin && this.#ackedReceived === this.#received
    return this.#isOver || isWhole
  }

  get received(): number {
    return this.#received
  }

  ping(): void {
    this.#mustPing = true
  }

  // What goes to a carrier.

  /**
   * A new carrier: the other end has received everything below `peerReceived`, or more, if something came
   * by another carrier meanwhile. @throws CarrierFault it has received what was never sent
   */
  attach(peerReceived: number): void {
    this.#requireSent(peerReceived)
    this.#acknowledge(peerReceived)
    this.#sent.rewind(Math.max(peerReceived, this.#sent.start))
    this.#isFinSent = this.#isFinAcked
    this.#isResetSent = false
    this.#mustAck = this.#isArmed
    this.#mustPing = false
    this.#mustPong = false
  }

  /** Whether `peerReceived` says that something we no longer have never arrived. */
  isMissing(peerReceived: number): boolean {
    return !this.isReset && peerReceived < this.#sent.start
  }

  /** The next frame to send, in pieces to be written in this order; undefined when there is nothing. */
  nextFrame(): Buffer[] | undefined {
    if (this.#peerReset !== undefined) return this.#closedFrame()
    if (this.#reset !== undefined) return this.#resetFrame()
    if (this.#mustPong) {
      this.#mustPong = false
      return [frame(FRAME.pong)]
    }
    if (this.#mustAck || this.ackDue() === 'now') return [this.ackFrame()]
    const data = this.#dataFrame()
    if (data) return data
    if (this.#finAt !== undefined && !this.#isFinSent && this.unsentBytes === 0) {
      this.#isFinSent = true
      this.#furthest = this.#finAt + 1
      if (!this.#isArmed) this.#isFinAcked = true
      return [frame(FRAME.fin, this.#finAt)]
    }
    if (!this.#mustPing) return undefined
    this.#mustPing = false
    return [frame(FRAME.ping)]
  }

  ackDue(): AckDue {
    if (!this.#isArmed || this.isReset) return 'none'
    const step = Math.min(this.#window / 4, MAX_ACK_STEP_BYTES)
    const news = this.#received - this.#ackedReceived
    const grant = this.#grantable() - this.#granted
    if (news >= step || grant >= step || (this.#peerFin && news > 0)) return 'now'
    return news > 0 || grant > 0 ? 'soon' : 'none'
  }

  /** What is due, now. */
  ackFrame(): Buffer {
    this.#mustAck = false
    this.#granted = Math.max(this.#granted, this.#grantable())
    this.#ackedReceived = this.#received
    return frame(FRAME.ack, this.#received, offsetBytes(this.#granted))
  }

  #dataFrame(): Buffer[] | undefined {
    const { next } = this.#sent
    const most = Math.min(MAX_PAYLOAD_BYTES, this.#peerLimit - next)
    if (most <= 0) return undefined
    const pieces = this.#sent.take(most)
    if (pieces.length === 0) return undefined
    const length = this.#sent.next - next
    this.#furthest = Math.max(this.#furthest, this.#sent.next)
    if (!this.#isArmed) this.#drop(this.#sent.next)
    const head = frameHead(FRAME.data, next, length)
    if (length <= JOINED_BYTES) return [Buffer.concat([head, ...pieces], HEAD_BYTES + length)]
    return [head, ...pieces]
  }

  #resetFrame(): Buffer[] | undefined {
    if (this.#isResetSent) return undefined
    this.#isResetSent = true
    return [frame(FRAME.reset, this.#sent.end, Buffer.from([this.#reset!]))]
  }

  #closedFrame(): Buffer[] | undefined {
    if (this.#isOver) return undefined
    this.#isOver = true
    return [frame(FRAME.closed)]
  }

  // What comes from a carrier.

  /**
   * The part of a piece of DATA that is new, for our reader at once (`taken`) or to be kept with `store`.
   * @throws CarrierFault a gap, more than was allowed, or more behind the end
   */
  receiveData(offset: number, piece: Buffer): Buffer | undefined {
    if (this.isReset) return undefined
    const end = offset + piece.length
    if (offset > this.#received) throw new CarrierFault('bytes are missing')
    if (end > this.#granted) throw new CarrierFault('more bytes than were allowed')
    if (end <= this.#received) return undefined
    if (this.#peerFin) throw new CarrierFault('bytes behind the end')
    const fresh = piece.subarray(this.#received - offset)
    this.#received = end
    return fresh
  }

  /** Keeps what `receiveData` gave until it is read. */
  store(fresh: Buffer): void {
    this.#arrived.push(fresh)
    this.#charge()
  }

  /** What `receiveData` gave went straight to our reader; nothing is stored. */
  passed(fresh: Buffer): void {
    this.#arrived.skip(fresh.length)
    this.#afterRead()
  }

  get hasStored(): boolean {
    return this.#arrived.length > 0
  }

  /** @throws CarrierFault */
  receiveFin(offset: number): void {
    if (this.isReset) return
    const isAgain = this.#peerFin && offset === this.#received - 1
    if (isAgain) {
      this.#mustAck = true
      return
    }
    if (this.#peerFin || offset !== this.#received) throw new CarrierFault('an end out of place')
    this.#peerFin = true
    this.#received += 1
    this.#mustAck = this.#isArmed
    // Before the keys there are no acknowledgements and nothing will be asked for again.
    if (!this.#isArmed) this.#ackedReceived = this.#received
  }

  /** @throws CarrierFault it acknowledges what was never sent */
  receiveAck(received: number, payload: Buffer): void {
    if (payload.length !== OFFSET_BYTES) throw new CarrierFault('an ACK without limit')
    this.#requireSent(received)
    this.#wasAcked = true
    this.#peerLimit = Math.max(this.#peerLimit, payload.readUIntBE(0, OFFSET_BYTES))
    this.#acknowledge(received)
  }

  receiveReset(code: number): void {
    this.#peerReset ??= code
    this.forget()
  }

  receiveClosed(): void {
    if (this.#reset !== undefined) this.#isOver = true
  }

  receivePing(): void {
    this.#mustPong = true
  }

  #requireSent(offset: number): void {
    if (offset > this.#furthest) throw new CarrierFault('it acknowledges what was never sent')
  }

  #acknowledge(received: number): void {
    if (this.isReset) return
    if (this.#finAt !== undefined && received > this.#finAt) this.#isFinAcked = true
    this.#drop(received)
  }

  #drop(offset: number): void {
    this.#sent.drop(offset)
    this.#charge()
  }

  #grantable(): number {
    const window = this.#budget.isTight ? Math.min(this.#window, FLOOR_BYTES) : this.#window
    return this.#arrived.start + window
  }

  #afterRead(): void {
    this.#charge()
    const taken = this.#arrived.start
    if (taken - this.#grownAt < this.#window) return
    this.#grownAt = taken
    if (this.#budget.isAmple) this.#window = Math.min(MAX_BYTES, this.#window * GROWTH)
  }

  #charge(): void {
    const held = this.#sent.length + this.#arrived.length
    this.#budget.change(held - this.#chargedBytes)
    this.#chargedBytes = held
  }

  /** What is kept is not wanted any more. */
  forget(): void {
    this.#sent.drop(this.#sent.end)
    this.#arrived.drop(this.#arrived.end)
    this.#charge()
  }
}
