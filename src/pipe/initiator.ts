/**
 * The client's end of a pipe: it opens one, notices when its carrier is dead, and finds another until
 * the pipe is over or too long without. Whatever it is told on the way that is not proved is a hint.
 */

import type { Duplex } from 'node:stream'
import { type McmError, messageOf, UnreachableError } from '../errors.ts'
import type { Log, World } from '../world.ts'
import type { PipeBudget } from './budget.ts'
import { Carrier } from './carrier.ts'
import { CarrierWatch } from './carrier-watch.ts'
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
  readonly #watch: CarrierWatch
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

  constructor(options: InitiatorOptions, first: Duplex) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.over = promise
    this.#resolveOver = resolve
    this.#options = options
    this.#limits = { ...PIPE_LIMITS, ...options.limits }
    const { budget, peerName } = options
    const rest = { keeper: this, goesLast: true, ...this.#limits }
    this.stream = new PipeStream({ budget, peerName, ...rest })
    this.#watch = new CarrierWatch(this.stream, this.#limits)
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
    this.#watch.forget()
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
        // A hint is enough where nobody waits for anything but to be allowed to forget it.
        if (error instanceof HintedRefusal && this.stream.isDone) this.stream.conclude()
      }
    }
  }

  async #attempt(attempt: number): Promise<void> {
    this.#generation += 1
    const generation = this.#generation
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), this.#limits.attemptMs)
    const signal = AbortSignal.any([this.#over.signal, late.signal])
    const random = (count: number) => this.#options.world.random(count)
    try {
      const carrier = await this.#dialled({ replica: this.#replica, attempt, signal })
      const { stream } = this
      await resumeOn(carrier, { keys: this.#keys!, generation, stream, random, signal })
      this.#onResumed()
    } finally {
      clearTimeout(timer)
    }
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
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, most / 2 + (fraction * most) / 2)
    const wake = () => resolve()
    this.#over.signal.addEventListener('abort', wake, { once: true })
    await promise
    clearTimeout(timer)
    this.#over.signal.removeEventListener('abort', wake)
  }

  // The clocks.

  #look(): void {
    const now = this.#clocks()
    const sleptMs = now.wallMs - this.#lookedAt.wallMs - (now.elapsedMs - this.#lookedAt.elapsedMs)
    this.#lookedAt = now
    const { carrier } = this.stream
    if (carrier) {
      if (this.#suspendedAtMs !== undefined) this.#settle(now.elapsedMs)
      if (now.elapsedMs - carrier.heardAtMs < this.#limits.lookMs) this.#heardAt = now.wallMs
      this.#watch.look(carrier, now.elapsedMs, sleptMs > SLEPT_MS)
    } else if (this.#isLate(now)) this.#giveUp()
  }

  #settle(elapsedMs: number): void {
    if (elapsedMs - this.#resumedAtMs < this.#limits.settledMs) return
    this.#suspendedAtMs = undefined
    this.#attempts = 0
  }

  #isLate({ elapsedMs, wallMs }: Clocks): boolean {
    if (this.#suspendedAtMs === undefined) return false
    if (elapsedMs - this.#suspendedAtMs >= this.#limits.suspendedMs) return true
    return wallMs - this.#heardAt >= this.#limits.silentMs
  }

  #endBecause(reason: McmError): void {
    if (this.stream.isDone) {
      this.stream.conclude()
      return
    }
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
