import type { World } from '../world.ts'

/** How long it is believed that a certificate is nowhere: a stranger must not make us ask per request. */
const BELIEVED_MS = 1_000
const MAX_REMEMBERED = 10_000

/** Fingerprints of certificates that were looked for a moment ago, in vain. */
export class NowhereToBeFound {
  readonly #world: World
  readonly #until = new Map<string, number>()

  constructor(world: World) {
    this.#world = world
  }

  has(fingerprint: string): boolean {
    return (this.#until.get(fingerprint) ?? 0) > this.#world.now().getTime()
  }

  add(fingerprint: string): void {
    if (this.#until.size >= MAX_REMEMBERED) this.#until.clear()
    this.#until.set(fingerprint, this.#world.now().getTime() + BELIEVED_MS)
  }

  delete(fingerprint: string): void {
    this.#until.delete(fingerprint)
  }
}
