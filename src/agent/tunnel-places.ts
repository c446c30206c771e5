import { setTimeout as pause } from 'node:timers/promises'
import type { World } from '../world.ts'
import type { HubEndpoint } from './hub-endpoints.ts'

/**
 * Which place dials which endpoint: never two the same, those that failed lately last. Two names of
 * one hub replica cannot be told apart beforehand, and there a second tunnel ends the first
 * (PROTOCOL §6). So an endpoint whose tunnel ended just after another's began counts as the same
 * while that other lives.
 */
export interface Places {
  /** The endpoint that this place shall dial now; undefined while there is none left for it. */
  take(place: number, endpoints: readonly HubEndpoint[]): HubEndpoint | undefined
  /** The place's tunnel is there. */
  opened(place: number): void
  /** The place's tunnel is over, or there never was one. */
  leave(place: number, hasWorked: boolean): void
  /** Until a place becomes free, or so long. */
  wait(timeoutMs: number): Promise<void>
  pause(timeoutMs: number): Promise<void>
}

/** The hub may first bring its directory over a new tunnel, before it ends the old one. */
const REPLACED_WITHIN_MS = 5_000

interface Taken {
  readonly endpoint: string
  /** Endpoints that turned out to lead to the same hub. */
  readonly replaced: Set<string>
  openedAt?: number
}

export function startPlaces(options: {
  readonly world: World
  readonly signal: AbortSignal
}): Places {
  return new EndpointPlaces(options.world, options.signal)
}

class EndpointPlaces implements Places {
  readonly #world: World
  readonly #signal: AbortSignal
  readonly #taken = new Map<number, Taken>()
  readonly #failedAt = new Map<string, number>()
  #freed = Promise.withResolvers<void>()

  constructor(world: World, signal: AbortSignal) {
    this.#world = world
    this.#signal = signal
  }

  take(place: number, endpoints: readonly HubEndpoint[]): HubEndpoint | undefined {
    const others = [...this.#taken].filter(([other]) => other !== place).map(([, taken]) => taken)
    const isFree = ({ endpoint }: HubEndpoint) =>
      !others.some((other) => other.endpoint === endpoint || other.replaced.has(endpoint))
    const [best] = endpoints
      .filter(isFree)
      .sort((a, b) => this.#lastFailure(a.endpoint) - this.#lastFailure(b.endpoint))
    if (best !== undefined) this.#taken.set(place, { endpoint: best.endpoint, replaced: new Set() })
    return best
  }

  opened(place: number): void {
    const taken = this.#taken.get(place)
    if (taken !== undefined) taken.openedAt = this.#now()
  }

  leave(place: number, hasWorked: boolean): void {
    const left = this.#taken.get(place)
    if (left === undefined) return
    this.#taken.delete(place)
    if (hasWorked) this.#failedAt.delete(left.endpoint)
    else this.#failedAt.set(left.endpoint, this.#now())
    if (left.openedAt !== undefined)
      for (const other of this.#taken.values())
        if (this.#hasReplaced(other, left.openedAt)) other.replaced.add(left.endpoint)
    this.#freed.resolve()
    this.#freed = Promise.withResolvers()
  }

  async wait(timeoutMs: number): Promise<void> {
    const ending = new AbortController()
    const signal = AbortSignal.any([this.#signal, ending.signal])
    const timeout = pause(timeoutMs, undefined, { signal }).catch(() => {})
    await Promise.race([this.#freed.promise, timeout])
    ending.abort()
  }

  async pause(timeoutMs: number): Promise<void> {
    await pause(timeoutMs, undefined, { signal: this.#signal }).catch(() => {})
  }

  #hasReplaced({ openedAt }: Taken, leftOpenedAt: number): boolean {
    if (openedAt === undefined || openedAt < leftOpenedAt) return false
    return this.#now() - openedAt <= REPLACED_WITHIN_MS
  }

  /** Never failed comes first; Infinity would make the difference of two of them no number. */
  #lastFailure(endpoint: string): number {
    return this.#failedAt.get(endpoint) ?? 0
  }

  #now(): number {
    return this.#world.now().getTime()
  }
}
