/** What all pipes of one process hold together, sent and not acknowledged or arrived and not taken. */
export class PipeBudget {
  readonly capBytes: number
  #heldBytes = 0

  constructor(capBytes: number) {
    this.capBytes = capBytes
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** A pipe holds so much more, or less. */
  change(bytes: number): void {
    this.#heldBytes += bytes
  }

  /** From here on every pipe keeps to the least. */
  get isTight(): boolean {
    return this.#heldBytes >= this.capBytes
  }

  /** Room enough to let a quick reader have more. */
  get isAmple(): boolean {
    return this.#heldBytes * 2 < this.capBytes
  }
}
