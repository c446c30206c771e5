import type { Duplex } from 'node:stream'
import { type EitherWay, eitherWay } from '../client/either-way.ts'
import type { Directory } from '../directory/directory.ts'
import { UnreachableError } from '../errors.ts'
import type { CarrierWish } from '../pipe/initiator.ts'
import { clusterHost, pipeHost } from '../protocol/names.ts'
import { credentialFor } from './credentials.ts'
import type { Device } from './device.ts'
import { offlineDirectory } from './directory-cache.ts'
import { type FleetSession, openFleet, syncDirectory } from './fleet-session.ts'
import type { Credential } from './kept-credential.ts'
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

  async connectPipe(clusterId: string, { replica }: CarrierWish): Promise<Duplex> {
    const { hub } = await this.#open()
    return hub.connect(`${pipeHost(clusterId)}:443`, replica)
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
    const forget = () => {
      this.#session = undefined
    }
    opening.then(({ hub }) => hub.closed.then(forget), forget)
    return opening
  }
}
