import type { Log } from '../world.ts'

/**
 * Every line a hub logs. Key ids, cluster ids, user names and addresses; never a token, an invite, a
 * certificate, a header or a byte of anybody's traffic. What strangers do without being anyone is
 * counted (metrics.ts), not logged: nobody fills a disk by knocking.
 */
export function hubEvents(log: Log) {
  const takeLine = lineQuota()
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
    guestAdmitted: (user: string, device: string, until: string) =>
      log.info('guest_admitted', { user, device, until }),
    guestEnded: (user: string, device: string) => log.info('guest_ended', { user, device }),
    clusterRequested: (cluster: string, name: string, by: string) =>
      log.info('cluster_requested', { cluster, name, by }),
    clusterPublished: (cluster: string, agentKey: string) =>
      log.info('cluster_published', { cluster, agentKey }),
    tunnelOpened: (agent: AgentName, address: string, version: string) =>
      log.info('tunnel_opened', { ...agent, address, version }),
    tunnelClosed: (agent: AgentName, reason: string) =>
      log.info('tunnel_closed', { ...agent, reason }),
    tunnelRefused(reason: string, key: string | undefined, address: string) {
      if (takeLine()) log.warn('tunnel_refused', { reason, key, address })
    },
    connectionFailed(protocol: string, reason: string) {
      if (takeLine()) log.error('connection_failed', { protocol, reason })
    },
    relayOpened: (relay: RelayName) => log.info('relay_opened', { ...relay }),
    relayClosed: (
      relay: RelayName,
      outcome: { sent: number; received: number; aborted: boolean; reason?: string; ms: number },
    ) => log.info('relay_closed', { ...relay, ...outcome }),
    relayRefused: (refusal: RelayRefusal) => log.info('relay_refused', { ...refusal }),
    requestFailed: (route: string, reason: string) =>
      log.error('request_failed', { route, reason }),
  }
}

const STRANGERS_LINES = 20
const QUOTA_MS = 60_000

/** Lines that strangers can bring about: a few a minute, to help whoever sets up an agent. */
function lineQuota(): () => boolean {
  let sinceMs = Number.NEGATIVE_INFINITY
  let lines = 0
  return () => {
    const now = performance.now()
    if (now - sinceMs > QUOTA_MS) {
      sinceMs = now
      lines = 0
    }
    lines += 1
    return lines <= STRANGERS_LINES
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

export interface RelayRefusal {
  readonly reason: string
  readonly user: string | undefined
  readonly cluster: string | undefined
  readonly address: string
  readonly key: string | undefined
}
