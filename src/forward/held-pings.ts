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
/** A client that takes nothing may do so for hours. */
const LOOK_WHILE_STOPPED_MS = 1_000
const ANSWER_AFTER_MS = 10_000
/** More than any client has under way; only the newest ask for an answer (RFC 6455 §5.5.3). */
const MAX_HELD = 16

/**
 * A client's pings, which reach the upstream only while nothing that it said is on its way, as far as can be seen
 * from here.
 *
 * An API server that has written the end of a command's output closes the connection, and its kernel goes on
 * delivering. A ping that arrives then is answered with a reset, and what is not delivered yet is gone: client-go
 * pings every five seconds, and plain kubectl loses megabytes so behind a slow network. While the upstream's
 * bytes are still on their way it need not be asked whether it is there; the client is told so here.
 */
export class HeldPings {
  readonly #options: HeldPingsOptions
  readonly #quietMs: number
  readonly #answerAfterMs: number
  #held: Buffer[] = []
  #waitedMs = 0
  #givenBefore = 0
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(options: HeldPingsOptions) {
    const { quietMs = QUIET_MS, answerAfterMs = ANSWER_AFTER_MS } = options
    this.#options = options
    this.#quietMs = quietMs
    this.#answerAfterMs = answerAfterMs
  }

  /** Gives whether it is held, to be passed or answered later. */
  hold(ping: Buffer): boolean {
    if (this.#isOver) return false
    if (this.#held.push(ping) > MAX_HELD) this.#held.shift()
    if (this.#held.length > 1) return true
    this.#waitedMs = 0
    this.#givenBefore = this.#options.givenBytes()
    this.#look()
    return true
  }

  /** What it holds is forgotten. */
  stop(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  #look(): void {
    const { isStopped, givenBytes } = this.#options
    const given = givenBytes()
    const waitMs = isStopped() ? LOOK_WHILE_STOPPED_MS : this.#quietMs
    this.#waitedMs += waitMs
    // On a busy event loop what has arrived is read first, between the timer and what follows it.
    const decide = () => setImmediate(() => this.#decide(given))
    this.#timer = setTimeout(decide, waitMs).unref()
  }

  #decide(givenThen: number): void {
    if (this.#isOver) return
    const { isStopped, givenBytes, pass, answer } = this.#options
    const given = givenBytes()
    const isAlive = given > this.#givenBefore
    if (!isStopped() && given === givenThen) this.#settle(pass)
    // A client that is given nothing would not be given an answer either.
    else if (this.#waitedMs >= this.#answerAfterMs && isAlive) this.#settle(answer)
    else this.#look()
  }

  #settle(act: (ping: Buffer) => void): void {
    for (const ping of this.#held.splice(0)) act(ping)
  }
}
