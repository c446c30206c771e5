/**
 * Which CAs the agent uses at this moment (docs/PROTOCOL.md §12). Knows those of its Secret and what an admin has
 * signed about them; makes the next ones when it is asked to, and nothing of who may ask. Invariant: a CA that
 * no statement names is never used, and one whose time is over is never used again.
 */

import { X509Certificate } from 'node:crypto'
import type { KubernetesApi } from '../client/kubernetes.ts'
import type { ClusterRecord, DirectoryState } from '../directory/state.ts'
import { messageOf, UsageError } from '../errors.ts'
import type { Authority } from '../pki/authority.ts'
import { sha256 } from '../protocol/keys.ts'
import type { OfferedAuthorities } from '../protocol/messages.ts'
import type { AgentConfiguration } from './configuration.ts'
import {
  type AgentIdentity,
  type ClusterAuthorities,
  readIdentity,
  withNextAuthorities,
  withNextInPlace,
} from './identity-secret.ts'
import { changeSecret, SECRETS_PATH, type StateSecret } from './state-secret.ts'
import { type Background, watchCollection } from './watched-collection.ts'

export interface Authorities {
  /** As it stands in the Secret. */
  readonly identity: AgentIdentity
  /** Signs what the agent shows, now. */
  readonly serverAuthority: Authority
  /** Signs users' certificates, now; undefined where the owner issues. */
  readonly userAuthority: Authority | undefined
  /** The user CAs whose certificates count now, the newest first. */
  userCas(): readonly Buffer[]
  /** Whether certificates of the user CA with this fingerprint count now. */
  accepts(authority: string): boolean
  /**
   * The CAs that wait to be signed, made now when none do. @throws UsageError MCM_BAD_REQUEST another rotation is
   * under way, or `userCa` is missing, not wanted or no certificate; UnreachableError
   */
  offer(order: { readonly userCa?: string }): Promise<OfferedAuthorities>
  /** Calls back when others are used than a moment ago. Gives its own end. */
  onChange(listener: () => void): () => void
}

/** Time passes without telling anybody. */
const TICK_MS = 1_000

export interface AuthoritiesOptions {
  readonly configuration: AgentConfiguration
  readonly identity: AgentIdentity
  readonly directory: {
    readonly state: Pick<DirectoryState, 'clusters'>
    onChange(listener: () => void): () => void
  }
}

/** Watches Secret, directory and clock until the signal aborts. */
export function startAuthorities(
  api: KubernetesApi,
  options: AuthoritiesOptions,
  background: Background,
): Authorities {
  const holder = new Holder(api, options, background)
  const fieldSelector = `metadata.name=${options.identity.secret.name}`
  const where = { path: SECRETS_PATH, fieldSelector }
  watchCollection<StateSecret>(api, where, background).onChange((after) => {
    if (after !== undefined) holder.learn(after)
  })
  const { signal } = background
  const timer = setInterval(() => holder.look(), TICK_MS).unref()
  const end = options.directory.onChange(() => holder.look())
  signal.addEventListener(
    'abort',
    () => {
      clearInterval(timer)
      end()
    },
    { once: true },
  )
  return holder
}

/** Which CAs do what. */
interface Roles {
  readonly shown: ClusterAuthorities
  readonly issuing: ClusterAuthorities
  readonly accepted: readonly ClusterAuthorities[]
  /** Those before are of no use any more. */
  readonly isOver: boolean
}

/** What each of the agent's CAs is for, by what is signed of the cluster. */
export function rolesOf(
  identity: AgentIdentity,
  record: ClusterRecord | undefined,
  now: Date,
): Roles {
  const { next } = identity
  if (next === undefined || record === undefined || !areSigned(next, record))
    return { shown: identity, issuing: identity, accepted: [identity], isOver: false }
  const { previous } = record
  if (previous === undefined || now >= previous.until)
    return { shown: next, issuing: next, accepted: [next], isOver: true }
  return { shown: identity, issuing: next, accepted: [next, identity], isOver: false }
}

/** Whether the cluster is signed with exactly these CAs. */
export function areSigned(
  { serverAuthority, userCaDer }: ClusterAuthorities,
  record: Pick<ClusterRecord, 'serverCaDer' | 'userCaDer'>,
): boolean {
  return (
    record.serverCaDer.equals(serverAuthority.certificateDer) && record.userCaDer.equals(userCaDer)
  )
}

class Holder implements Authorities {
  identity: AgentIdentity
  readonly #api: KubernetesApi
  readonly #options: AuthoritiesOptions
  readonly #background: Background
  readonly #listeners = new Set<() => void>()
  #lastSeen: string
  #forgetting: Promise<void> | undefined

  constructor(api: KubernetesApi, options: AuthoritiesOptions, background: Background) {
    this.identity = options.identity
    this.#api = api
    this.#options = options
    this.#background = background
    this.#lastSeen = fingerprintOf(this.#roles())
  }

  get serverAuthority(): Authority {
    return this.#roles().shown.serverAuthority
  }

  get userAuthority(): Authority | undefined {
    return this.#roles().issuing.userAuthority
  }

  userCas(): readonly Buffer[] {
    return this.#roles().accepted.map(({ userCaDer }) => userCaDer)
  }

  accepts(authority: string): boolean {
    return this.userCas().some((der) => sha256(der) === authority)
  }

  async offer({ userCa }: { readonly userCa?: string }): Promise<OfferedAuthorities> {
    const { configuration, identity } = this.#options
    const isOwners = configuration.userCaPem !== undefined
    if (isOwners !== (userCa !== undefined)) throw badOrder(whoseUserCa(isOwners))
    if (this.#roles().isOver) await this.#forget()
    if (this.#areNextSigned()) throw badOrder('a rotation of its CAs is under way')
    const owners = userCa === undefined ? undefined : this.#owners(userCa)
    const { world } = this.#background
    const written = await changeSecret(
      this.#api,
      identity.secret.name,
      (current) => current && withNextAuthorities(current, configuration.cluster, owners, world),
    )
    if (written === undefined) throw new Error(`Secret ${identity.secret.name} is gone`)
    this.learn(written)
    const { next } = readIdentity(written, configuration)
    if (next === undefined) throw new Error('the next CAs were not kept')
    const offered = {
      serverCa: next.serverAuthority.certificateDer.toString('base64'),
      userCa: next.userCaDer.toString('base64'),
    }
    if (userCa !== undefined && offered.userCa !== userCa)
      throw badOrder('another user CA of its owner waits to be signed already')
    return offered
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes in what a replica, this one included, has written. */
  learn(secret: StateSecret): void {
    try {
      this.identity = readIdentity(secret, this.#options.configuration)
    } catch (error) {
      this.#background.log.error('identity_refused', { reason: messageOf(error) })
    }
    this.look()
  }

  look(): void {
    const roles = this.#roles()
    if (roles.isOver) void this.#forget()
    const seen = fingerprintOf(roles)
    if (seen === this.#lastSeen) return
    this.#lastSeen = seen
    this.#background.log.info('authorities_changed', { certificates: roles.accepted.length })
    for (const listener of this.#listeners) listener()
  }

  /** The CAs before are taken out of the Secret; every replica tries, the first does it. Never rejects. */
  #forget(): Promise<void> {
    this.#forgetting ??= this.#forgetOnce()
      .catch((error) =>
        this.#background.log.warn('authorities_not_forgotten', { reason: messageOf(error) }),
      )
      .finally(() => {
        this.#forgetting = undefined
      })
    return this.#forgetting
  }

  async #forgetOnce(): Promise<void> {
    const { configuration, identity } = this.#options
    const written = await changeSecret(this.#api, identity.secret.name, (current) => {
      if (current === undefined) return undefined
      const { isOver } = this.#rolesOf(readIdentity(current, configuration))
      return isOver ? withNextInPlace(current) : undefined
    })
    if (written !== undefined) this.learn(written)
  }

  #owners(userCa: string) {
    return { now: this.identity.userCaPem, next: certificatePem(userCa) }
  }

  #areNextSigned(): boolean {
    const { next } = this.identity
    const record = this.#record()
    return next !== undefined && record !== undefined && areSigned(next, record)
  }

  #roles(): Roles {
    return this.#rolesOf(this.identity)
  }

  #rolesOf(identity: AgentIdentity): Roles {
    return rolesOf(identity, this.#record(), this.#background.world.now())
  }

  #record(): ClusterRecord | undefined {
    const { configuration, directory } = this.#options
    return directory.state.clusters.get(configuration.cluster)
  }
}

/** Text that differs when other CAs are used. */
function fingerprintOf({ shown, issuing, accepted }: Roles): string {
  return [shown, issuing, ...accepted]
    .flatMap(({ serverAuthority, userCaDer }) => [serverAuthority.certificateDer, userCaDer])
    .map(sha256)
    .join(' ')
}

function certificatePem(base64: string): string {
  try {
    return new X509Certificate(Buffer.from(base64, 'base64')).toString()
  } catch {
    throw badOrder('what came as its user CA is no certificate')
  }
}

function whoseUserCa(isOwners: boolean): string {
  return isOwners
    ? 'its owner issues, so the user CA has to come with the request'
    : 'its agent issues, so it makes the user CA itself'
}

function badOrder(why: string): UsageError {
  return new UsageError('MCM_BAD_REQUEST', `this cluster gets no new CAs: ${why}`, {
    hint: 'mcm clusters show CLUSTER says until when the ones before count',
  })
}
