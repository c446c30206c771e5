/**
 * A client's pings, which reach the upstream only when all that it has said is taken.
 *
 * An API server that has written the end of a command's output closes the connection, and its kernel goes on
 * delivering. A ping that arrives then is answered with a reset, and what is not delivered yet is gone: client-go
 * pings every five seconds, and plain kubectl loses megabytes so behind a slow network. While the upstream's
 * bytes are still on their way it need not be asked whether it is there; the client is told so here.
 */
export interface HeldPingsOptions {
  /** Whether the upstream is not read just now, since the client does not take what it said. */
  readonly isStopped: () => boolean
  /** Bytes that the client was given until now. */
  readonly givenBytes: () => number
  readonly pass: (ping: Buffer) => void
  /** Tells the client instead. */
  readonly answer: (ping: Buffer) => void
  /** Nothing given within this time is all there was. */
  readonly quietMs?: number
  /** Well below the minute after which client-go gives up. */
  readonly answerAfterMs?: number
}

const QUIET_MS = 100
const ANSWER_AFTER_MS = 10_000
/** More than any client has under way: the rest passes. */
const MAX_HELD = 16

export class HeldPings {
  readonly #options: HeldPingsOptions
  readonly #quietMs: number
  readonly #looksBeforeAnswer: number
  #held: Buffer[] = []
  #looks = 0
  #givenBefore = 0
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(options: HeldPingsOptions) {
    const { quietMs = QUIET_MS, answerAfterMs = ANSWER_AFTER_MS } = options
    this.#options = options
    this.#quietMs = quietMs
    this.#looksBeforeAnswer = answerAfterMs / quietMs
  }

  /** Gives whether it is held, to be passed or answered later. */
  hold(ping: Buffer): boolean {
    if (this.#isOver || this.#held.length === MAX_HELD) return false
    this.#held.push(ping)
    if (this.#held.length > 1) return true
    this.#looks = 0
    this.#givenBefore = this.#options.givenBytes()
    this.#look()
    return true
  }

  /** Passes what it holds, and holds no more. */
  release(): void {
    this.stop()
    this.#settle(this.#options.pass)
  }

  /** What it holds is forgotten. */
  stop(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  #look(): void {
    const given = this.#options.givenBytes()
    // On a busy event loop what has arrived is read first, between the timer and what follows it.
    const decide = () => setImmediate(() => this.#decide(given))
    this.#timer = setTimeout(decide, this.#quietMs).unref()
  }

  #decide(givenThen: number): void {
    if (this.#isOver) return
    const { isStopped, givenBytes, pass, answer } = this.#options
    const given = givenBytes()
    this.#looks += 1
    if (!isStopped() && given === givenThen) this.#settle(pass)
    // A client that is given nothing would not be given an answer either.
    else if (this.#looks >= this.#looksBeforeAnswer && given > this.#givenBefore)
      this.#settle(answer)
    else this.#look()
  }

  #settle(act: (ping: Buffer) => void): void {
    for (const ping of this.#held.splice(0)) act(ping)
  }
}
