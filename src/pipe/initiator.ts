/**
 * The client's end of a pipe: it opens one, notices when its carrier is dead, and finds another until
 * the pipe is over or too long without. Whatever it is told on the way that is not proved is a hint.
 */

import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { type McmError, messageOf, UnreachableError } from '../errors.ts'
import type { Log, World } from '../world.ts'
import type { PipeBudget } from './budget.ts'
import { Carrier } from './carrier.ts'
import { type ControlFrame, FRAME, frame, PIPE_VERSION } from './frame.ts'
import { PIPE_LIMITS, type PipeLimits } from './limits.ts'
import { RESET } from './pipe-end.ts'
import { type PipeKeeper, PipeStream } from './pipe-stream.ts'
import { type PipeKeys, pipeKeys } from './proof.ts'
import { resetError } from './reset-error.ts'
import { HintedRefusal, resumeOn } from './resuming.ts'

/** Where a carrier shall lead. */
export interface CarrierWish {
  /** The agent's replica; undefined for any. */
  readonly replica: string | undefined
  /** 0, then one more for every attempt since a carrier was lost: another number may mean another way. */
  readonly attempt: number
  /** Nobody waits for it any more. */
  readonly signal: AbortSignal
}

export interface InitiatorOptions {
  readonly world: World
  readonly log: Log
  readonly budget: PipeBudget
  /** For sentences: `the agent of idc-k8s`. */
  readonly peerName: string
  /** A carrier. Whatever it throws is a hint, but the first time, and but a `ProvenEnd`. */
  dial(wish: CarrierWish): Promise<Duplex>
  /** The pipe has lost its carrier, or has one again. */
  onChange?(isSuspended: boolean): void
  readonly limits?: Partial<PipeLimits>
}

/** What `dial` throws when the pipe shall end now: nobody's hint, but what this machine has proof of. */
export class ProvenEnd extends Error {
  override readonly name = 'ProvenEnd'
  readonly reason: McmError

  constructor(reason: McmError) {
    super(reason.message)
    this.reason = reason
  }
}

export interface InitiatedPipe {
  /** What TLS runs on. */
  readonly stream: Duplex
  readonly isSuspended: boolean
  /** Resolves when both ends know that it has ended, or this end will not try to tell any more. */
  readonly over: Promise<void>
  /** From now on the pipe can be resumed. @param exporter of the TLS connection on it: `PIPE_EXPORTER_…` */
  arm(exporter: Buffer): void
  /** Ends it at once, without telling the other end. */
  abandon(): void
}

/** Fits into a header, whatever the agent calls itself. */
const REPLICA = /^[\x21-\x7e]{1,253}$/
const FIRST_RETRY_MS = 100
/** The wall clock ahead of the other by so much in one look: the machine has slept. */
const SLEPT_MS = 3_000

/** Opens a pipe on a first carrier. @throws whatever `dial` throws */
export async function openPipe(options: InitiatorOptions): Promise<InitiatedPipe> {
  const { signal } = new AbortController()
  const carrier = await options.dial({ replica: undefined, attempt: 0, signal })
  return new Initiator(options, carrier)
}

class Initiator implements InitiatedPipe, PipeKeeper {
  readonly stream: PipeStream
  readonly over: Promise<void>
  readonly #resolveOver: () => void
  readonly #options: InitiatorOptions
  readonly #limits: PipeLimits
  readonly #over = new AbortController()
  readonly #looking: NodeJS.Timeout
  #replica: string | undefined
  #keys: PipeKeys | undefined
  #generation = 0
  /** Since the last carrier that was of use. */
  #suspendedAtMs: number | undefined
  #resumedAtMs = 0
  #attempts = 0
  #hint = ''
  /** By the wall clock. */
  #heardAt: number
  #lookedAt: { readonly elapsedMs: number; readonly wallMs: number }
  #unansweredSinceMs: number | undefined
  #isPinging = false
  #hasSlept = false

  constructor(options: InitiatorOptions, first: Duplex) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.over = promise
    this.#resolveOver = resolve
    this.#options = options
    this.#limits = { ...PIPE_LIMITS, ...options.limits }
    const { budget, peerName } = options
    this.stream = new PipeStream({ budget, peerName, keeper: this, ...this.#limits })
    this.#lookedAt = this.#clocks()
    this.#heardAt = this.#lookedAt.wallMs
    this.#looking = setInterval(() => this.#look(), this.#limits.lookMs).unref()
    const carrier = new Carrier(first, this.stream)
    carrier.send([frame(FRAME.open, 0, Buffer.from([PIPE_VERSION]))])
    this.stream.attach(carrier, 0)
  }

  get isSuspended(): boolean {
    return this.stream.isSuspended
  }

  arm(exporter: Buffer): void {
    this.#keys = pipeKeys(exporter)
    this.stream.arm()
  }

  abandon(): void {
    this.stream.abandon()
  }

  // What the stream tells.

  mayResume(): boolean {
    return this.stream.core.isResumable && this.#replica !== undefined
  }

  onFrame({ type, payload }: ControlFrame): boolean {
    if (type === FRAME.opened && this.#replica === undefined) {
      const name = payload.toString('latin1')
      if (REPLICA.test(name)) this.#replica = name
      return true
    }
    if (type !== FRAME.refused || this.#replica !== undefined) return false
    const refusal = new HintedRefusal(payload[0] ?? 0)
    this.stream.abandon(new UnreachableError('MCM_AGENT_UNREACHABLE', refusal.message))
    return true
  }

  onSuspended(why: string): void {
    this.#suspendedAtMs ??= performance.now()
    this.#hint = why
    this.#forgetQuestion()
    this.#options.log.warn('session_suspended', { peer: this.#options.peerName, reason: why })
    this.#options.onChange?.(true)
    void this.#resume()
  }

  onOver(): void {
    clearInterval(this.#looking)
    this.#over.abort()
    this.#resolveOver()
  }

  // Finding another carrier.

  async #resume(): Promise<void> {
    while (this.stream.isSuspended) {
      if (this.#attempts > 0) await this.#pauseAfter(this.#attempts)
      if (this.#over.signal.aborted) return
      this.#attempts += 1
      try {
        await this.#attempt(this.#attempts)
        return
      } catch (error) {
        this.#hint = messageOf(error)
        if (error instanceof ProvenEnd) this.#endBecause(error.reason)
        // Nobody waits for anything but to be allowed to forget it.
        if (error instanceof HintedRefusal && this.stream.destroyed) this.stream.abandon()
      }
    }
  }

  async #attempt(attempt: number): Promise<void> {
    this.#generation += 1
    const { attemptMs } = this.#limits
    const timeout = AbortSignal.timeout(attemptMs)
    const signal = AbortSignal.any([this.#over.signal, timeout])
    const carrier = await this.#dialled({ replica: this.#replica, attempt, signal })
    const generation = this.#generation
    const random = (count: number) => this.#options.world.random(count)
    await resumeOn(carrier, { keys: this.#keys!, generation, stream: this.stream, random, signal })
    this.#onResumed()
  }

  /** One that comes after its time belongs to nobody. */
  async #dialled(wish: CarrierWish): Promise<Duplex> {
    const dialling = this.#options.dial(wish)
    const { promise: late, reject } = Promise.withResolvers<never>()
    const abandon = () => {
      reject(new Error('no way was found in time'))
      dialling.then((carrier) => carrier.destroy()).catch(() => {})
    }
    if (wish.signal.aborted) abandon()
    wish.signal.addEventListener('abort', abandon, { once: true })
    return Promise.race([dialling, late]).finally(() =>
      wish.signal.removeEventListener('abort', abandon),
    )
  }

  #onResumed(): void {
    this.#resumedAtMs = performance.now()
    const suspendedMs = Math.round(this.#resumedAtMs - (this.#suspendedAtMs ?? 0))
    this.#heardAt = this.#clocks().wallMs
    this.#options.log.info('session_resumed', { peer: this.#options.peerName, suspendedMs })
    this.#options.onChange?.(false)
  }

  async #pauseAfter(attempt: number): Promise<void> {
    const most = Math.min(this.#limits.retryMs, FIRST_RETRY_MS * 2 ** attempt)
    const fraction = Buffer.from(this.#options.world.random(2)).readUInt16BE() / 65_536
    const { signal } = this.#over
    await pause(most / 2 + (fraction * most) / 2, undefined, { signal }).catch(() => {})
  }

  // The clocks.

  #look(): void {
    const now = this.#clocks()
    const sleptMs = now.wallMs - this.#lookedAt.wallMs - (now.elapsedMs - this.#lookedAt.elapsedMs)
    this.#lookedAt = now
    if (this.stream.carrier) this.#lookAtCarrier(now, sleptMs > SLEPT_MS)
    else if (this.#isLate(now)) this.#giveUp()
  }

  #lookAtCarrier({ elapsedMs, wallMs }: Clocks, hasSlept: boolean): void {
    const carrier = this.stream.carrier!
    if (this.#suspendedAtMs !== undefined) this.#settle(elapsedMs)
    const quietMs = elapsedMs - carrier.heardAtMs
    if (quietMs < this.#limits.lookMs) this.#heardAt = wallMs
    if (this.#unansweredSinceMs !== undefined && carrier.heardAtMs > this.#unansweredSinceMs)
      this.#forgetQuestion()
    if (hasSlept) this.#hasSlept = true
    if (!this.#isPinging && (hasSlept || quietMs >= this.#limits.pingAfterMs)) {
      this.#isPinging = true
      this.stream.ping()
    }
    if (this.#isPinging || this.stream.core.isUnacked) this.#unansweredSinceMs ??= elapsedMs
    // Twice: when this process itself stood still, its timers come before what has arrived meanwhile.
    if (this.#isUnanswered(carrier)) setImmediate(() => this.#judge(carrier))
  }

  #settle(elapsedMs: number): void {
    if (elapsedMs - this.#resumedAtMs < this.#limits.settledMs) return
    this.#suspendedAtMs = undefined
    this.#attempts = 0
  }

  #isUnanswered({ heardAtMs }: Carrier): boolean {
    const { answerMs, answerAwakeMs } = this.#limits
    if (this.#unansweredSinceMs === undefined || heardAtMs > this.#unansweredSinceMs) return false
    const limitMs = this.#hasSlept ? answerAwakeMs : answerMs
    return performance.now() - this.#unansweredSinceMs >= limitMs
  }

  #judge(carrier: Carrier): void {
    if (carrier !== this.stream.carrier || !this.#isUnanswered(carrier)) return
    this.stream.detach('nothing was heard on the way any more')
  }

  #forgetQuestion(): void {
    this.#unansweredSinceMs = undefined
    this.#isPinging = false
    this.#hasSlept = false
  }

  #isLate({ elapsedMs, wallMs }: Clocks): boolean {
    if (this.#suspendedAtMs === undefined) return false
    if (elapsedMs - this.#suspendedAtMs >= this.#limits.suspendedMs) return true
    return wallMs - this.#heardAt >= this.#limits.silentMs
  }

  #endBecause(reason: McmError): void {
    this.#options.log.warn('session_ended', {
      peer: this.#options.peerName,
      reason: reason.message,
    })
    this.stream.abandon(reason)
  }

  #giveUp(): void {
    this.stream.setResetCode(RESET.suspendedTooLong)
    this.#endBecause(resetError(this.#options.peerName, RESET.suspendedTooLong, this.#hint))
  }

  #clocks(): Clocks {
    return { elapsedMs: performance.now(), wallMs: this.#options.world.now().getTime() }
  }
}

interface Clocks {
  /** Stands still while the machine sleeps. */
  readonly elapsedMs: number
  readonly wallMs: number
}
