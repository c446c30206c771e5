import { Duplex } from 'node:stream'
import { UnreachableError } from '../errors.ts'
import type { PipeBudget } from './budget.ts'
import type { Carrier, CarrierOwner } from './carrier.ts'
import { CarrierFault, type ControlFrame, FRAME } from './frame.ts'
import { PipeEnd, RESET } from './pipe-end.ts'
import { resetError } from './reset-error.ts'

/** What whoever looks after a pipe has to know of it. */
export interface PipeKeeper {
  /** Whether the loss of a carrier can be made good. */
  mayResume(): boolean
  /** A frame that is none of a stream's; gives whether it has its place here. */
  onFrame(frame: ControlFrame): boolean
  /** It has no carrier now. */
  onSuspended(why: string): void
  /** Nothing will happen any more; every carrier is gone or going. */
  onOver(): void
}

export interface PipeStreamOptions {
  readonly budget: PipeBudget
  readonly keeper: PipeKeeper
  /** For sentences: `the agent of idc-k8s`. */
  readonly peerName: string
  /**
   * This end dials, so it stays until the other has let go: that one could not come back for a last word
   * which was lost on the way.
   */
  readonly goesLast?: boolean
  readonly ackDelayMs?: number
  /** What is left to deliver after the stream was closed is delivered within this time or not at all. */
  readonly lingerMs?: number
}

const ACK_DELAY_MS = 500
const LINGER_MS = 120_000
/** What a carrier may be given before it has room for the next write. */
const READ_BYTES = 64 << 10
const MAX_UNSENT_BYTES = 64 << 10

/**
 * One end of a pipe as a byte stream: what TLS runs on. Its carriers come and go; suspended, it takes
 * writes until its replay is full and gives what has arrived. Closed before everything is delivered,
 * it goes on in the background as a socket in the kernel does. Destroyed before its end, it is reset.
 */
export class PipeStream extends Duplex implements CarrierOwner {
  readonly core: PipeEnd
  readonly #options: PipeStreamOptions
  #carrier: Carrier | undefined
  #isReaderWaiting = false
  #isEndGiven = false
  #isPumping = false
  #isOver = false
  #writeDone: (() => void) | undefined
  #ackTimer: NodeJS.Timeout | undefined
  #lingerTimer: NodeJS.Timeout | undefined
  #resetCode: number = RESET.aborted

  constructor(options: PipeStreamOptions) {
    // TLS takes the close of what it runs on for its own, and forgets what its reader has not had yet: whoever
    // runs on it says when it is done.
    super({ allowHalfOpen: true, autoDestroy: false, writableHighWaterMark: READ_BYTES })
    this.#options = options
    this.core = new PipeEnd(options.budget)
    // Whoever uses it adds a handler that says more.
    this.on('error', () => {})
  }

  get isSuspended(): boolean {
    return this.#carrier === undefined && !this.#isOver
  }

  get isOver(): boolean {
    return this.#isOver
  }

  get carrier(): Carrier | undefined {
    return this.#carrier
  }

  /** Nobody uses it any more: all that is left is to let the other end know. */
  get isDone(): boolean {
    return this.destroyed || this.core.isOver
  }

  /** Whether the other end must say something before long, if only that it lets go. */
  get isOwedAnswer(): boolean {
    return this.core.isUnacked || this.core.isOver
  }

  /** Both ends have keys from now on. */
  arm(): void {
    this.core.arm()
    this.#pump()
  }

  /** Goes on with another carrier; the one before is given up. @throws CarrierFault see `PipeEnd.attach` */
  attach(carrier: Carrier, peerReceived: number): void {
    this.core.attach(peerReceived)
    this.#carrier?.destroy()
    this.#carrier = carrier
    carrier.owner = this
    this.#pump()
  }

  /** Gives up the carrier it has, as if it had been lost. */
  detach(why: string): void {
    this.#carrier?.destroy()
    if (this.#carrier) this.onLost(why)
  }

  /** Sends a PING, if there is a carrier. */
  ping(): void {
    this.core.ping()
    this.#pump()
  }

  /** If it is destroyed now, the other end is told this. */
  setResetCode(code: number): void {
    this.#resetCode = code
  }

  /** Ends it for that reason, at both ends. */
  close(code: number, error: Error): void {
    this.#resetCode = code
    this.destroy(error)
  }

  /** Ends it here and now, whether the other end hears of it or not. */
  abandon(error?: Error): void {
    this.core.reset(this.#resetCode)
    if (!this.destroyed) this.destroy(error)
    this.#finish()
  }

  /** Tries no more to let the other end know. What has arrived is still read. */
  conclude(): void {
    this.#finish()
  }

  // The stream.

  override _read(): void {
    this.#isReaderWaiting = true
    this.#deliver()
    this.#pump()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.core.write(chunk)
    this.#writeDone = done
    this.#pump()
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    for (const { chunk } of chunks) this.core.write(chunk)
    this.#writeDone = done
    this.#pump()
  }

  override _final(done: () => void): void {
    this.core.end()
    this.#pump()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const isClean = this.core.isOver || (error === null && this.core.isEnding)
    if (!isClean) this.core.reset(this.#resetCode)
    if (this.#isOver) this.core.forget()
    else this.#lingerTimer ??= this.#startLingering(() => this.abandon())
    this.#discard()
    this.#pump()
    if (this.isSuspended && !this.#options.keeper.mayResume()) this.#finish()
    done(error)
  }

  // The carrier.

  onData(offset: number, piece: Buffer): void {
    const fresh = this.core.receiveData(offset, piece)
    if (!fresh) return
    if (this.destroyed) this.core.passed(fresh)
    else if (this.#isReaderWaiting && !this.core.hasStored) {
      this.core.passed(fresh)
      this.#isReaderWaiting = this.push(fresh)
    } else this.core.store(fresh)
  }

  onFrame(frame: ControlFrame): void {
    const { type, offset, payload } = frame
    const end = this.core
    if (type === FRAME.ack) end.receiveAck(offset, payload)
    else if (type === FRAME.fin) end.receiveFin(offset)
    else if (type === FRAME.ping) end.receivePing()
    else if (type === FRAME.reset) this.#onReset(payload[0] ?? RESET.aborted)
    else if (type === FRAME.closed) end.receiveClosed()
    else if (type !== FRAME.pong && !this.#options.keeper.onFrame(frame))
      throw new CarrierFault(`a frame of type ${type} out of place`)
  }

  onArrived(): void {
    this.#deliver()
    this.#pump()
  }

  onRoom(): void {
    this.#pump()
  }

  onEnd(): void {
    if (this.#isOver) return
    if (this.core.isOver) this.#letGo()
    else this.detach('it was ended')
  }

  onLost(why: string): void {
    this.#carrier = undefined
    this.#clearAckTimer()
    if (this.core.isOver && !this.#mustStay()) this.#finish()
    else if (!this.#options.keeper.mayResume()) this.#fail(why)
    else {
      this.#releaseWriter()
      this.#options.keeper.onSuspended(why)
    }
  }

  #onReset(code: number): void {
    this.core.receiveReset(code)
    this.destroy(resetError(this.#options.peerName, code))
  }

  #fail(why: string): void {
    this.core.reset(this.#resetCode)
    const message = `the connection to ${this.#options.peerName} broke off: ${why}`
    this.destroy(new UnreachableError('MCM_AGENT_UNREACHABLE', message))
    this.#finish()
  }

  #deliver(): void {
    while (this.#isReaderWaiting) {
      const piece = this.core.read(READ_BYTES)
      if (!piece) break
      this.#isReaderWaiting = this.push(piece)
    }
    if (!this.core.isReadToEnd || this.#isEndGiven || this.destroyed) return
    this.#isEndGiven = true
    this.push(null)
  }

  /** Nobody reads any more: what comes is counted as read, so that our own last bytes get through. */
  #discard(): void {
    while (this.core.read(READ_BYTES)) {
      // Dropped.
    }
  }

  #pump(): void {
    if (this.#isPumping || this.#isOver) return
    this.#isPumping = true
    const carrier = this.#carrier
    if (carrier && !carrier.isBusy) this.#fill(carrier)
    this.#isPumping = false
    this.#releaseWriter()
    this.#settle()
  }

  #fill(carrier: Carrier): void {
    const first = this.core.nextFrame()
    if (!first) return
    carrier.batch(() => {
      for (let pieces: Buffer[] | undefined = first; pieces; ) {
        carrier.send(pieces)
        pieces = carrier.isBusy ? undefined : this.core.nextFrame()
      }
    })
  }

  #releaseWriter(): void {
    if (!this.#writeDone || !this.core.hasRoom) return
    if (this.#carrier && this.core.unsentBytes > MAX_UNSENT_BYTES) return
    const done = this.#writeDone
    this.#writeDone = undefined
    done()
  }

  /** What follows from what has been sent and received. */
  #settle(): void {
    if (this.#isOver) return
    const { core: end } = this
    if (this.destroyed && end.isFinAcked && !end.isPeerDone && !end.isReset) {
      end.reset(this.#resetCode)
      this.#pump()
      return
    }
    if (end.isOver && this.#carrier) {
      if (this.#mustStay()) this.#lingerTimer ??= this.#startLingering(() => this.conclude())
      else this.#letGo()
      return
    }
    if (this.#carrier && end.ackDue() === 'soon') this.#ackTimer ??= this.#startAckTimer()
    else if (end.ackDue() === 'none') this.#clearAckTimer()
  }

  /** Over here, and perhaps not yet at the other end. */
  #mustStay(): boolean {
    const { goesLast = false, keeper } = this.#options
    return goesLast && !this.core.isPeerOver && keeper.mayResume()
  }

  #letGo(): void {
    this.#carrier?.end()
    this.#carrier = undefined
    this.#finish()
  }

  #startLingering(end: () => void): NodeJS.Timeout {
    const { lingerMs = LINGER_MS } = this.#options
    return setTimeout(end, this.core.isArmed ? lingerMs : UNARMED_LINGER_MS).unref()
  }

  #startAckTimer(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#ackTimer = undefined
      if (this.core.ackDue() !== 'none') this.#carrier?.send([this.core.ackFrame()])
      this.#settle()
    }, this.#options.ackDelayMs ?? ACK_DELAY_MS).unref()
  }

  #clearAckTimer(): void {
    clearTimeout(this.#ackTimer)
    this.#ackTimer = undefined
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#carrier?.destroy()
    this.#carrier = undefined
    this.#clearAckTimer()
    clearTimeout(this.#lingerTimer)
    if (this.destroyed) this.core.forget()
    else this.core.forgetSent()
    this.#options.keeper.onOver()
  }
}

/** Before there are keys nothing is worth waiting for. */
const UNARMED_LINGER_MS = 5_000
