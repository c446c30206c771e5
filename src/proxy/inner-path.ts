import type { McmError } from '../errors.ts'

/**
 * What lies below an inner session, as far as the session has to know: whether anything can pass just
 * now, and why it never will again.
 */
export interface InnerPath {
  /** Whether it outlives the connection to the hub, and looks after its own life. */
  readonly isPipe: boolean
  readonly isSuspended: boolean
  /** Why it ended, once it did by itself. */
  readonly end: McmError | undefined
  /** Resolves when the other end knows that it has ended, or cannot be told. */
  readonly over: Promise<void>
  /** Calls `act` again and again, every `ms`, while it is suspended. Gives the end of that. */
  whileSuspended(ms: number, act: () => void): () => void
}

/** A plain stream: when it is lost, all is. */
export const PLAIN_PATH: InnerPath = {
  isPipe: false,
  isSuspended: false,
  end: undefined,
  over: Promise.resolve(),
  whileSuspended: () => () => {},
}

/** A pipe, whose state its owner tells. */
export class PipePath implements InnerPath {
  readonly isPipe = true
  end: McmError | undefined
  over: Promise<void> = Promise.resolve()
  #isSuspended = false
  readonly #watchers = new Set<Watcher>()

  get isSuspended(): boolean {
    return this.#isSuspended
  }

  set isSuspended(isSuspended: boolean) {
    this.#isSuspended = isSuspended
    for (const watcher of this.#watchers) watcher.follow(isSuspended)
  }

  whileSuspended(ms: number, act: () => void): () => void {
    const watcher = new Watcher(ms, act)
    this.#watchers.add(watcher)
    watcher.follow(this.#isSuspended)
    return () => {
      this.#watchers.delete(watcher)
      watcher.follow(false)
    }
  }
}

class Watcher {
  readonly #ms: number
  readonly #act: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(ms: number, act: () => void) {
    this.#ms = ms
    this.#act = act
  }

  follow(isSuspended: boolean): void {
    clearInterval(this.#timer)
    this.#timer = isSuspended ? setInterval(this.#act, this.#ms) : undefined
  }
}
