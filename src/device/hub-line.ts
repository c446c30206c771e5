import type { Duplex } from 'node:stream'
import { type EitherWay, eitherWay } from '../client/either-way.ts'
import type { HubApi } from '../client/hub.ts'
import { Directory } from '../directory/directory.ts'
import { AccessDeniedError, UnreachableError } from '../errors.ts'
import { type CarrierWish, ProvenEnd } from '../pipe/initiator.ts'
import { clusterHost, pipeHost } from '../protocol/names.ts'
import { credentialFor } from './credentials.ts'
import type { Device } from './device.ts'
import { offlineDirectory } from './directory-cache.ts'
import { type FleetSession, openFleet, syncDirectory } from './fleet-session.ts'
import type { HubCandidate } from './hub-connection.ts'
import type { Credential } from './kept-credential.ts'
import { requireState } from './state.ts'
import { dialDirect, directTraveller, type Traveller } from './way-to-agent.ts'

/**
 * A connection to the hub for a program that runs long, as `mcm proxy`: opened when first needed, opened
 * anew when it broke, one attempt for any number of callers.
 */
export interface HubLine {
  /** The directory as it is now; the copy on this machine while no hub answers. @throws TrustError */
  directory(): Promise<Directory>
  /** As `credentialFor`, on this connection. */
  credential(clusterId: string, refusedPem?: string): Promise<Credential>
  /** A byte stream to a cluster's agent. @throws AccessDeniedError, UnreachableError */
  connect(clusterId: string): Promise<Duplex>
  /** A carrier for a pipe to it, of a replica that may be named (docs/PROTOCOL.md §9.1). */
  connectPipe(clusterId: string, wish: CarrierWish): Promise<Duplex>
  /** The same past the hub; undefined where the cluster has no address of its own. @throws UnreachableError */
  connectDirect(clusterId: string): Promise<Duplex | undefined>
  /** Which of the two to go; knows whether the hub answered lately. */
  readonly eitherWay: EitherWay
  close(): void
}

export function openHubLine(device: Device): HubLine {
  return new Line(device)
}

class Line implements HubLine {
  readonly eitherWay: EitherWay
  readonly #device: Device
  #session: Promise<FleetSession> | undefined
  /** Of that session, once it is open. */
  #hub: HubApi | undefined
  #probing: Promise<boolean> | undefined
  /** As it was verified last. */
  #directory: Directory | undefined
  #isClosed = false

  constructor(device: Device) {
    this.#device = device
    this.eitherWay = eitherWay(() => device.world.now().getTime())
  }

  directory(): Promise<Directory> {
    return this.eitherWay<Directory>({
      hub: async () => (await this.#synced()).directory,
      direct: () => this.#kept(),
      discard: () => {},
    })
  }

  credential(clusterId: string, refusedPem?: string): Promise<Credential> {
    return credentialFor(this.#device, clusterId, {
      ...(refusedPem === undefined ? {} : { refusedPem }),
      connect: async (work) => {
        const traveller = await this.eitherWay<Traveller>({
          hub: () => this.#synced(),
          direct: () => directTraveller(this.#device, clusterId),
          discard: ({ enrolment }) => void enrolment?.destroy(),
        })
        return work(traveller).finally(() => traveller.enrolment?.destroy())
      },
    })
  }

  async connect(clusterId: string): Promise<Duplex> {
    const { hub } = await this.#open()
    return hub.connect(`${clusterHost(clusterId)}:443`)
  }

  async connectPipe(clusterId: string, wish: CarrierWish): Promise<Duplex> {
    const { replica, attempt } = wish
    const authority = `${pipeHost(clusterId)}:443`
    if (replica === undefined) return (await this.#open()).hub.connect(authority)
    try {
      const { hub, connection } = await this.#live()
      return await hub.connect(authority, replica).catch(async (error: unknown) => {
        const other = await this.#elsewhere(connection.candidate, attempt)
        return other ? carrierOn(other.hub, authority, replica) : Promise.reject(error)
      })
    } catch (error) {
      if (error instanceof AccessDeniedError) await this.#requireStanding(clusterId)
      throw error
    }
  }

  async connectDirect(clusterId: string): Promise<Duplex | undefined> {
    const cluster = (await this.#kept())?.state.clusters.get(clusterId)
    return cluster && dialDirect(this.#device, cluster, 'session')
  }

  close(): void {
    this.#isClosed = true
    this.#session?.then(({ hub }) => hub.close()).catch(() => {})
  }

  async #synced(): Promise<FleetSession> {
    const synced = await syncDirectory(await this.#open())
    this.#session = Promise.resolve(synced)
    this.#directory = synced.directory
    return synced
  }

  /** What there is without a hub, if there is anything. @throws TrustError */
  async #kept(): Promise<Directory | undefined> {
    this.#directory ??= await offlineDirectory(this.#device.home)
    return this.#directory.head === null ? undefined : this.#directory
  }

  async #open(): Promise<FleetSession> {
    if (this.#isClosed) throw new UnreachableError('MCM_HUB_UNREACHABLE', 'mcm is stopping')
    if (this.#session) return this.#session
    const opening = openFleet(this.#device)
    this.#session = opening
    this.#hub = undefined
    const forget = (hub?: HubApi) => {
      if (this.#hub === hub) this.#session = undefined
    }
    opening.then(
      ({ hub }) => {
        this.#hub = hub
        void hub.closed.then(() => forget(hub))
      },
      () => forget(),
    )
    return opening
  }

  /** One that has just answered: whoever resumes comes from a path that was lost, perhaps without a word. */
  async #live(): Promise<FleetSession> {
    const session = await this.#open()
    this.#probing ??= session.hub.ping(PROBE_MS).finally(() => {
      this.#probing = undefined
    })
    if (await this.#probing) return session
    session.hub.abandon()
    await session.hub.closed
    return this.#open()
  }

  /** Another way in than the one that could not do it, where there is another. */
  async #elsewhere(tried: HubCandidate, attempt: number): Promise<FleetSession | undefined> {
    const nothing: HubCandidate[] = []
    const others = (all: HubCandidate[]) =>
      all.filter(({ endpoint, pin }) => endpoint !== tried.endpoint || pin !== tried.pin)
    const oneOf = (all: HubCandidate[]) => {
      const rest = others(all)
      return rest.length === 0 ? nothing : [rest[attempt % rest.length]!]
    }
    return openFleet(this.#device, oneOf).catch(() => undefined)
  }

  /** @throws ProvenEnd when the directory itself says that this device may not go there any more */
  async #requireStanding(clusterId: string): Promise<void> {
    await this.#synced().catch(() => {})
    this.#directory = undefined
    const { state } = (await this.#kept()) ?? Directory.empty()
    const { device, user } = await requireState(this.#device.home)
    if (!state.deviceOwner(device.id) || !state.clusters.has(clusterId)) return
    if (!state.isLiveDevice(device.id)) throw new ProvenEnd(revoked(device.name))
    if (!state.isMember(user, clusterId, this.#device.world.now()))
      throw new ProvenEnd(noMember(user))
  }
}

const PROBE_MS = 3_000

/** A carrier on a connection of its own, which ends with it. */
async function carrierOn(hub: HubApi, authority: string, replica: string): Promise<Duplex> {
  try {
    const carrier = await hub.connect(authority, replica)
    carrier.once('close', () => hub.close())
    return carrier
  } catch (error) {
    hub.close()
    throw error
  }
}

function revoked(name: string): AccessDeniedError {
  return new AccessDeniedError('MCM_REVOKED', `this device (${name}) has been revoked`, {
    hint: 'ask an administrator for a new invite',
  })
}

function noMember(user: string): AccessDeniedError {
  return new AccessDeniedError('MCM_NO_GRANT', `${user} may no longer reach this cluster`, {
    hint: 'ask its owner for a grant',
  })
}
