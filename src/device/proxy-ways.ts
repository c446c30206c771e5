import type { Duplex } from 'node:stream'
import type { EitherWay } from '../client/either-way.ts'
import type { CarrierWish } from '../pipe/initiator.ts'
import { clusterHost } from '../protocol/names.ts'
import type { Secret } from '../secret.ts'
import { serverCasPem } from './agent-connection.ts'
import { reachableClusters } from './cluster-lookup.ts'
import type { Device } from './device.ts'
import { openHubLine } from './hub-line.ts'
import { requireState } from './state.ts'

/** What `mcm proxy` is given: the clusters of this person, certificates for them, and a way to each. */
export interface ProxyWays {
  clusters(): Promise<readonly ReachableCluster[]>
  credential(clusterId: string, refusedCertPem?: string): Promise<ProxyCredential>
  connect(clusterId: string): Promise<Duplex>
  connectPipe(clusterId: string, wish: CarrierWish): Promise<Duplex>
  connectDirect(clusterId: string): Promise<Duplex | undefined>
  readonly eitherWay: EitherWay
  close(): void
}

export interface ReachableCluster {
  readonly id: string
  readonly name: string
  readonly host: string
  readonly serverCaPem: string
}

export interface ProxyCredential {
  readonly certPem: string
  readonly keyPem: Secret<string>
  readonly notAfter: Date
  readonly user: string
  readonly groups: readonly string[]
}

/** One line to the hub for all of it. Close it. */
export function openProxyWays(device: Device): ProxyWays {
  const line = openHubLine(device)
  return {
    async clusters() {
      const { user } = await requireState(device.home)
      const directory = await line.directory()
      const now = device.world.now()
      return reachableClusters(directory, user).map((cluster) => ({
        id: cluster.id,
        name: cluster.name,
        host: clusterHost(cluster.id),
        serverCaPem: serverCasPem(cluster, now),
      }))
    },
    async credential(clusterId, refusedCertPem) {
      const found = await line.credential(clusterId, refusedCertPem)
      const { certificatePem: certPem, key: keyPem, notAfter, user, groups } = found
      return { certPem, keyPem, notAfter, user, groups }
    },
    connect: (clusterId) => line.connect(clusterId),
    connectPipe: (clusterId, wish) => line.connectPipe(clusterId, wish),
    connectDirect: (clusterId) => line.connectDirect(clusterId),
    eitherWay: line.eitherWay,
    close: () => line.close(),
  }
}
