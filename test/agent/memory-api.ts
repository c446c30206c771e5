import type {
  KubernetesApi,
  ListOptions,
  WatchEvent,
  WatchOptions,
} from '../../src/client/kubernetes.ts'
import { NotFoundError, UnreachableError } from '../../src/errors.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'

/**
 * A Kubernetes API in memory, as far as the agent's state needs it: versions, conflicts, watches,
 * faults.
 */

type Stored = KubernetesObject & { metadata: { uid?: string } }
interface Change {
  readonly version: number
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly collection: string
  readonly object: Stored
}
interface Watcher {
  readonly collection: string
  readonly options: WatchOptions
  readonly queue: WatchEvent<Stored>[]
  wake(): void
  end: 'open' | 'ended' | Error
}

export type Verb = 'get' | 'list' | 'create' | 'update' | 'watch'

export class MemoryApi implements KubernetesApi {
  readonly calls: { verb: Verb; path: string }[] = []
  /** What a call shall throw instead of being answered. */
  fault: (verb: Verb, path: string) => Error | undefined = () => undefined
  /** Called before an update or create is judged: somebody else may write in between. */
  beforeWrite: (path: string) => void | Promise<void> = () => {}
  /** POST to a subresource. */
  onSubresource: (path: string, body: object) => object = () => {
    throw new NotFoundError('MCM_NOT_FOUND', 'no such subresource')
  }
  /** While set, nothing reaches a watcher. */
  areWatchesFrozen = false
  readonly #objects = new Map<string, Stored>()
  readonly #history: Change[] = []
  readonly #watchers = new Set<Watcher>()
  #version = 100
  #oldest = 0

  count(verb: Verb): number {
    return this.calls.filter((call) => call.verb === verb).length
  }

  get openWatches(): number {
    return this.#watchers.size
  }

  async get<T>(path: string): Promise<T> {
    this.#enter('get', path)
    return this.#read(path) as T
  }

  async getIfAny<T>(path: string): Promise<T | undefined> {
    this.#enter('get', path)
    return this.#objects.has(path) ? (this.#read(path) as T) : undefined
  }

  async list<T>(path: string, options: ListOptions = {}) {
    this.#enter('list', path)
    const items = [...this.#objects]
      .filter(([key]) => collectionOf(key) === path)
      .map(([, object]) => structuredClone(object))
      .filter((object) => isSelected(object, options))
    return { metadata: { resourceVersion: String(this.#version) }, items: items as T[] }
  }

  async create<T>(path: string, object: object): Promise<T> {
    this.#enter('create', path)
    if (!/s$/.test(path)) return this.onSubresource(path, object) as T
    await this.beforeWrite(path)
    const stored = structuredClone(object) as Stored
    const key = `${path}/${stored.metadata.name}`
    if (this.#objects.has(key)) throw conflict('already exists')
    return this.#store(key, stored, 'ADDED') as T
  }

  async update<T>(path: string, object: object): Promise<T> {
    this.#enter('update', path)
    await this.beforeWrite(path)
    const stored = structuredClone(object) as Stored
    const present = this.#read(path)
    if (!stored.metadata.resourceVersion) throw new Error('an update without a version')
    if (stored.metadata.resourceVersion !== present.metadata.resourceVersion)
      throw conflict('the object has been modified')
    return this.#store(path, stored, 'MODIFIED') as T
  }

  async apply<T>(): Promise<T> {
    throw new Error('the agent may not apply')
  }

  async patch<T>(): Promise<T> {
    throw new Error('the agent may not patch')
  }

  async delete(): Promise<void> {
    throw new Error('the agent may not delete')
  }

  async *watch<T>(
    path: string,
    signal: AbortSignal,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>> {
    this.#enter('watch', path)
    const from = Number(options.resourceVersion ?? 0)
    if (from < this.#oldest) throw conflict('too old resource version')
    const watcher = this.#newWatcher(path, options, from)
    const abort = () => this.#end(watcher, 'ended')
    signal.addEventListener('abort', abort, { once: true })
    try {
      for (;;) {
        const { promise, resolve } = Promise.withResolvers<void>()
        watcher.wake = resolve
        while (watcher.queue.length > 0 && !this.areWatchesFrozen)
          yield watcher.queue.shift() as WatchEvent<T>
        if (watcher.end instanceof Error) throw watcher.end
        if (watcher.end === 'ended' || signal.aborted) return
        await promise
      }
    } finally {
      signal.removeEventListener('abort', abort)
      this.#watchers.delete(watcher)
    }
  }

  /** As an administrator does with kubectl, past every check. */
  put(key: string, object: object): Stored {
    const type = this.#objects.has(key) ? 'MODIFIED' : 'ADDED'
    return this.#store(key, structuredClone(object) as Stored, type)
  }

  remove(key: string): void {
    const object = this.#read(key)
    this.#objects.delete(key)
    this.#tell(key, object, 'DELETED')
  }

  peek<T = Stored>(key: string): T | undefined {
    return structuredClone(this.#objects.get(key)) as T | undefined
  }

  keys(): string[] {
    return [...this.#objects.keys()]
  }

  bookmark(): void {
    for (const watcher of this.#watchers) {
      const metadata = { name: '', resourceVersion: String(this.#version) }
      watcher.queue.push({
        type: 'BOOKMARK',
        object: { apiVersion: 'v1', kind: 'Secret', metadata },
      })
      watcher.wake()
    }
  }

  /** Ends every watch, as the server does after a while, or with an error. */
  endWatches(end: 'ended' | Error = 'ended'): void {
    for (const watcher of this.#watchers) this.#end(watcher, end)
  }

  /** Versions before now cannot be watched from any more. */
  compact(): void {
    this.#oldest = this.#version
    this.endWatches(conflict('too old resource version'))
  }

  #enter(verb: Verb, path: string): void {
    this.calls.push({ verb, path })
    const fault = this.fault(verb, path)
    if (fault) throw fault
  }

  #read(key: string): Stored {
    const object = this.#objects.get(key)
    if (object) return structuredClone(object)
    throw new NotFoundError('MCM_NOT_FOUND', `${key} not found`)
  }

  #store(key: string, object: Stored, type: 'ADDED' | 'MODIFIED'): Stored {
    const uid = this.#objects.get(key)?.metadata.uid ?? `uid-${this.#version + 1}`
    const metadata = { ...object.metadata, uid, resourceVersion: String(this.#version + 1) }
    const stored = { ...object, metadata }
    this.#objects.set(key, stored)
    this.#tell(key, stored, type)
    return structuredClone(stored)
  }

  #tell(key: string, object: Stored, type: Change['type']): void {
    this.#version += 1
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) }
    const change = {
      version: this.#version,
      type,
      collection: collectionOf(key),
      object: { ...object, metadata },
    }
    this.#history.push(change)
    for (const watcher of this.#watchers) deliver(watcher, change)
  }

  #newWatcher(collection: string, options: WatchOptions, from: number): Watcher {
    const watcher: Watcher = { collection, options, queue: [], wake() {}, end: 'open' }
    this.#watchers.add(watcher)
    for (const change of this.#history) if (change.version > from) deliver(watcher, change)
    return watcher
  }

  #end(watcher: Watcher, end: 'ended' | Error): void {
    watcher.end = end
    watcher.wake()
  }
}

function deliver(watcher: Watcher, { type, collection, object }: Change): void {
  if (collection !== watcher.collection || !isSelected(object, watcher.options)) return
  watcher.queue.push({ type, object: structuredClone(object) })
  watcher.wake()
}

function isSelected({ metadata }: Stored, { labelSelector, fieldSelector }: ListOptions): boolean {
  const labels = (labelSelector ?? '').split(',').filter(Boolean)
  const hasLabels = labels.every((term) => {
    const [name, value] = term.split('=')
    return metadata.labels?.[name!] === value
  })
  return hasLabels && (!fieldSelector || fieldSelector === `metadata.name=${metadata.name}`)
}

function collectionOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/'))
}

function conflict(why: string): UnreachableError {
  return new UnreachableError('MCM_CONFLICT', why)
}
