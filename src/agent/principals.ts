/**
 * The people and bots of this cluster, as its agent remembers them: the allowlist of certificates,
 * and who or what was revoked. Kept in one Secret per principal, copied by a watch, the same in
 * every replica. It must not know what anybody may do, nor what the directory says.
 * Its invariant: a certificate is acknowledged only after it is written, and what was revoked here
 * stays revoked.
 */

import type { KubernetesApi } from '../client/kubernetes.ts'
import type { Admission } from '../directory/admission.ts'
import { isMcmError, messageOf } from '../errors.ts'
import type { IssuedCertificate } from '../protocol/messages.ts'
import {
  type IssuedTo,
  issuedIn,
  issuedTo,
  owns,
  requireSerial,
  revokedError,
  unknownOwner,
} from './issued-certificates.ts'
import { NowhereToBeFound } from './nowhere-to-be-found.ts'
import { OneAtATime } from './one-at-a-time.ts'
import {
  endedBetween,
  lastExpiryUnder,
  type Revoked,
  revocationOfDevice,
} from './principal-ends.ts'
import {
  admissionsIn,
  type CountingCas,
  type Ending,
  newRecord,
  type PrincipalRecord,
  type RecordedCertificate,
  readRecord,
  recordSecret,
  requireRoom,
  withAdmission,
  withCertificate,
  withEnding,
  withoutOldEnded,
  withPurged,
  withRestored,
  withRoom,
  withSuccessor,
} from './principal-record.ts'
import {
  changeSecret,
  principalSecretName,
  SECRETS_PATH,
  type StateSecret,
  stateSelector,
} from './state-secret.ts'
import {
  type Background,
  type WatchedCollection,
  type WatchedCollectionOptions,
  watchCollection,
} from './watched-collection.ts'

export type { IssuedTo } from './issued-certificates.ts'
export type { Revoked } from './principal-ends.ts'

/** A certificate that was just made. */
export interface NewCertificate
  extends Omit<RecordedCertificate, 'revoked' | 'replaced' | 'purged'> {
  /** Since when the directory knows the device: a revocation of before does not concern it. */
  readonly deviceSince: Date
  /** What lets the device in, where that is a token. */
  readonly admission?: Admission
}

/** What to revoke. Without `user` its owner is looked up among the certificates that stand. */
export type RevocationOrder =
  /** `devices`: those known to be of that user today, whether they ever were here or not. */
  | { readonly user: string; readonly devices?: readonly string[] }
  | { readonly device: string; readonly user?: string }
  | { readonly serial: string; readonly user?: string }

export interface Principals {
  /** Resolves when everything has been read once. */
  readonly ready: Promise<void>
  /** False when nothing was heard from the API server for so long that a revocation may have been missed. */
  isFresh(): boolean
  /** Whose a certificate is; undefined when it is not on the allowlist. From memory, for every request. */
  find(fingerprint: string): IssuedTo | undefined
  /**
   * The same, and when memory does not know it, one look at that user's Secret: the other replica
   * may have issued it a moment ago. @throws UnreachableError when that look fails
   */
  lookUp(fingerprint: string, user: string): Promise<IssuedTo | undefined>
  /** False when a user's Secret is damaged: nobody can tell what of theirs was revoked. */
  isReadable(user: string): boolean
  /** Since when a device of a user is revoked here, whether it ever got a certificate or not. */
  revocationOf(subject: {
    readonly user: string
    readonly device: string
    readonly deviceSince?: Date
  }): Date | undefined
  /**
   * Puts a certificate on the allowlist, for good, before it is handed out.
   * @throws AccessDeniedError MCM_REVOKED when its owner was revoked meanwhile, MCM_LIMIT when there are too many;
   *   UnreachableError
   */
  record(user: string, certificate: NewCertificate): Promise<void>
  /** Puts out of service what a certificate takes the place of, now that it is used. @throws UnreachableError */
  replace(what: { readonly user: string; readonly fingerprint: string }): Promise<void>
  /**
   * Revokes, in every replica. @throws NotFoundError MCM_USER_UNKNOWN when nobody owns it;
   * UnreachableError
   */
  revoke(order: RevocationOrder): Promise<Revoked>
  /** Its Secret: whoever may delete it may revoke that user (docs/PROTOCOL.md §8). */
  secretName(user: string): string
  /** Whose a device or a certificate is, as far as certificates were issued here. */
  ownerOf(what: { readonly device: string } | { readonly serial: string }): string | undefined
  /** A user's certificates that have not expired, or everybody's: those on the list unless told. */
  certificatesOf(user: string | undefined, where?: 'list' | 'bin'): IssuedCertificate[]
  /** Whoever put a certificate into the bin; undefined when it is not there. */
  purgedBy(serial: string): string | undefined
  /** Puts a certificate into the bin, in every replica. @throws NotFoundError, UnreachableError */
  purge(order: {
    readonly user: string
    readonly serial: string
    readonly by: string
  }): Promise<void>
  /** Takes it out again, as it was before. @throws NotFoundError, UnreachableError */
  restore(order: { readonly user: string; readonly serial: string }): Promise<void>
  /** The end of the newest certificate that a device of a user ever got. */
  lastExpiry(user: string, device: string): Date | undefined
  /** The same of those that stand and are of a CA which `counts`. */
  lastExpiryUnder(user: string, device: string, counts: CountingCas): Date | undefined
  /** Whom tokens have admitted, those included whose time is over; the same list until it changes. */
  admissions(): readonly Admission[]
  /** Calls back when something has ended, in whichever replica. Gives its own end. */
  onRevoked(listener: (what: Revoked) => void): () => void
}

export interface PrincipalsOptions {
  readonly cluster: string
  /** This agent issues; where the owner does, only these records say what has ended. */
  readonly isIssuer: boolean
  readonly watch?: Partial<WatchedCollectionOptions>
}

/** Reads and watches the principals of a cluster until the signal aborts. */
export function startPrincipals(
  api: KubernetesApi,
  options: PrincipalsOptions,
  background: Background,
): Principals {
  const { cluster, isIssuer, watch } = options
  const labelSelector = stateSelector(cluster, 'principal')
  const where = { ...watch, path: SECRETS_PATH, labelSelector }
  const secrets = watchCollection<StateSecret>(api, where, background)
  return new WatchedPrincipals(api, { cluster, isIssuer }, secrets, background)
}

class WatchedPrincipals implements Principals {
  readonly #api: KubernetesApi
  readonly #cluster: string
  readonly #isIssuer: boolean
  readonly #secrets: WatchedCollection<StateSecret>
  readonly #background: Background
  /** By user. */
  readonly #records = new Map<string, PrincipalRecord>()
  readonly #byFingerprint = new Map<string, IssuedTo>()
  /** Secrets, by name. */
  readonly #unreadable = new Set<string>()
  readonly #nowhere: NowhereToBeFound
  readonly #reads = new Map<string, Promise<void>>()
  readonly #listeners = new Set<(what: Revoked) => void>()
  #admissions: readonly Admission[] | undefined
  /** Writes to one user's Secret stand in line, so that only replicas ever meet. */
  readonly #writes = new OneAtATime()

  constructor(
    api: KubernetesApi,
    { cluster, isIssuer }: Pick<PrincipalsOptions, 'cluster' | 'isIssuer'>,
    secrets: WatchedCollection<StateSecret>,
    background: Background,
  ) {
    this.#api = api
    this.#cluster = cluster
    this.#isIssuer = isIssuer
    this.#secrets = secrets
    this.#background = background
    this.#nowhere = new NowhereToBeFound(background.world)
    secrets.onChange((after, before) => this.#replace(after, before))
  }

  get ready(): Promise<void> {
    return this.#secrets.ready
  }

  isFresh(): boolean {
    return this.#secrets.isFresh()
  }

  find(fingerprint: string): IssuedTo | undefined {
    return this.#byFingerprint.get(fingerprint)
  }

  async lookUp(fingerprint: string, user: string): Promise<IssuedTo | undefined> {
    const known = this.find(fingerprint)
    if (known !== undefined || this.#nowhere.has(fingerprint)) return known
    await this.#readOnce(user)
    const found = this.find(fingerprint)
    if (found === undefined) this.#nowhere.add(fingerprint)
    return found
  }

  isReadable(user: string): boolean {
    return !this.#unreadable.has(principalSecretName(this.#cluster, user))
  }

  revocationOf(subject: { user: string; device: string; deviceSince?: Date }): Date | undefined {
    const record = this.#records.get(subject.user)
    return record && revocationOfDevice(record, subject.device, subject.deviceSince)
  }

  async record(user: string, certificate: NewCertificate): Promise<void> {
    const { deviceSince, admission, ...recorded } = certificate
    await this.#change(user, (record) => {
      const revoked = revocationOfDevice(record, recorded.device, deviceSince)
      if (revoked !== undefined) throw revokedError(user, revoked)
      const now = this.#now()
      const admitted = admission ? withAdmission(record, admission, now) : record
      const listed = this.#settled(withCertificate(admitted, recorded, now))
      const after = withRoom(listed, recorded.device)
      requireRoom(after)
      return after
    })
  }

  async replace({ user, fingerprint }: { user: string; fingerprint: string }): Promise<void> {
    await this.#change(user, (record) => withSuccessor(record, fingerprint, this.#now()))
  }

  async revoke(order: RevocationOrder): Promise<Revoked> {
    const user = order.user ?? this.ownerOf(order as { device: string } | { serial: string })
    if (user === undefined) throw unknownOwner()
    const ending: Ending =
      'device' in order ? { device: order.device } : 'serial' in order ? order : 'everything'
    const others = 'devices' in order ? order.devices : []
    await this.#change(user, (record) => {
      if (ending !== 'everything' && 'serial' in ending) requireSerial(record, ending.serial)
      return withEnding(record, ending, this.#now(), others)
    })
    return { user, ...('device' in order ? { device: order.device } : {}) }
  }

  secretName(user: string): string {
    return principalSecretName(this.#cluster, user)
  }

  ownerOf(what: { device: string } | { serial: string }): string | undefined {
    const records = [...this.#records.values()]
    return records.find((record) => owns(record, what))?.user
  }

  certificatesOf(user: string | undefined, where: 'list' | 'bin' = 'list'): IssuedCertificate[] {
    const own = user === undefined ? undefined : this.#records.get(user)
    const records = user === undefined ? [...this.#records.values()] : own ? [own] : []
    return records.flatMap((record) => issuedIn(record, where, this.#now()))
  }

  purgedBy(serial: string): string | undefined {
    const all = [...this.#records.values()].flatMap(({ certificates }) => certificates)
    return all.find((each) => each.serial === serial)?.purged?.by
  }

  async purge({ user, serial, by }: { user: string; serial: string; by: string }): Promise<void> {
    await this.#change(user, (record) => {
      requireSerial(record, serial)
      return withPurged(record, serial, by, this.#now())
    })
  }

  async restore({ user, serial }: { user: string; serial: string }): Promise<void> {
    await this.#change(user, (record) => {
      requireSerial(record, serial)
      return withRestored(record, serial)
    })
  }

  lastExpiry(user: string, device: string): Date | undefined {
    return this.#records.get(user)?.devices[device]?.lastExpiry
  }

  lastExpiryUnder(user: string, device: string, counts: CountingCas): Date | undefined {
    const record = this.#records.get(user)
    return record && lastExpiryUnder(record, device, counts)
  }

  admissions(): readonly Admission[] {
    this.#admissions ??= [...this.#records.values()].flatMap(admissionsIn)
    return this.#admissions
  }

  onRevoked(listener: (what: Revoked) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** However many ask at once, one reads. */
  #readOnce(user: string): Promise<void> {
    const pending = this.#reads.get(user) ?? this.#read(user)
    this.#reads.set(user, pending)
    return pending.finally(() => this.#reads.delete(user))
  }

  async #read(user: string): Promise<void> {
    const path = `${SECRETS_PATH}/${principalSecretName(this.#cluster, user)}`
    const secret = await this.#api.getIfAny<StateSecret>(path)
    if (secret !== undefined) this.#secrets.learn(secret)
  }

  #change(user: string, change: (record: PrincipalRecord) => PrincipalRecord): Promise<void> {
    return this.#writes.run(user, () => this.#write(user, change))
  }

  async #write(user: string, change: (record: PrincipalRecord) => PrincipalRecord): Promise<void> {
    const name = principalSecretName(this.#cluster, user)
    const written = await changeSecret(this.#api, name, (current) => {
      const record = current === undefined ? newRecord(user) : readRecord(current)
      return recordSecret(this.#cluster, this.#settled(change(record)), current)
    })
    if (written !== undefined) this.#secrets.learn(written)
  }

  #settled(record: PrincipalRecord): PrincipalRecord {
    return this.#isIssuer ? withoutOldEnded(record) : record
  }

  #replace(after: StateSecret | undefined, before: StateSecret | undefined): void {
    const old = before && this.#recordOf(before)
    const next = after && this.#recordOf(after)
    if (before) this.#unreadable.delete(before.metadata.name)
    if (after && !next) this.#unreadable.add(after.metadata.name)
    if (old) this.#forget(old)
    if (next) this.#remember(next)
    for (const ended of old ? endedBetween(old, next, this.#now()) : []) this.#tell(ended)
  }

  #remember(record: PrincipalRecord): void {
    const { user } = record
    this.#records.set(user, record)
    if (admissionsIn(record).length > 0) this.#admissions = undefined
    for (const certificate of record.certificates) {
      const { fingerprint } = certificate
      this.#byFingerprint.set(fingerprint, issuedTo(record, certificate))
      this.#nowhere.delete(fingerprint)
    }
  }

  #forget(record: PrincipalRecord): void {
    const { user, certificates } = record
    this.#records.delete(user)
    if (admissionsIn(record).length > 0) this.#admissions = undefined
    for (const { fingerprint } of certificates) this.#byFingerprint.delete(fingerprint)
  }

  /**
   * Undefined for a Secret that cannot be read or stands under another user's name: nobody gets in
   * by it.
   */
  #recordOf(secret: StateSecret): PrincipalRecord | undefined {
    const { name } = secret.metadata
    try {
      const record = readRecord(secret)
      if (principalSecretName(this.#cluster, record.user) === name) return record
      this.#background.log.error('principal_misplaced', { secret: name })
    } catch (error) {
      if (!isMcmError(error)) throw error
      this.#background.log.error('principal_damaged', { secret: name })
    }
    return undefined
  }

  #tell(ended: Revoked): void {
    for (const listener of this.#listeners) {
      try {
        listener(ended)
      } catch (error) {
        this.#background.log.error('revocation_listener_failed', { reason: messageOf(error) })
      }
    }
  }

  #now(): Date {
    return this.#background.world.now()
  }
}
