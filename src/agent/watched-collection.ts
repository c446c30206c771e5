import { setTimeout as pause } from 'node:timers/promises'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { isMcmError, messageOf, UnreachableError } from '../errors.ts'
import type { KubernetesObject } from '../kube/object.ts'
import { fullJitterBackoff } from '../tunnel/backoff.ts'
import type { Log, World } from '../world.ts'

/**
 * A copy of a few objects of the API server that is kept by a watch and knows how old it may be. A
 * watch that brought nothing, not even a bookmark (they come only where etcd reports its progress),
 * proves nothing and is followed by a full list; every list and every event proves that we are
 * still told.
 */
export interface WatchedCollection<T extends KubernetesObject> {
  /** Resolves with the first list. Does not reject: see `isFresh`. */
  readonly ready: Promise<void>
  /** False before the first list, and when nothing was heard for longer than the maximum age. */
  isFresh(): boolean
  get(name: string): T | undefined
  values(): T[]
  /** Takes in what a write or a read of ours was answered, before the watch brings it. */
  learn(object: T): void
  /**
   * Calls back on each difference, with what is there now and what was there. Gives its own end.
   */
  onChange(listener: ChangeListener<T>): () => void
}

export type ChangeListener<T> = (after: T | undefined, before: T | undefined) => void

export interface WatchedCollectionOptions {
  /** The collection's path. */
  readonly path: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
  /** How long silence is believed; 45 s unless told. */
  readonly maximumAgeMs?: number
  /** After so long the server ends a watch; 15 s unless told. */
  readonly watchSeconds?: number
  /** After so long everything is read anew; 5 min unless told. */
  readonly relistMs?: number
  /** Between attempts that fail. */
  readonly backoff?: { readonly baseMs: number; readonly capMs: number }
}

export interface Background {
  readonly world: World
  readonly log: Log
  readonly signal: AbortSignal
}

const DEFAULTS = {
  maximumAgeMs: 45_000,
  watchSeconds: 15,
  relistMs: 300_000,
  backoff: { baseMs: 200, capMs: 5_000 },
}
const LIST_TIMEOUT_MS = 10_000
const CHECK_MS = 1_000

/** Starts to list and watch, until `signal` aborts. */
export function watchCollection<T extends KubernetesObject>(
  api: KubernetesApi,
  options: WatchedCollectionOptions,
  background: Background,
): WatchedCollection<T> {
  const collection = new Collection<T>(api, options, background)
  void collection.run()
  return collection
}

class Collection<T extends KubernetesObject> implements WatchedCollection<T> {
  readonly ready: Promise<void>
  readonly #api: KubernetesApi
  readonly #options: WatchedCollectionOptions & typeof DEFAULTS
  readonly #background: Background
  readonly #objects = new Map<string, T>()
  /**
   * Of every name ever seen, so that an answer that comes late cannot bring back what was before.
   */
  readonly #versions = new Map<string, bigint>()
  readonly #listeners = new Set<ChangeListener<T>>()
  readonly #markReady: () => void
  #watching: AbortController | undefined
  #heardAt: number | undefined
  #isBroken = false

  constructor(api: KubernetesApi, options: WatchedCollectionOptions, background: Background) {
    this.#api = api
    this.#options = { ...DEFAULTS, ...options }
    this.#background = background
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ready = promise
    this.#markReady = resolve
  }

  isFresh(): boolean {
    if (this.#heardAt === undefined) return false
    // After a clock was set back nothing is known of the time between.
    return Math.abs(this.#now() - this.#heardAt) <= this.#options.maximumAgeMs
  }

  get(name: string): T | undefined {
    return this.#objects.get(name)
  }

  values(): T[] {
    return [...this.#objects.values()]
  }

  learn(object: T): void {
    this.#put(object)
  }

  onChange(listener: ChangeListener<T>): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async run(): Promise<void> {
    const { signal, world } = this.#background
    const check = setInterval(() => this.#endStaleWatch(), CHECK_MS).unref()
    signal.addEventListener('abort', () => clearInterval(check), { once: true })
    for (let attempt = 0; !signal.aborted; ) {
      // Even a server that ends every watch at once must not be asked without pause.
      attempt = (await this.#round()) ? 0 : attempt + 1
      const waitMs = fullJitterBackoff(world.random, attempt, this.#options.backoff)
      await pause(waitMs, undefined, { signal }).catch(() => {})
    }
  }

  /** Lists, then watches until everything is to be read anew; gives whether any event came. */
  async #round(): Promise<boolean> {
    const { log, signal } = this.#background
    const { path } = this.#options
    try {
      const version = await this.#list()
      if (this.#isBroken) log.info('watch_restored', { path })
      this.#isBroken = false
      return await this.#follow(version)
    } catch (error) {
      if (signal.aborted) return false
      if (!isMcmError(error)) log.error('watch_failed', { path, reason: messageOf(error) })
      else if (!this.#isBroken) log.warn('watch_broken', { path, reason: error.message })
      this.#isBroken = true
      return false
    }
  }

  /** Reads everything; gives the version to watch from. */
  async #list(): Promise<string> {
    const { path } = this.#options
    const list = await within(LIST_TIMEOUT_MS, path, this.#api.list<T>(path, this.#selectors()))
    const { resourceVersion } = list.metadata
    const names = new Set(list.items.map(({ metadata }) => metadata.name))
    for (const object of list.items) this.#put(object)
    for (const name of this.#objects.keys())
      if (!names.has(name)) this.#remove(name, resourceVersion)
    this.#hear()
    this.#markReady()
    return resourceVersion
  }

  /**
   * Returns when everything is to be read anew, and whether any event came. @throws what the watch
   * throws
   */
  async #follow(from: string): Promise<boolean> {
    const { signal } = this.#background
    const relistAt = this.#now() + this.#options.relistMs
    let version = from
    while (!signal.aborted && this.#now() < relistAt) {
      const last = await this.#watchOnce(version)
      if (last === undefined) break
      version = last
    }
    return version !== from
  }

  /** The version of the last event, undefined when there was none. */
  async #watchOnce(resourceVersion: string): Promise<string | undefined> {
    const { path, watchSeconds } = this.#options
    const options = { ...this.#selectors(), resourceVersion, maximumAgeSeconds: watchSeconds }
    const ending = new AbortController()
    this.#watching = ending
    const signal = AbortSignal.any([this.#background.signal, ending.signal])
    let last: string | undefined
    try {
      for await (const event of this.#api.watch<T>(path, signal, options)) {
        this.#hear()
        last = event.object.metadata.resourceVersion ?? last
        if (event.type === 'DELETED') this.#remove(event.object.metadata.name, last)
        else if (event.type !== 'BOOKMARK') this.#put(event.object)
      }
    } catch (error) {
      if (!ending.signal.aborted) throw error
    } finally {
      this.#watching = undefined
    }
    return ending.signal.aborted ? undefined : last
  }

  /** A machine that slept wakes up with a watch of long ago: the list that follows its end says what is. */
  #endStaleWatch(): void {
    if (this.#heardAt !== undefined && !this.isFresh()) this.#watching?.abort()
  }

  #selectors() {
    const { labelSelector, fieldSelector } = this.#options
    return {
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    }
  }

  #put(object: T): void {
    const { name, resourceVersion } = object.metadata
    if (!this.#isNewer(name, resourceVersion)) return
    const before = this.#objects.get(name)
    this.#objects.set(name, object)
    this.#tell(object, before)
  }

  #remove(name: string, version: string | undefined): void {
    const before = this.#objects.get(name)
    if (before === undefined || !this.#isNewer(name, version)) return
    this.#objects.delete(name)
    this.#tell(undefined, before)
  }

  /**
   * Versions of one resource are numbers that grow (Kubernetes 1.35 promises it; etcd always had
   * it).
   */
  #isNewer(name: string, version: string | undefined): boolean {
    const number = /^\d+$/.test(version ?? '') ? BigInt(version!) : undefined
    const known = this.#versions.get(name)
    if (number === undefined) return true
    if (known !== undefined && number <= known) return false
    this.#versions.set(name, number)
    return true
  }

  #tell(after: T | undefined, before: T | undefined): void {
    for (const listener of this.#listeners) {
      try {
        listener(after, before)
      } catch (error) {
        this.#background.log.error('watch_listener_failed', { reason: messageOf(error) })
      }
    }
  }

  #hear(): void {
    this.#heardAt = this.#now()
  }

  #now(): number {
    return this.#background.world.now().getTime()
  }
}

/** A path that swallows packets must not hold up the next attempt. */
async function within<T>(timeoutMs: number, path: string, work: Promise<T>): Promise<T> {
  const ending = new AbortController()
  const timeout = pause(timeoutMs, undefined, { signal: ending.signal }).then(() => {
    throw new UnreachableError('MCM_TIMEOUT', `${path} was not listed within ${timeoutMs} ms`)
  })
  timeout.catch(() => {})
  try {
    return await Promise.race([work, timeout])
  } finally {
    ending.abort()
    work.catch(() => {})
  }
}
