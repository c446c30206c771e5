/**
 * The agent's end of pipes: it takes carriers, opens pipes on them, and lets a pipe go on where somebody
 * proves to be its other end. Invariant: a carrier that proves nothing changes nothing.
 */

import type { Duplex } from 'node:stream'
import { messageOf } from '../errors.ts'
import type { Log, World } from '../world.ts'
import type { PipeBudget } from './budget.ts'
import { Carrier, type CarrierOwner } from './carrier.ts'
import { CarrierFault, type ControlFrame, FRAME, frame, PIPE_VERSION } from './frame.ts'
import { PIPE_LIMITS, type PipeLimits } from './limits.ts'
import { RESET } from './pipe-end.ts'
import { type PipeKeeper, PipeStream } from './pipe-stream.ts'
import {
  agentProof,
  clientProof,
  GENERATION_BYTES,
  ID_BYTES,
  isProof,
  NONCE_BYTES,
  type PipeKeys,
  PROOF_BYTES,
  pipeKeys,
  type ResumeAttempt,
} from './proof.ts'
import { resetError } from './reset-error.ts'
import { REFUSED } from './resuming.ts'

export interface AcceptorOptions {
  readonly world: World
  readonly log: Log
  readonly budget: PipeBudget
  /** How this agent is found again. */
  readonly replica: string
  /** Takes a new pipe over, or refuses it by throwing. `from`: the address the carrier is said to come from. */
  onPipe(pipe: AcceptedPipe, from: string | undefined): void
  /** A place for a carrier that has shown nothing yet; gives its end. @throws when there is none */
  takePlace(from: string | undefined, carrier: Duplex): () => void
  readonly limits?: Partial<PipeLimits>
}

export interface AcceptedPipe {
  /** What TLS runs on. */
  readonly stream: Duplex
  readonly isSuspended: boolean
  /** What it holds for either side. */
  readonly heldBytes: number
  /**
   * From now on the pipe can be resumed. @param exporter of the TLS connection on it: `PIPE_EXPORTER_…`
   * @param name of the session, for the log
   * @param isBusy whether something is under way on it
   */
  arm(exporter: Buffer, name: string, isBusy?: () => boolean): void
  /** Why, if it is destroyed now, for the other end: a code of `RESET`. */
  blame(code: number): void
}

export interface PipeAcceptor {
  /** Takes a carrier over. @throws when there is no place for it */
  accept(carrier: Duplex, from: string | undefined): void
  /** Pipes there are, those without a carrier included. */
  readonly size: number
  /** Ends every pipe and tells the other ends; those on which something is under way after `graceMs`. */
  stop(graceMs?: number): void
}

/** Pipes that have ended here and wait to tell the other end, or to deliver their last bytes. */
const MAX_LINGERING = 256

export function pipeAcceptor(options: AcceptorOptions): PipeAcceptor {
  return new Acceptor(options)
}

class Acceptor implements PipeAcceptor {
  readonly options: AcceptorOptions
  readonly limits: PipeLimits
  readonly #pipes = new Set<AgentPipe>()
  /** Those that have keys, by id. */
  readonly #byId = new Map<string, AgentPipe>()
  readonly #looking: NodeJS.Timeout

  constructor(options: AcceptorOptions) {
    this.options = options
    this.limits = { ...PIPE_LIMITS, ...options.limits }
    this.#looking = setInterval(() => this.#look(), this.limits.lookMs).unref()
  }

  get size(): number {
    return this.#pipes.size
  }

  accept(connection: Duplex, from: string | undefined): void {
    const leave = this.options.takePlace(from, connection)
    const timer = setTimeout(() => connection.destroy(), this.limits.attemptMs).unref()
    const settle = () => {
      clearTimeout(timer)
      leave()
    }
    connection.once('close', settle)
    new AcceptingOwner(this, connection, from, settle)
  }

  open(carrier: Carrier, from: string | undefined): void {
    const pipe = new AgentPipe(this)
    this.#pipes.add(pipe)
    carrier.send([frame(FRAME.opened, 0, Buffer.from(this.options.replica, 'latin1'))])
    pipe.stream.attach(carrier, 0)
    try {
      this.options.onPipe(pipe, from)
    } catch (error) {
      this.options.log.warn('pipe_refused', { reason: messageOf(error) })
      pipe.stream.abandon()
    }
  }

  find(id: string): AgentPipe | undefined {
    return this.#byId.get(id)
  }

  enlist(pipe: AgentPipe, id: string): void {
    this.#byId.set(id, pipe)
  }

  forget(pipe: AgentPipe, id: string): void {
    this.#pipes.delete(pipe)
    if (this.#byId.get(id) === pipe) this.#byId.delete(id)
  }

  stop(graceMs = 0): void {
    clearInterval(this.#looking)
    const end = (pipes: Iterable<AgentPipe>) => {
      for (const pipe of pipes) pipe.end(RESET.agentEnds)
    }
    const isIdle = (pipe: AgentPipe) => graceMs === 0 || !pipe.isBusy()
    end([...this.#pipes].filter(isIdle))
    if (this.#pipes.size > 0) setTimeout(() => end([...this.#pipes]), graceMs)
  }

  #look(): void {
    for (const pipe of this.#pipes) pipe.look()
    // Whoever runs on one counts in their own limits; what is left to say to those that are gone counts here.
    const left = [...this.#pipes].filter(({ stream }) => stream.destroyed)
    for (const pipe of left.slice(0, -MAX_LINGERING)) pipe.stream.abandon()
  }
}

class AgentPipe implements AcceptedPipe, PipeKeeper {
  readonly stream: PipeStream
  keys: PipeKeys | undefined
  /** Of the carrier it has, or had last. */
  generation = 0
  isBusy: () => boolean = () => false
  readonly #acceptor: Acceptor
  #name = ''
  #resumedAtMs = 0
  /** Since the last carrier that was of use. */
  #suspendedAt: { readonly elapsedMs: number; readonly wallMs: number } | undefined

  constructor(acceptor: Acceptor) {
    this.#acceptor = acceptor
    const { budget } = acceptor.options
    const rest = { peerName: 'the client', keeper: this, ...acceptor.limits }
    this.stream = new PipeStream({ budget, ...rest })
  }

  get isSuspended(): boolean {
    return this.stream.isSuspended
  }

  get heldBytes(): number {
    return this.stream.core.heldBytes
  }

  get #id(): string {
    return this.keys?.id.toString('hex') ?? ''
  }

  arm(exporter: Buffer, name: string, isBusy?: () => boolean): void {
    if (isBusy) this.isBusy = isBusy
    this.keys = pipeKeys(exporter)
    this.#name = name
    this.#acceptor.enlist(this, this.#id)
    this.stream.arm()
  }

  blame(code: number): void {
    this.stream.setResetCode(code)
  }

  end(code: number): void {
    this.stream.close(code, resetError('the client', code))
  }

  /** The other end has proved to be there. @throws CarrierFault */
  resume(carrier: Carrier, generation: number, clientReceived: number): void {
    this.generation = generation
    const { core } = this.stream
    // Only somebody in between can have acknowledged in the client's name.
    if (core.isMissing(clientReceived)) this.end(RESET.aborted)
    const { log, world } = this.#acceptor.options
    const suspendedMs = this.#suspendedAt && world.now().getTime() - this.#suspendedAt.wallMs
    this.#resumedAtMs = performance.now()
    this.stream.attach(carrier, clientReceived)
    log.info('session_resumed', { session: this.#name, generation, suspendedMs })
  }

  /** Ends what is too long without a carrier, or without a word. */
  look(): void {
    const { suspendedMs, silentMs, settledMs } = this.#acceptor.limits
    const now = performance.now()
    const { carrier } = this.stream
    if (carrier) {
      if (now - this.#resumedAtMs >= settledMs) this.#suspendedAt = undefined
      if (now - carrier.heardAtMs >= silentMs) this.#giveUp('nothing was heard')
      return
    }
    if (!this.#suspendedAt) return
    const wallMs = this.#acceptor.options.world.now().getTime() - this.#suspendedAt.wallMs
    if (Math.max(now - this.#suspendedAt.elapsedMs, wallMs) >= suspendedMs)
      this.#giveUp('suspended for too long')
  }

  mayResume(): boolean {
    return this.keys !== undefined
  }

  onFrame(): boolean {
    return false
  }

  onSuspended(why: string): void {
    const { log, world } = this.#acceptor.options
    this.#suspendedAt ??= { elapsedMs: performance.now(), wallMs: world.now().getTime() }
    log.info('session_suspended', { session: this.#name, reason: why })
  }

  onOver(): void {
    this.#acceptor.forget(this, this.#id)
  }

  #giveUp(reason: string): void {
    this.#acceptor.options.log.warn('session_ended', { session: this.#name, reason })
    this.stream.setResetCode(RESET.suspendedTooLong)
    this.stream.abandon(resetError('the client', RESET.suspendedTooLong))
  }
}

/** A carrier until it is a pipe's: the first frame says of which. */
class AcceptingOwner implements CarrierOwner {
  readonly #acceptor: Acceptor
  readonly #from: string | undefined
  readonly #carrier: Carrier
  readonly #settle: () => void
  #asked: { readonly pipe: AgentPipe; readonly attempt: ResumeAttempt } | undefined

  constructor(
    acceptor: Acceptor,
    connection: Duplex,
    from: string | undefined,
    settle: () => void,
  ) {
    this.#acceptor = acceptor
    this.#from = from
    this.#settle = settle
    this.#carrier = new Carrier(connection, this)
  }

  onFrame(frame: ControlFrame): void {
    if (this.#asked) this.#prove(frame)
    else if (frame.type === FRAME.open) this.#open(frame.payload)
    else if (frame.type === FRAME.resume) this.#challenge(frame.payload)
    else throw new CarrierFault('neither OPEN nor RESUME')
  }

  onData(): void {
    throw new CarrierFault('bytes before their time')
  }

  onArrived(): void {}

  onRoom(): void {}

  onEnd(): void {
    this.#carrier.destroy()
  }

  onLost(): void {}

  #open(payload: Buffer): void {
    if (payload.length !== 1 || payload[0] !== PIPE_VERSION) this.#refuse(REFUSED.version)
    else {
      this.#settle()
      this.#acceptor.open(this.#carrier, this.#from)
    }
  }

  #challenge(payload: Buffer): void {
    if (payload.length !== ID_BYTES + GENERATION_BYTES + NONCE_BYTES)
      throw new CarrierFault('a RESUME of another length')
    const pipe = this.#acceptor.find(payload.toString('hex', 0, ID_BYTES))
    const generation = payload.readUInt32BE(ID_BYTES)
    const clientNonce = Buffer.from(payload.subarray(ID_BYTES + GENERATION_BYTES))
    if (!pipe) this.#refuse(REFUSED.unknown)
    else if (generation <= pipe.generation) this.#refuse(REFUSED.generation)
    else this.#ask(pipe, generation, clientNonce)
  }

  #ask(pipe: AgentPipe, generation: number, clientNonce: Buffer): void {
    const agentNonce = Buffer.from(this.#acceptor.options.world.random(NONCE_BYTES))
    const agentReceived = pipe.stream.core.received
    const attempt = { generation, clientNonce, agentNonce, agentReceived }
    this.#asked = { pipe, attempt }
    const answer = Buffer.concat([agentNonce, agentProof(pipe.keys!, attempt)])
    this.#carrier.send([frame(FRAME.challenge, agentReceived, answer)])
  }

  #prove({ type, offset, payload }: ControlFrame): void {
    const { pipe, attempt } = this.#asked!
    if (type !== FRAME.proof || payload.length !== PROOF_BYTES)
      throw new CarrierFault('no answer to CHALLENGE')
    if (!isProof(payload, clientProof(pipe.keys!, attempt, offset))) {
      this.#acceptor.options.log.warn('resume_not_proved', { addressByHub: this.#from })
      throw new CarrierFault('the proof is wrong')
    }
    if (pipe.stream.isOver) this.#refuse(REFUSED.unknown)
    else if (attempt.generation <= pipe.generation) this.#refuse(REFUSED.generation)
    else {
      this.#settle()
      pipe.resume(this.#carrier, attempt.generation, offset)
    }
  }

  #refuse(code: number): void {
    this.#carrier.send([frame(FRAME.refused, 0, Buffer.from([code]))])
    this.#carrier.end()
  }
}
