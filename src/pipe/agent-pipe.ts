import type { Duplex } from 'node:stream'
import type { Log, World } from '../world.ts'
import type { PipeBudget } from './budget.ts'
import type { Carrier } from './carrier.ts'
import type { PipeLimits } from './limits.ts'
import { RESET } from './pipe-end.ts'
import { type PipeKeeper, PipeStream } from './pipe-stream.ts'
import { type PipeKeys, pipeKeys } from './proof.ts'
import { resetError } from './reset-error.ts'

/** A pipe as whoever runs something on it at the agent has it. */
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

export interface AgentPipeOptions {
  readonly world: World
  readonly log: Log
  readonly budget: PipeBudget
  readonly limits: PipeLimits
  /** It has keys: from now on it is found by its id. */
  onArmed(pipe: AgentPipe): void
  /** It is no more. */
  onOver(pipe: AgentPipe): void
}

/** One pipe at the agent: it waits for whoever proves to be its other end, for as long as the limits say. */
export class AgentPipe implements AcceptedPipe, PipeKeeper {
  readonly stream: PipeStream
  keys: PipeKeys | undefined
  /** Of the carrier it has, or had last. */
  generation = 0
  isBusy: () => boolean = () => false
  readonly #options: AgentPipeOptions
  #name = ''
  #resumedAtMs = 0
  /** Since the last carrier that was of use. */
  #suspendedAt: { readonly elapsedMs: number; readonly wallMs: number } | undefined

  constructor(options: AgentPipeOptions) {
    this.#options = options
    const { budget, limits } = options
    this.stream = new PipeStream({ budget, peerName: 'the client', keeper: this, ...limits })
  }

  get isSuspended(): boolean {
    return this.stream.isSuspended
  }

  get heldBytes(): number {
    return this.stream.core.heldBytes
  }

  /** Empty until there are keys. */
  get id(): string {
    return this.keys?.id.toString('hex') ?? ''
  }

  arm(exporter: Buffer, name: string, isBusy?: () => boolean): void {
    if (isBusy) this.isBusy = isBusy
    this.keys = pipeKeys(exporter)
    this.#name = name
    this.#options.onArmed(this)
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
    // Only somebody in between can have acknowledged in the client's name.
    if (this.stream.core.isMissing(clientReceived)) this.end(RESET.aborted)
    const { log, world } = this.#options
    const suspendedMs = this.#suspendedAt && world.now().getTime() - this.#suspendedAt.wallMs
    this.#resumedAtMs = performance.now()
    this.stream.attach(carrier, clientReceived)
    log.info('session_resumed', { session: this.#name, generation, suspendedMs })
  }

  /** Ends what is too long without a carrier, or without a word. */
  look(): void {
    const { suspendedMs, silentMs, settledMs } = this.#options.limits
    const now = performance.now()
    const { carrier } = this.stream
    if (carrier) {
      if (now - this.#resumedAtMs >= settledMs) this.#suspendedAt = undefined
      if (now - carrier.heardAtMs >= silentMs) this.#giveUp('nothing was heard')
      return
    }
    if (!this.#suspendedAt) return
    const wallMs = this.#options.world.now().getTime() - this.#suspendedAt.wallMs
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
    const { log, world } = this.#options
    this.#suspendedAt ??= { elapsedMs: performance.now(), wallMs: world.now().getTime() }
    log.info('session_suspended', { session: this.#name, reason: why })
  }

  onOver(): void {
    this.#options.onOver(this)
  }

  #giveUp(reason: string): void {
    this.#options.log.warn('session_ended', { session: this.#name, reason })
    this.stream.setResetCode(RESET.suspendedTooLong)
    this.stream.abandon(resetError('the client', RESET.suspendedTooLong))
  }
}
