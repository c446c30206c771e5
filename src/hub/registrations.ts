import { EventEmitter } from 'node:events'
import { formatTime } from '../directory/time.ts'
import { AccessDeniedError, NotFoundError, UsageError } from '../errors.ts'
import { keyId, publicJwk, sha256 } from '../protocol/keys.ts'
import { type Join, type NewClusterAnswer, publicationPayloadSchema } from '../protocol/messages.ts'
import { newClusterId, requireClusterName } from '../protocol/names.ts'
import type { World } from '../world.ts'
import type { HubEvents } from './events.ts'
import type { HubStore, Registration } from './store.ts'

/**
 * Clusters on their way in (docs/PROTOCOL.md §7): a join token for one agent key, and that agent's
 * publication, handed to the owner. The hub passes the publication on; it cannot check it, because
 * the pairing secret is none of its business.
 */
export interface Registrations {
  create(name: string, createdBy: string): Promise<NewClusterAnswer>
  /** @throws AccessDeniedError MCM_FORBIDDEN, UsageError MCM_BAD_REQUEST */
  join(cluster: string, agentKey: string, body: Join): Promise<void>
  /** Waits at most `waitMs`, or until `gone`. @throws NotFoundError MCM_CLUSTER_UNKNOWN */
  publication(cluster: string, waitMs: number, gone: AbortSignal): Promise<string | undefined>
}

interface RegistrationDeps {
  readonly world: World
  readonly store: HubStore
  readonly events: HubEvents
}

const TOKEN_BYTES = 32
const LIFETIME_MS = 24 * 3_600_000

export function registrations({ world, store, events }: RegistrationDeps): Registrations {
  const published = new EventEmitter().setMaxListeners(0)
  return {
    async create(name, createdBy) {
      requireClusterName(name)
      const cluster = newClusterId(world.random)
      const joinToken = Buffer.from(world.random(TOKEN_BYTES)).toString('base64url')
      const now = world.now().getTime()
      const expires = formatTime(new Date(now + LIFETIME_MS))
      await store.deleteRegistrationsBefore(formatTime(new Date(now)))
      const tokenHash = sha256(joinToken)
      const nothingYet = { agentKey: null, publication: null }
      await store.addRegistration({ cluster, name, tokenHash, expires, createdBy, ...nothingYet })
      events.clusterRequested(cluster, name, createdBy)
      return { id: cluster, joinToken, expires }
    },

    async join(cluster, agentKey, { joinToken, publication }) {
      const registration = await store.readRegistration(cluster)
      const isValid = registration && isTokenOf(registration, joinToken, world.now())
      if (!isValid) throw invalidToken(cluster)
      requireOwnPublication(publication, cluster, agentKey)
      if (!(await store.publish(cluster, agentKey, publication))) throw invalidToken(cluster)
      events.clusterPublished(cluster, agentKey)
      published.emit(cluster, publication)
    },

    async publication(cluster, waitMs, gone) {
      const later = whenPublished(published, cluster, waitMs, gone)
      try {
        const registration = await store.readRegistration(cluster)
        if (!registration) throw unknownCluster(cluster)
        return registration.publication ?? (await later.publication)
      } finally {
        later.stop()
      }
    },
  }
}

function isTokenOf({ tokenHash, expires }: Registration, token: string, now: Date): boolean {
  return tokenHash === sha256(token) && now.getTime() < Date.parse(expires)
}

function whenPublished(
  published: EventEmitter,
  cluster: string,
  waitMs: number,
  gone: AbortSignal,
): { publication: Promise<string | undefined>; stop(): void } {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const give = () => resolve(undefined)
  const timer = setTimeout(give, waitMs)
  published.once(cluster, resolve)
  gone.addEventListener('abort', give, { once: true })
  return {
    publication: promise,
    stop() {
      clearTimeout(timer)
      published.off(cluster, resolve)
      gone.removeEventListener('abort', give)
      give()
    },
  }
}

/** The form only: that it speaks of this cluster and of the key that sends it. */
function requireOwnPublication(jws: string, cluster: string, agentKey: string): void {
  const payload = publicationPayloadSchema.safeParse(payloadOf(jws))
  const jwk = payload.success ? publicJwk(payload.data.agentKey) : undefined
  if (payload.success && payload.data.cluster === cluster && jwk && keyId(jwk) === agentKey) return
  throw new UsageError(
    'MCM_BAD_REQUEST',
    `this is no publication of cluster ${cluster} by the key of this connection`,
  )
}

function payloadOf(jws: string): unknown {
  try {
    return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString())
  } catch {
    return undefined
  }
}

function invalidToken(cluster: string): AccessDeniedError {
  return new AccessDeniedError(
    'MCM_FORBIDDEN',
    `this join token does not open cluster ${cluster}: it is wrong, has expired, or another agent used it`,
    { hint: 'run mcm register again and apply the new agent.yaml' },
  )
}

function unknownCluster(cluster: string): NotFoundError {
  return new NotFoundError('MCM_CLUSTER_UNKNOWN', `no registration of cluster ${cluster} is open`, {
    hint: 'run mcm register again',
  })
}
