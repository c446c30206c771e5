/**
 * When and from where each certificate was used last. Kept in memory by request, folded now and then into
 * one Secret of this replica, and read with those of the others when somebody asks. It knows the audit's
 * events and nothing of who may see what. Invariant: no request ever waits for it, and none makes a write.
 */

import { z } from 'zod'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { formatTime } from '../directory/time.ts'
import { messageOf } from '../errors.ts'
import { type CertificateUse, certificateUseSchema } from '../protocol/messages.ts'
import { type AuditEvent, wasLetIn } from './audit-event.ts'
import {
  changeSecret,
  newStateSecret,
  SECRETS_PATH,
  type StateSecret,
  secretValue,
  stateSelector,
  usesSecretName,
  withValues,
} from './state-secret.ts'
import type { Background } from './watched-collection.ts'

export interface CertificateUses {
  /** Takes an audit event in. Never throws. */
  note(event: AuditEvent): void
  /**
   * The latest use of each certificate, by fingerprint: in every replica, as it was folded at most 5 s ago, or while
   * they cannot be read in this one. However many ask, one reads.
   */
  last(): Promise<LastUses>
  /** Writes what has changed since it was written; said and kept when it cannot be. */
  fold(): Promise<void>
}

export type LastUses = Pick<ReadonlyMap<string, CertificateUse>, 'get'>

/** Whose certificate it is; undefined for one that is neither on the list nor in the bin. */
export type UserOf = (fingerprint: string) => string | undefined

type Uses = Map<string, CertificateUse>

interface Place {
  readonly cluster: string
  readonly replica: string
  readonly foldMs?: number
}

const FOLD_MS = 5 * 60_000
/** A Secret that nobody has written for so long belongs to a replica that is gone. */
const DESERTED_MS = 3 * FOLD_MS
/** About 130 bytes each, of the 1 MiB that a Secret holds. */
const MAX_USES = 5_000
/** So nobody's many certificates push out when others' were used. */
const MAX_USES_PER_USER = 64
/** Reading takes megabytes, so it is done once for all who ask within this time. */
const READ_MS = 5_000
/** More replicas than this are never there at a time. */
const MAX_SECRETS = 32
const KEY = 'uses.json'

const schema = z.object({
  replica: z.string(),
  written: z.iso.datetime(),
  uses: z.record(z.string(), certificateUseSchema),
})
type Folded = z.infer<typeof schema>

/** Starts to fold every five minutes, until the signal aborts. */
export function startCertificateUses(
  api: KubernetesApi,
  place: Place,
  userOf: UserOf,
  background: Background,
): CertificateUses {
  const uses = new FoldedUses(api, place, userOf, background)
  const timer = setInterval(() => void uses.fold(), place.foldMs ?? FOLD_MS).unref()
  background.signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  return uses
}

class FoldedUses implements CertificateUses {
  readonly #api: KubernetesApi
  readonly #place: Place
  readonly #userOf: UserOf
  readonly #background: Background
  readonly #uses: Uses = new Map()
  /** Which of the Secrets is this replica's. */
  #number: number | undefined
  #hasChanged = false
  #folding: Promise<void> = Promise.resolve()
  #read: { readonly at: number; readonly folded: Promise<Uses> } | undefined

  constructor(api: KubernetesApi, place: Place, userOf: UserOf, background: Background) {
    this.#api = api
    this.#place = place
    this.#userOf = userOf
    this.#background = background
  }

  note(event: AuditEvent): void {
    const { certificate, address, addressByHub } = event
    if (!wasLetIn(event) || this.#userOf(certificate) === undefined) return
    const time = formatTime(this.#background.world.now())
    // The latest last, so that the oldest are the first to go.
    this.#uses.delete(certificate)
    this.#uses.set(certificate, {
      time,
      ...(address === undefined ? {} : { address }),
      ...(addressByHub === undefined ? {} : { addressByHub }),
    })
    this.#hasChanged = true
    forgetOldest(this.#uses)
  }

  async last(): Promise<LastUses> {
    const folded = await this.#shared()
    return {
      get: (fingerprint) => later(folded.get(fingerprint), this.#uses.get(fingerprint)),
    }
  }

  fold(): Promise<void> {
    const folding = this.#folding.then(() => this.#fold())
    this.#folding = folding
    return folding
  }

  #shared(): Promise<Uses> {
    const at = this.#background.world.now().getTime()
    if (this.#read && Math.abs(at - this.#read.at) < READ_MS) return this.#read.folded
    const folded = this.#readAll()
    this.#read = { at, folded }
    return folded
  }

  async #readAll(): Promise<Uses> {
    const merged: Uses = new Map()
    const secrets = await this.#secrets().catch((error) => {
      this.#background.log.warn('certificate_uses_not_read', { reason: messageOf(error) })
      return []
    })
    for (const secret of secrets) mergeUses(merged, Object.entries(foldedIn(secret)?.uses ?? {}))
    return new Map(this.#kept(merged))
  }

  /** The newest first: of certificates that are on the list or in the bin, so many of each user. */
  #kept(uses: Uses): [string, CertificateUse][] {
    const counts = new Map<string, number>()
    const isKept = ([fingerprint]: [string, CertificateUse]) => {
      const user = this.#userOf(fingerprint)
      if (user === undefined) return false
      const count = (counts.get(user) ?? 0) + 1
      counts.set(user, count)
      return count <= MAX_USES_PER_USER
    }
    return newestFirst(uses).filter(isKept).slice(0, MAX_USES)
  }

  /** What has left the list leaves memory, too. */
  #forgetUnknown(): void {
    for (const fingerprint of this.#uses.keys())
      if (this.#userOf(fingerprint) === undefined) this.#uses.delete(fingerprint)
  }

  async #fold(): Promise<void> {
    if (!this.#hasChanged) return
    this.#hasChanged = false
    this.#forgetUnknown()
    try {
      this.#number ??= await this.#ownNumber()
      if (await this.#write(this.#number)) return
      // Another replica took it while we were silent.
      this.#number = undefined
      this.#hasChanged = true
    } catch (error) {
      this.#hasChanged = true
      this.#background.log.warn('certificate_uses_not_written', { reason: messageOf(error) })
    }
  }

  /** That of before, or one that is deserted, or a new one. */
  async #ownNumber(): Promise<number> {
    const taken = new Map<number, Folded | undefined>()
    for (const secret of await this.#secrets())
      taken.set(Number(secret.metadata.name.split('-').at(-1)), foldedIn(secret))
    const numbers = [...Array(MAX_SECRETS).keys()]
    const own = numbers.find((number) => taken.get(number)?.replica === this.#place.replica)
    const free = numbers.find((number) => !taken.has(number) || this.#mayTake(taken.get(number)))
    return own ?? free ?? MAX_SECRETS
  }

  #mayTake(folded: Folded | undefined): boolean {
    if (folded === undefined || folded.replica === this.#place.replica) return true
    const age = this.#background.world.now().getTime() - Date.parse(folded.written)
    return age > DESERTED_MS
  }

  /** With what stands in it already; false when it is another replica's now. */
  async #write(number: number): Promise<boolean> {
    const { cluster, replica } = this.#place
    let isOurs = true
    await changeSecret(this.#api, usesSecretName(cluster, number), (current) => {
      const before = current && foldedIn(current)
      isOurs = this.#mayTake(before)
      if (!isOurs) return undefined
      const merged: Uses = new Map()
      mergeUses(merged, Object.entries(before?.uses ?? {}))
      mergeUses(merged, this.#uses)
      const written = formatTime(this.#background.world.now())
      const text = JSON.stringify({
        replica,
        written,
        uses: Object.fromEntries(this.#kept(merged)),
      })
      if (current !== undefined) return withValues(current, { [KEY]: text })
      return newStateSecret(usesSecretName(cluster, number), cluster, 'uses', { [KEY]: text })
    })
    return isOurs
  }

  async #secrets(): Promise<readonly StateSecret[]> {
    const labelSelector = stateSelector(this.#place.cluster, 'uses')
    return (await this.#api.list<StateSecret>(SECRETS_PATH, { labelSelector })).items
  }
}

/** Undefined for one that cannot be read: it is overwritten. */
function foldedIn(secret: StateSecret): Folded | undefined {
  try {
    return schema.parse(JSON.parse(secretValue(secret, KEY)?.toString('utf8') ?? ''))
  } catch {
    return undefined
  }
}

function mergeUses(into: Uses, uses: Iterable<readonly [string, CertificateUse]>): void {
  for (const [fingerprint, use] of uses) {
    const latest = later(into.get(fingerprint), use)
    if (latest) into.set(fingerprint, latest)
  }
}

function later(a: CertificateUse | undefined, b: CertificateUse | undefined) {
  if (a === undefined || b === undefined) return a ?? b
  return a.time <= b.time ? b : a
}

function newestFirst(uses: Uses): [string, CertificateUse][] {
  return [...uses].sort(([, a], [, b]) => (a.time < b.time ? 1 : -1))
}

function forgetOldest(uses: Uses): void {
  if (uses.size <= MAX_USES) return
  const [oldest] = uses.keys()
  if (oldest !== undefined) uses.delete(oldest)
}
