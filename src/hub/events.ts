import type { Log } from '../world.ts'

/**
 * Every line a hub logs. Key ids, cluster ids, user names and addresses; never a token, an invite, a
 * certificate, a header or a byte of anybody's traffic. What strangers do without being anyone is
 * counted (metrics.ts), not logged: nobody fills a disk by knocking.
 */
export function hubEvents(log: Log) {
  return {
    started: (address: string, statements: number) =>
      log.info('hub_started', { address, statements }),
    stopping: (relays: number) => log.info('hub_stopping', { relays }),
    stopped: () => log.info('hub_stopped'),
    fleetFounded: (fleet: string) => log.info('fleet_founded', { fleet }),
    directoryAppended: (seq: number, types: readonly string[], by: string | undefined) =>
      log.info('directory_appended', { seq, types, by }),
    directoryRefused: (reason: string, by: string | undefined) =>
      log.warn('directory_refused', { reason, by }),
    directoryPushRefused: (agent: AgentName, reason: string) =>
      log.warn('directory_push_refused', { ...agent, reason }),
    clusterRequested: (cluster: string, name: string, by: string) =>
      log.info('cluster_requested', { cluster, name, by }),
    clusterPublished: (cluster: string, agentKey: string) =>
      log.info('cluster_published', { cluster, agentKey }),
    tunnelOpened: (agent: AgentName, address: string, version: string) =>
      log.info('tunnel_opened', { ...agent, address, version }),
    tunnelClosed: (agent: AgentName, reason: string) =>
      log.info('tunnel_closed', { ...agent, reason }),
    tunnelRefused: (reason: string, key: string | undefined, address: string) =>
      log.warn('tunnel_refused', { reason, key, address }),
    relayOpened: (relay: RelayName) => log.info('relay_opened', { ...relay }),
    relayClosed: (
      relay: RelayName,
      outcome: { sent: number; received: number; aborted: boolean; reason?: string; ms: number },
    ) => log.info('relay_closed', { ...relay, ...outcome }),
    relayRefused: (reason: string, cluster: string | undefined, address: string, key?: string) =>
      log.info('relay_refused', { reason, cluster, address, key }),
    requestFailed: (route: string, reason: string) =>
      log.error('request_failed', { route, reason }),
  }
}

export type HubEvents = ReturnType<typeof hubEvents>

export interface AgentName {
  readonly cluster: string
  readonly replica: string
}

export interface RelayName {
  readonly id: number
  readonly user: string
  /** Key id. */
  readonly device: string
  readonly cluster: string
  readonly address: string
}
