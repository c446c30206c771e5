import type { Duplex } from 'node:stream'
import type { Directory } from '../directory/directory.ts'
import { UnreachableError } from '../errors.ts'
import { clusterHost } from '../protocol/names.ts'
import { type Credential, credentialFor } from './credentials.ts'
import type { Device } from './device.ts'
import { offlineDirectory } from './directory-cache.ts'
import { type FleetSession, openFleet, syncDirectory } from './fleet-session.ts'

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
  close(): void
}

export function openHubLine(device: Device): HubLine {
  return new Line(device)
}

class Line implements HubLine {
  readonly #device: Device
  #session: Promise<FleetSession> | undefined
  #isClosed = false

  constructor(device: Device) {
    this.#device = device
  }

  async directory(): Promise<Directory> {
    try {
      const synced = await syncDirectory(await this.#open())
      this.#session = Promise.resolve(synced)
      return synced.directory
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error
      return offlineDirectory(this.#device.home)
    }
  }

  credential(clusterId: string, refusedPem?: string): Promise<Credential> {
    return credentialFor(this.#device, clusterId, {
      ...(refusedPem === undefined ? {} : { refusedPem }),
      connect: async (work) => work(await syncDirectory(await this.#open())),
    })
  }

  async connect(clusterId: string): Promise<Duplex> {
    const { hub } = await this.#open()
    return hub.connect(`${clusterHost(clusterId)}:443`)
  }

  close(): void {
    this.#isClosed = true
    this.#session?.then(({ hub }) => hub.close()).catch(() => {})
  }

  #open(): Promise<FleetSession> {
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
