import { setTimeout as pause } from 'node:timers/promises'
import { openHub } from '../client/hub.ts'
import { signPublication } from '../directory/proofs.ts'
import type { ClusterRecord } from '../directory/state.ts'
import {
  isMcmError,
  type McmError,
  messageOf,
  StateError,
  TrustError,
  UnreachableError,
} from '../errors.ts'
import { ALPN_HTTP2 } from '../protocol/names.ts'
import { fullJitterBackoff } from '../tunnel/backoff.ts'
import { areSigned } from './authorities.ts'
import type { AgentConfiguration } from './configuration.ts'
import type { DirectoryHolder } from './directory-holder.ts'
import { type HubDialer, type HubEndpoint, hubEndpoints } from './hub-endpoints.ts'
import type { AgentIdentity } from './identity-secret.ts'
import type { Background } from './watched-collection.ts'

/**
 * Becoming a cluster of the fleet (docs/PROTOCOL.md §7): publish what the agent has made, under the
 * pairing secret, until the directory proves that an admin has signed exactly that.
 */
export interface Registration {
  /** Resolves when the directory has proved this cluster, once. */
  readonly proven: Promise<void>
  /** Whether it does now: a cluster can be removed, or be signed anew with other keys. */
  isProven(): boolean
  /** Why it does not, as far as it is known. */
  problem(): McmError | undefined
}

export interface RegistrationOptions extends Background {
  readonly configuration: AgentConfiguration
  /** As it is now. */
  identity(): AgentIdentity
  readonly directory: DirectoryHolder
  readonly dial: HubDialer
  /** The join token as it stands in the configuration now: registering again brings a new one. */
  joinToken?(): Promise<AgentConfiguration['joinToken']>
  /** Milliseconds; for tests. */
  readonly timing?: Partial<typeof TIMING>
}

const TIMING = {
  /** Between questions while somebody waits for the registration to end. */
  pollMs: 2_000,
  /** Later, when nobody does. */
  slowPollMs: 15_000,
  /** A publication is sent again, in case the hub has lost it. */
  rejoinMs: 60_000,
}
/** Questions before polling gets slow: about three minutes. */
const EAGER_POLLS = 180

/** Starts to register; ends when it is proven, or with the signal. */
export function startRegistration(options: RegistrationOptions): Registration {
  const registering = new Registering(options)
  void registering.run()
  return registering
}

class Registering implements Registration {
  readonly proven: Promise<void>
  readonly #options: RegistrationOptions
  readonly #timing: typeof TIMING
  readonly #markProven: () => void
  #lastProblem: McmError | undefined
  #joinedAt = Number.NEGATIVE_INFINITY

  constructor(options: RegistrationOptions) {
    this.#options = options
    this.#timing = { ...TIMING, ...options.timing }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.proven = promise
    this.#markProven = resolve
  }

  isProven(): boolean {
    return this.#mismatch() === undefined
  }

  problem(): McmError | undefined {
    const mismatch = this.#mismatch()
    if (mismatch === undefined || mismatch instanceof TrustError) return mismatch
    return this.#lastProblem ?? mismatch
  }

  async run(): Promise<void> {
    const { log, signal, world, configuration } = this.#options
    for (let attempt = 0; !signal.aborted && !this.isProven(); attempt++) {
      await this.#round()
      if (this.isProven()) break
      const windowMs = attempt < EAGER_POLLS ? this.#timing.pollMs : this.#timing.slowPollMs
      const waitMs = fullJitterBackoff(world.random, 0, { baseMs: windowMs, capMs: windowMs })
      await pause(waitMs, undefined, { signal }).catch(() => {})
    }
    if (signal.aborted) return
    log.info('registered', { cluster: configuration.cluster })
    this.#markProven()
  }

  /** Asks the hubs in order, until one answers. */
  async #round(): Promise<void> {
    const { configuration, directory, signal, world } = this.#options
    for (const target of hubEndpoints(configuration, directory.state, world.now())) {
      try {
        await this.#ask(target)
        this.#say(this.#mismatch())
        return
      } catch (error) {
        if (signal.aborted) return
        this.#say(error)
      }
    }
  }

  /** Reads the directory; while the hub does not know our key, publishes it. */
  async #ask(target: HubEndpoint): Promise<void> {
    const { directory, dial, signal } = this.#options
    const hub = openHub(await dial(target, ALPN_HTTP2, signal))
    try {
      const after = directory.head?.seq ?? -1
      const page = await hub.directory({ after, details: 'all' }).catch(undefinedIfUnknown)
      if (page !== undefined) await directory.apply(page)
      if (page === undefined || this.#ownRecord() === undefined) await this.#join(hub)
    } finally {
      hub.close()
    }
  }

  async #join(hub: ReturnType<typeof openHub>): Promise<void> {
    const { configuration, identity, world } = this.#options
    const now = world.now().getTime()
    if (Math.abs(now - this.#joinedAt) < this.#timing.rejoinMs) return
    const joinToken = (await this.#options.joinToken?.()) ?? configuration.joinToken
    if (joinToken === undefined) throw noJoinToken()
    const publication = await publicationOf(configuration, identity())
    await hub.join(configuration.cluster, { joinToken: joinToken.reveal(), publication })
    this.#joinedAt = now
    this.#options.log.info('published', { cluster: configuration.cluster })
  }

  /** Why the directory does not prove this cluster. */
  #mismatch(): McmError | undefined {
    const { configuration, identity, directory } = this.#options
    const record = this.#ownRecord()
    if (directory.head !== null && !directory.isFresh())
      return rolledBack(directory.head.seq, directory.remembered?.seq)
    if (record === undefined) return notSigned(configuration.cluster)
    return mismatchOf(record, configuration, identity())
  }

  #ownRecord(): ClusterRecord | undefined {
    return this.#options.directory.state.clusters.get(this.#options.configuration.cluster)
  }

  /** Each problem once, not per attempt. */
  #say(problem: unknown): void {
    const { log } = this.#options
    const known = isMcmError(problem) ? problem : undefined
    if (problem !== undefined && known === undefined)
      log.error('registration_failed', { reason: messageOf(problem) })
    if (known && known.message !== this.#lastProblem?.message) {
      const fields = { code: known.code, reason: known.message, hint: known.hint }
      if (known instanceof TrustError || known instanceof StateError)
        log.error('registration_refused', fields)
      else log.warn('registration_waits', fields)
    }
    this.#lastProblem = known
  }
}

/**
 * What the owner's CLI checks and signs: both CAs and the key, under the secret that only
 * agent.yaml carried.
 */
function publicationOf(
  { cluster, pairingSecret }: AgentConfiguration,
  { serverAuthority, userCaDer, agentKey }: AgentIdentity,
): Promise<string> {
  return signPublication(pairingSecret, {
    cluster,
    serverCa: serverAuthority.certificateDer.toString('base64'),
    userCa: userCaDer.toString('base64'),
    agentKey: agentKey.jwk,
  })
}

/** The first thing in which the signed cluster is not this one. */
function mismatchOf(
  record: ClusterRecord,
  { cluster, prefix }: AgentConfiguration,
  identity: AgentIdentity,
): TrustError | undefined {
  const { agentKey, next } = identity
  // While they are replaced what is signed is the one or the other.
  const signed = next !== undefined && areSigned(next, record) ? next : identity
  const { serverAuthority, userCaDer, userAuthority } = signed
  const issuer = userAuthority === undefined ? 'local' : 'agent'
  const differences = [
    record.agentKey !== agentKey.id && 'another agent key',
    !record.serverCaDer.equals(serverAuthority.certificateDer) && 'another server CA',
    !record.userCaDer.equals(userCaDer) && 'another user CA',
    record.issuer !== issuer && `issuer ${record.issuer}`,
    record.prefix !== prefix && `prefix ${record.prefix}`,
  ].filter((difference) => difference !== false)
  if (differences.length === 0) return undefined
  return new TrustError(
    'MCM_PAIRING_MISMATCH',
    `cluster ${cluster} is signed into the directory with ${differences.join(' and ')}`,
    { hint: 'this agent serves nobody; register the cluster again' },
  )
}

function notSigned(cluster: string): UnreachableError {
  return new UnreachableError(
    'MCM_AGENT_UNREACHABLE',
    `nobody has signed cluster ${cluster} into the directory yet`,
    { hint: 'leave mcm register running until it says so, or run it again' },
  )
}

function rolledBack(shown: number, seen = shown): TrustError {
  return new TrustError(
    'MCM_DIRECTORY_ROLLED_BACK',
    `the hub shows a directory that ends at statement ${shown}, and ${seen} was seen before`,
    { hint: 'this agent serves nobody until it sees the rest; look at the hub' },
  )
}

function noJoinToken(): StateError {
  return new StateError('MCM_STATE_DAMAGED', 'the configuration holds no join token', {
    hint: 'run mcm register again and apply what it writes',
  })
}

/** A hub that does not know our key refuses; whatever else goes wrong is a failure. */
function undefinedIfUnknown(error: unknown): undefined {
  if (isMcmError(error) && (error.httpStatus === 401 || error.httpStatus === 403)) return undefined
  throw error
}
