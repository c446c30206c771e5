/** Work on one thing, by its name, stands in line; work on others goes on beside it. */
export class OneAtATime {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Begins when all that came before under this name has ended, however it did. @throws what `work` throws */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve()
    const running = before.catch(() => {}).then(work)
    this.#last.set(name, running)
    try {
      return await running
    } finally {
      if (this.#last.get(name) === running) this.#last.delete(name)
    }
  }
}
