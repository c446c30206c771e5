/** Things that go on while something is killed: commands run one after another, their outcomes counted. */
import type { Finished } from './program.ts'

export interface Outcome {
  readonly name: string
  readonly ok: boolean
  readonly text: string
}

/** Runs `work` again and again on several lanes until it is ended; each run has a number of its own. */
export class Load {
  readonly outcomes: Outcome[] = []
  readonly #lanes: Promise<void>[]
  #next = 0
  #isOver = false
  #changed = () => {}

  constructor(name: string, lanes: number, work: (run: number) => Promise<Finished>) {
    this.#lanes = Array.from({ length: lanes }, async () => {
      while (!this.#isOver) {
        const run = this.#next++
        const { stdout, stderr, exitCode } = await work(run)
        const ok = exitCode === 0
        this.outcomes.push({ name: `${name}-${run}`, ok, text: ok ? stdout : stderr })
        this.#changed()
      }
    })
  }

  get succeeded(): readonly Outcome[] {
    return this.outcomes.filter(({ ok }) => ok)
  }

  get failed(): readonly Outcome[] {
    return this.outcomes.filter(({ ok }) => !ok)
  }

  /** Resolves when so many more have succeeded than now. */
  async more(count: number): Promise<void> {
    const wanted = this.succeeded.length + count
    while (this.succeeded.length < wanted) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve
      })
    }
  }

  /** Lets what runs finish. */
  async end(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#lanes)
  }
}

export interface Recovery {
  /** From now to the first success, in ms. */
  readonly ms: number
  /** What was said before that. */
  readonly failures: readonly string[]
}

/**
 * Runs a command until it works, at once and then again and again.
 * @throws Error with its last words when that takes longer than `withinMs`
 */
export async function untilItWorks(
  work: () => Promise<Finished>,
  withinMs: number,
): Promise<Recovery> {
  const began = performance.now()
  const failures: string[] = []
  for (;;) {
    const { exitCode, stderr } = await work()
    const ms = Math.round(performance.now() - began)
    if (exitCode === 0) return { ms, failures }
    failures.push(stderr.trim())
    if (ms > withinMs) throw new Error(`not within ${withinMs} ms: ${failures.at(-1)}`)
  }
}
