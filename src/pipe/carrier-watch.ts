import type { Carrier } from './carrier.ts'
import type { PipeLimits } from './limits.ts'
import type { PipeStream } from './pipe-stream.ts'

/**
 * Notices that the carrier of a pipe is dead although nobody says so: something is unanswered, and nothing
 * is heard for too long. Where nothing is owed it asks, by a PING. Milliseconds of a clock that stands
 * still while the machine sleeps.
 */
export class CarrierWatch {
  readonly #stream: PipeStream
  readonly #limits: PipeLimits
  #unansweredSinceMs: number | undefined
  #isPinging = false
  #hasSlept = false

  constructor(stream: PipeStream, limits: PipeLimits) {
    this.#stream = stream
    this.#limits = limits
  }

  /** Looks at the carrier the stream has. @param hasSlept the machine has, since the last look */
  look(carrier: Carrier, elapsedMs: number, hasSlept: boolean): void {
    if (this.#unansweredSinceMs !== undefined && carrier.heardAtMs >= this.#unansweredSinceMs)
      this.forget()
    if (hasSlept) this.#hasSlept = true
    const isQuiet = elapsedMs - carrier.heardAtMs >= this.#limits.pingAfterMs
    if (!this.#isPinging && (hasSlept || isQuiet)) {
      this.#isPinging = true
      this.#stream.ping()
    }
    if (this.#isPinging || this.#stream.isOwedAnswer) this.#unansweredSinceMs ??= elapsedMs
    // Twice: when this process itself stood still, its timers come before what has arrived meanwhile.
    if (this.#isUnanswered(carrier)) setImmediate(() => this.#judge(carrier))
  }

  /** The question is answered, or was asked of a carrier that is gone. */
  forget(): void {
    this.#unansweredSinceMs = undefined
    this.#isPinging = false
    this.#hasSlept = false
  }

  #isUnanswered({ heardAtMs }: Carrier): boolean {
    const { answerMs, answerAwakeMs } = this.#limits
    if (this.#unansweredSinceMs === undefined || heardAtMs >= this.#unansweredSinceMs) return false
    const limitMs = this.#hasSlept ? answerAwakeMs : answerMs
    return performance.now() - this.#unansweredSinceMs >= limitMs
  }

  #judge(carrier: Carrier): void {
    if (carrier !== this.#stream.carrier || !this.#isUnanswered(carrier)) return
    this.#stream.detach('nothing was heard on the way any more')
  }
}
