/**
 * The directory as this agent has verified it. Whatever a hub sends is checked by room directory
 * before anything is believed, and what was believed once is remembered in a Secret that all
 * replicas watch: the highest head, and the chain with its details while they fit.
 * Its invariant: the head never goes back, not across replicas and not across restarts, and a
 * revocation that was seen once is never forgotten because a hub leaves its detail out later.
 */

import type { KubernetesApi } from '../client/kubernetes.ts'
import { Directory, requireNotRolledBack } from '../directory/directory.ts'
import type { DirectoryState } from '../directory/state.ts'
import { messageOf, TrustError } from '../errors.ts'
import type { DetailEnvelope, DirectoryAppend, Head } from '../protocol/messages.ts'
import { type Remembered, readRemembered, valuesToRemember } from './directory-memory.ts'
import {
  changeSecret,
  directorySecretName,
  newStateSecret,
  SECRETS_PATH,
  type StateSecret,
  withValues,
} from './state-secret.ts'
import {
  type Background,
  type WatchedCollection,
  type WatchedCollectionOptions,
  watchCollection,
} from './watched-collection.ts'

export interface DirectoryHolder {
  readonly directory: Directory
  readonly state: DirectoryState
  readonly head: Head | null
  /** The highest head that any replica has seen, now or before a restart. */
  readonly remembered: Head | undefined
  /**
   * False until all that was ever seen is verified again, and when another replica has long seen
   * more than we were shown: whoever is let in by such a directory may have been revoked.
   */
  isFresh(): boolean
  /**
   * Takes in what a hub or a client sends, and gives the head after it, when it is remembered. Comes again
   * harmlessly. `added` hears what was held just before and what with it, before anything that came later.
   * @throws TrustError MCM_DIRECTORY_INVALID, MCM_DIRECTORY_ROLLED_BACK; UnreachableError when it
   *   is believed and could not be written: send it again
   */
  apply(append: DirectoryAppend, added?: DirectoryAddition): Promise<Head>
  /** Calls back with what it says now and what it said before. Gives its own end. */
  onChange(listener: DirectoryListener): () => void
}

export type DirectoryAddition = (before: Directory, after: Directory) => void
export type DirectoryListener = (after: DirectoryState, before: DirectoryState) => void

/** A Secret holds 1 MiB (kubernetes pkg/apis/core/types.go, MaxSecretSize). */
const MAX_CHAIN_BYTES = 1_000_000
/** How long another replica may be ahead before our view is too old to let anybody in by it. */
const MAXIMUM_LAG_MS = 60_000

/** Where and how much is remembered. */
interface Place {
  readonly name: string
  readonly cluster: string
  readonly fleet: string
  readonly maxChainBytes: number
}

/**
 * Reads what is remembered, verifies it, and watches what other replicas add, until the signal
 * aborts.
 * @throws StateError MCM_STATE_DAMAGED; UnreachableError, AccessDeniedError of the API server
 */
export async function openDirectoryHolder(
  api: KubernetesApi,
  options: {
    readonly cluster: string
    readonly fleet: string
    readonly watch?: Partial<WatchedCollectionOptions>
    /** How much of the chain, packed, is kept; 1 MB unless told. */
    readonly maxChainBytes?: number
  },
  background: Background,
): Promise<DirectoryHolder> {
  const { cluster, fleet, watch, maxChainBytes = MAX_CHAIN_BYTES } = options
  const name = directorySecretName(cluster)
  const holder = new Holder(api, { name, cluster, fleet, maxChainBytes }, background)
  const secret = await api.getIfAny<StateSecret>(`${SECRETS_PATH}/${name}`)
  if (secret !== undefined) {
    await readRemembered(secret)
    await holder.learn(secret)
  }
  const where = { ...watch, path: SECRETS_PATH, fieldSelector: `metadata.name=${name}` }
  const secrets: WatchedCollection<StateSecret> = watchCollection(api, where, background)
  secrets.onChange((after) => {
    if (after !== undefined) void holder.learn(after)
  })
  return holder
}

class Holder implements DirectoryHolder {
  readonly #api: KubernetesApi
  readonly #place: Place
  readonly #background: Background
  readonly #listeners = new Set<DirectoryListener>()
  #directory: Directory
  /** The highest head that any replica has seen. */
  #remembered: Head | undefined
  /** Details that are written already, so that a repeated push writes nothing. */
  #writtenDetails = -1
  #behindSince: number | undefined
  /** Remembered without their chain, by number. */
  readonly #revocations = new Map<number, DetailEnvelope>()
  /** Whether all that was ever remembered has been verified since the start. */
  #hasCaughtUp = false
  /** One change at a time: each starts from what the one before left. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(api: KubernetesApi, place: Place, background: Background) {
    this.#api = api
    this.#place = place
    this.#background = background
    this.#directory = Directory.empty(place.fleet)
  }

  get directory(): Directory {
    return this.#directory
  }

  get state(): DirectoryState {
    return this.#directory.state
  }

  get head(): Head | null {
    return this.#directory.head
  }

  get remembered(): Head | undefined {
    return this.#remembered
  }

  isFresh(): boolean {
    if (!this.#hasCaughtUp) return false
    if (this.#behindSince === undefined) return true
    return Math.abs(this.#now() - this.#behindSince) <= MAXIMUM_LAG_MS
  }

  apply(append: DirectoryAppend, added?: DirectoryAddition): Promise<Head> {
    return this.#inTurn(async () => {
      const before = this.#directory
      const next = await this.#withRevocations(await before.extend(append))
      if (next.head === null) throw nothingThere()
      this.#requireNotRolledBack(next)
      await this.#adoptAndWrite(next)
      added?.(before, next)
      return this.head!
    })
  }

  /** Takes in what a replica, this one included, has remembered. Never rejects. */
  learn(secret: StateSecret): Promise<void> {
    return this.#inTurn(async () => {
      try {
        await this.#join(await readRemembered(secret))
      } catch (error) {
        this.#background.log.error('directory_memory_refused', { reason: messageOf(error) })
      }
    })
  }

  onChange(listener: DirectoryListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Believed at once, so that a revocation counts although it cannot be written; answered when it
   * is.
   */
  async #adoptAndWrite(next: Directory): Promise<void> {
    const before = this.#directory
    this.#adopt(next)
    try {
      await this.#write()
    } catch (error) {
      // Two chains are signed: the one that was remembered first stays.
      if (error instanceof TrustError) this.#adopt(before)
      throw error
    }
  }

  async #write(): Promise<void> {
    if (this.#isWritten()) return
    const { name, cluster } = this.#place
    await changeSecret(this.#api, name, async (current) => {
      if (current !== undefined) await this.#join(await readRemembered(current))
      if (this.#isWritten() || this.#isBehind()) return undefined
      const values = await this.#values()
      if (current === undefined) return newStateSecret(name, cluster, 'directory', values)
      return withValues(current, values)
    })
    if (!this.#isBehind()) this.#note(this.head!, this.#directory.details.size)
  }

  #isWritten(): boolean {
    const isSameHead = this.#remembered?.hash === this.head?.hash
    return isSameHead && this.#writtenDetails >= this.#directory.details.size
  }

  /**
   * Puts together what is remembered and what is held. @throws TrustError when they are two chains
   */
  async #join({ head, page }: Remembered): Promise<void> {
    const chain = page !== undefined && page.statements.length > 0 ? page : undefined
    this.#note(head, chain?.details.length)
    if (!chain) for (const detail of page?.details ?? []) this.#revocations.set(detail.seq, detail)
    const known = chain ? await this.#directory.extend(chain) : this.#directory
    this.#adopt(await this.#withRevocations(known))
    if (this.head !== null) this.#requireNotRolledBack(this.#directory)
  }

  /** With what is remembered of its statements although a hub may not show it. */
  async #withRevocations(directory: Directory): Promise<Directory> {
    const last = directory.head?.seq ?? -1
    const details = [...this.#revocations.values()].filter(
      ({ seq }) => seq <= last && !directory.details.has(seq),
    )
    return details.length === 0 ? directory : directory.extend({ statements: [], details })
  }

  /**
   * The place that was seen must hold the same statement. A chain that ends before it may still be
   * on its way, in pieces; until it is there nobody is let in by it (`isFresh`).
   */
  #requireNotRolledBack(directory: Directory): void {
    const remembered = this.#remembered
    if (remembered === undefined || (directory.head?.seq ?? -1) < remembered.seq) return
    requireNotRolledBack(directory, remembered)
  }

  #note(head: Head, writtenDetails: number | undefined): void {
    if (this.#remembered === undefined || head.seq > this.#remembered.seq) this.#remembered = head
    if (writtenDetails !== undefined) this.#writtenDetails = writtenDetails
    this.#judgeLag()
  }

  async #values(): Promise<Record<string, string | Uint8Array>> {
    const { maxChainBytes } = this.#place
    const { values, isWhole } = await valuesToRemember(this.#directory, maxChainBytes)
    if (!isWhole) this.#background.log.warn('directory_too_long_to_keep', { ...this.head })
    return values
  }

  #adopt(next: Directory): void {
    const before = this.#directory
    const isSameHead = next.head?.hash === before.head?.hash
    if (isSameHead && next.details.size === before.details.size) return
    this.#directory = next
    this.#judgeLag()
    for (const listener of this.#listeners) {
      try {
        listener(next.state, before.state)
      } catch (error) {
        const reason = messageOf(error)
        this.#background.log.error('directory_listener_failed', { reason })
      }
    }
  }

  #isBehind(): boolean {
    return (this.#remembered?.seq ?? -1) > (this.head?.seq ?? -1)
  }

  #judgeLag(): void {
    const isBehind = this.#isBehind()
    this.#behindSince = isBehind ? (this.#behindSince ?? this.#now()) : undefined
    if (!isBehind && this.head !== null) this.#hasCaughtUp = true
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }

  #now(): number {
    return this.#background.world.now().getTime()
  }
}

function nothingThere(): TrustError {
  return new TrustError('MCM_DIRECTORY_INVALID', 'the hub sent a directory without any statement', {
    hint: 'nothing was changed; look at the hub',
  })
}
