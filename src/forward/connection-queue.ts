import type { Pool } from 'undici'

/** Connections that are being set up at once. */
const MAX_CONNECTING = 32

/** A request that waits for a connection. */
export interface Waiting {
  start(): void
  fail(error: Error): void
}

/**
 * The requests to one server: as many at once as there are connections, and a few more, for which new ones are made.
 * A thousand at once would be a thousand handshakes, of which each makes all the others late; the first hundred
 * connections have answered them by then. Requests that never end hold a connection each and keep nobody waiting.
 */
export class ConnectionQueue {
  readonly #waiting = new Set<Waiting>()
  #connections = 0
  #underWay = 0

  constructor(pool: Pool) {
    pool.on('connect', () => {
      this.#connections += 1
      this.#startNext()
    })
    pool.on('disconnect', () => {
      this.#connections -= 1
    })
    pool.on('connectionError', (_origin, _targets, error) => this.#onConnectionError(error))
  }

  /** Starts it, now or later. Gives its end, to be called once it is over or not wanted any more. */
  enter(request: Waiting): () => void {
    this.#waiting.add(request)
    this.#startNext()
    let isInside = true
    return () => {
      if (!isInside) return
      isInside = false
      if (this.#waiting.delete(request)) return
      this.#underWay -= 1
      this.#startNext()
    }
  }

  #startNext(): void {
    for (const request of this.#waiting) {
      if (this.#underWay >= this.#connections + MAX_CONNECTING) return
      this.#waiting.delete(request)
      this.#underWay += 1
      request.start()
    }
  }

  /** A server that does not answer a few does not answer the others either: nobody waits for it in turns. */
  #onConnectionError(error: Error & { readonly code?: unknown }): void {
    if (error.code !== 'UND_ERR_CONNECT_TIMEOUT') return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const request of waiting) request.fail(error)
  }
}
