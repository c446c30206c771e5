/**
 * pipe is one byte stream that outlives what carries it: numbered bytes, acknowledgements, replay, and the
 * proof with which a new carrier is taken for the old one's successor (docs/PROTOCOL.md §9). It knows
 * frames and offsets; it must not know TLS, HTTP, hubs, users, or what the bytes mean. Its invariant:
 * what one end was given to send the other end gives out once, whole and in order, or the pipe ends;
 * whatever a carrier does, an end holds no more than its limits.
 *
 * This file is one end without any I/O: frames in, frames out, bytes in, bytes out.
 */

import type { PipeBudget } from './budget.ts'
import { CarrierFault, FRAME, frame, OFFSET_BYTES } from './frame.ts'
import { type AckDue, Incoming } from './incoming.ts'
import { PIPE_BYTES } from './limits.ts'
import { Outgoing } from './outgoing.ts'

/** Why a pipe was reset, as it stands in the frame. */
export const RESET = {
  aborted: 0,
  suspendedTooLong: 1,
  notAllowed: 2,
  agentEnds: 3,
  tooMuchWaits: 4,
} as const

export class PipeEnd {
  readonly #budget: PipeBudget
  readonly #outgoing = new Outgoing()
  readonly #incoming: Incoming
  #chargedBytes = 0
  #isArmed = false
  #mustAck = false
  #mustPing = false
  #mustPong = false
  /** Ours, and whether the carrier has been given it; the other end's, and whether it was answered. */
  #reset: number | undefined
  #isResetSent = false
  #isResetClosed = false
  #peerReset: number | undefined
  #isClosedSent = false

  constructor(budget: PipeBudget) {
    this.#budget = budget
    this.#incoming = new Incoming(budget)
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
    return this.#isArmed && this.#outgoing.wasAcked
  }

  /** Takes bytes to send. Look at `hasRoom` before. */
  write(chunk: Buffer): void {
    if (this.isReset) return
    this.#outgoing.write(chunk)
    this.#charge()
  }

  /** Our direction ends here. */
  end(): void {
    this.#outgoing.finish()
  }

  /** Ends both directions at once; what was kept is forgotten. */
  reset(code: number): void {
    if (this.isReset) return
    this.#reset = code
    this.forget()
  }

  /** Whether more may be taken to send. */
  get hasRoom(): boolean {
    return this.#outgoing.length < (this.#budget.isTight ? PIPE_BYTES.floor : PIPE_BYTES.most)
  }

  /** Bytes taken and not yet given to a carrier. */
  get unsentBytes(): number {
    return this.#outgoing.unsentBytes
  }

  /** Whether something a carrier was given has not been answered. */
  get isUnacked(): boolean {
    return this.#outgoing.isUnacked || (this.#isResetSent && !this.#isResetClosed)
  }

  get heldBytes(): number {
    return this.#chargedBytes
  }

  /** The next bytes for our reader, if there are any. */
  read(maxBytes: number): Buffer | undefined {
    const piece = this.#incoming.read(maxBytes)
    this.#charge()
    return piece
  }

  /** Whether our reader has everything there will be. */
  get isReadToEnd(): boolean {
    return this.#incoming.hasFin && this.#incoming.length === 0
  }

  get isPeerDone(): boolean {
    return this.#incoming.hasFin
  }

  get isEnding(): boolean {
    return this.#outgoing.isEnding
  }

  /** Everything we sent, its end included, has arrived. */
  get isFinAcked(): boolean {
    return this.#outgoing.isFinAcked
  }

  get isReset(): boolean {
    return this.#reset !== undefined || this.#peerReset !== undefined
  }

  /** Both directions have ended and this end has heard and said all there is. */
  get isOver(): boolean {
    const { isFinAcked } = this.#outgoing
    const isWhole = isFinAcked && this.#incoming.hasFin && this.#incoming.isAcked
    return this.#isResetClosed || this.#isClosedSent || isWhole
  }

  /** The other end has said that it is over, too: it needs to hear nothing more. */
  get isPeerOver(): boolean {
    return this.#isResetClosed
  }

  get received(): number {
    return this.#incoming.received
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
    this.#outgoing.requireSent(peerReceived)
    this.#acknowledge(peerReceived)
    this.#outgoing.rewind(peerReceived)
    this.#isResetSent = false
    this.#isClosedSent = false
    this.#mustAck = this.#isArmed
    this.#mustPing = false
    this.#mustPong = false
  }

  /** Whether `peerReceived` says that something we no longer have never arrived. */
  isMissing(peerReceived: number): boolean {
    return !this.isReset && this.#outgoing.isMissing(peerReceived)
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
    const next = this.#outgoing.nextFrame(this.#isArmed)
    if (!this.#isArmed) this.#charge()
    return next ?? this.#pingFrame()
  }

  ackDue(): AckDue {
    return this.#isArmed && !this.isReset ? this.#incoming.ackDue() : 'none'
  }

  /** What is due, now. */
  ackFrame(): Buffer {
    this.#mustAck = false
    return this.#incoming.ackFrame()
  }

  #pingFrame(): Buffer[] | undefined {
    if (!this.#mustPing) return undefined
    this.#mustPing = false
    return [frame(FRAME.ping)]
  }

  #resetFrame(): Buffer[] | undefined {
    if (this.#isResetSent) return undefined
    this.#isResetSent = true
    return [frame(FRAME.reset, this.#outgoing.end, Buffer.from([this.#reset!]))]
  }

  #closedFrame(): Buffer[] | undefined {
    if (this.#isClosedSent) return undefined
    this.#isClosedSent = true
    return [frame(FRAME.closed)]
  }

  // What comes from a carrier.

  /**
   * The part of a piece of DATA that is new, for our reader at once (`passed`) or to be kept with `store`.
   * @throws CarrierFault a gap, more than was allowed, or more behind the end
   */
  receiveData(offset: number, piece: Buffer): Buffer | undefined {
    return this.isReset ? undefined : this.#incoming.receive(offset, piece)
  }

  /** Keeps what `receiveData` gave until it is read. */
  store(fresh: Buffer): void {
    this.#incoming.store(fresh)
    this.#charge()
  }

  /** What `receiveData` gave went straight to our reader; nothing is stored. */
  passed(fresh: Buffer): void {
    this.#incoming.pass(fresh)
  }

  get hasStored(): boolean {
    return this.#incoming.length > 0
  }

  /** @throws CarrierFault */
  receiveFin(offset: number): void {
    if (this.isReset) return
    this.#incoming.receiveFin(offset)
    this.#mustAck = this.#isArmed
    // Before the keys there are no acknowledgements and nothing will be asked for again.
    if (!this.#isArmed) this.#incoming.waiveAck()
  }

  /** @throws CarrierFault it acknowledges what was never sent */
  receiveAck(received: number, payload: Buffer): void {
    if (payload.length !== OFFSET_BYTES) throw new CarrierFault('an ACK without limit')
    this.#outgoing.requireSent(received)
    this.#outgoing.allow(payload.readUIntBE(0, OFFSET_BYTES))
    this.#acknowledge(received)
  }

  receiveReset(code: number): void {
    this.#peerReset ??= code
    this.forget()
  }

  receiveClosed(): void {
    if (this.#reset !== undefined) this.#isResetClosed = true
  }

  receivePing(): void {
    this.#mustPong = true
  }

  #acknowledge(received: number): void {
    if (this.isReset) return
    this.#outgoing.acknowledge(received)
    this.#charge()
  }

  /** What is kept is not wanted any more. */
  forget(): void {
    this.#incoming.forget()
    this.forgetSent()
  }

  /** What waits to be sent, or to be acknowledged, is not wanted any more. */
  forgetSent(): void {
    this.#outgoing.forget()
    this.#charge()
  }

  #charge(): void {
    const held = this.#outgoing.length + this.#incoming.length
    if (held === this.#chargedBytes) return
    this.#budget.change(held - this.#chargedBytes)
    this.#chargedBytes = held
  }
}
