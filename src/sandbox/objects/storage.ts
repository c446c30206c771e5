/**
 * The objects, in memory, with one revision for all of them, as etcd has. Objects are never changed in
 * place, so a list is a snapshot. The last changes of each resource are kept for watches that resume.
 */
import { type KubeObject, withMetadata } from '../json.ts'
import { RESOURCES, type Resource } from './resources.ts'

export interface Change {
  readonly revision: number
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  /** For DELETED: the last state, with the revision of the deletion. */
  readonly object: KubeObject
  readonly previous?: KubeObject
}

type Listener = (change: Change) => void

interface Shelf {
  readonly objects: Map<string, KubeObject>
  readonly listeners: Set<Listener>
  readonly changes: Change[]
  /** Changes up to this revision are forgotten. */
  forgottenRevision: number
}

/** At least so many changes of a resource are remembered, at most twice as many. */
const KEPT_CHANGES = 1000

export class Storage {
  #revision = 1
  readonly #shelves: ReadonlyMap<Resource, Shelf>

  constructor() {
    const shelf = () => ({
      objects: new Map(),
      listeners: new Set<Listener>(),
      changes: [],
      forgottenRevision: 0,
    })
    this.#shelves = new Map(RESOURCES.map((resource) => [resource, shelf()]))
  }

  get revision(): number {
    return this.#revision
  }

  get(resource: Resource, namespace: string, name: string): KubeObject | undefined {
    return this.#shelf(resource).objects.get(keyOf(namespace, name))
  }

  /** By namespace and name, in the order of etcd's keys. */
  list(resource: Resource, namespace = ''): readonly KubeObject[] {
    const { objects } = this.#shelf(resource)
    const keys = [...objects.keys()].filter((key) => !namespace || key.startsWith(`${namespace}/`))
    return keys.sort().map((key) => objects.get(key)!)
  }

  /** Stores an object under its name, stamped with the next revision. */
  put(resource: Resource, object: KubeObject): KubeObject {
    const { namespace = '', name = '' } = object.metadata
    const { objects } = this.#shelf(resource)
    const previous = objects.get(keyOf(namespace, name))
    const stored = this.#stamp(object)
    objects.set(keyOf(namespace, name), stored)
    const type = previous ? 'MODIFIED' : 'ADDED'
    this.#announce(resource, {
      type,
      object: stored,
      revision: this.#revision,
      ...(previous && { previous }),
    })
    return stored
  }

  /** Takes an object away and answers its last state. */
  remove(resource: Resource, object: KubeObject): KubeObject {
    const { namespace = '', name = '' } = object.metadata
    this.#shelf(resource).objects.delete(keyOf(namespace, name))
    const removed = this.#stamp(object)
    this.#announce(resource, {
      type: 'DELETED',
      object: removed,
      previous: object,
      revision: this.#revision,
    })
    return removed
  }

  /** Calls back on every later change; the answer ends it. */
  subscribe(resource: Resource, listener: Listener): () => void {
    const { listeners } = this.#shelf(resource)
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** The changes after a revision, undefined when they are no longer all known. */
  changesSince(resource: Resource, revision: number): readonly Change[] | undefined {
    const { changes, forgottenRevision } = this.#shelf(resource)
    if (revision < forgottenRevision) return undefined
    return changes.filter((change) => change.revision > revision)
  }

  /** The oldest revision a watch can start from. */
  oldestRevision(resource: Resource): number {
    return this.#shelf(resource).forgottenRevision
  }

  #stamp(object: KubeObject): KubeObject {
    this.#revision += 1
    return withMetadata(object, { resourceVersion: String(this.#revision) })
  }

  #announce(resource: Resource, change: Change): void {
    const shelf = this.#shelf(resource)
    shelf.changes.push(change)
    if (shelf.changes.length >= 2 * KEPT_CHANGES) {
      const forgotten = shelf.changes.splice(0, KEPT_CHANGES)
      shelf.forgottenRevision = forgotten.at(-1)!.revision
    }
    for (const listener of [...shelf.listeners]) listener(change)
  }

  #shelf(resource: Resource): Shelf {
    return this.#shelves.get(resource)!
  }
}

function keyOf(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`
}
