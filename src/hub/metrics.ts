import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { listenFailure } from './listen-failure.ts'

/** What a hub counts. No label names a user or a cluster. */
export interface HubMetrics {
  readonly registry: Registry
  refusedByLimit(): void
  handshakeFailed(): void
  connected(protocol: string): void
  refused(status: number): void
  relayed(sent: number, received: number): void
  /** Looked at when somebody asks. */
  watch(
    gauges: Readonly<Record<'tunnels' | 'relays' | 'statements' | 'handshakes', () => number>>,
  ): void
}

export function hubMetrics(): HubMetrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const unwelcome = new Counter({
    name: 'mcm_hub_connections_refused_total',
    help: 'Connections ended because of a limit, or because their handshake failed',
    labelNames: ['reason'],
    registers,
  })
  const connections = new Counter({
    name: 'mcm_hub_connections_total',
    help: 'Connections by the protocol they chose',
    labelNames: ['protocol'],
    registers,
  })
  const refusals = new Counter({
    name: 'mcm_hub_connects_refused_total',
    help: 'CONNECT requests refused, by status',
    labelNames: ['status'],
    registers,
  })
  const bytes = new Counter({
    name: 'mcm_hub_relayed_bytes_total',
    help: 'Bytes of ended relays, toward and from clusters',
    labelNames: ['direction'],
    registers,
  })
  return {
    registry,
    refusedByLimit: () => unwelcome.inc({ reason: 'limit' }),
    handshakeFailed: () => unwelcome.inc({ reason: 'handshake' }),
    connected: (protocol) => connections.inc({ protocol }),
    refused: (status) => refusals.inc({ status: String(status) }),
    relayed(sent, received) {
      bytes.inc({ direction: 'to_cluster' }, sent)
      bytes.inc({ direction: 'from_cluster' }, received)
    },
    watch(gauges) {
      for (const [name, read] of Object.entries(gauges)) {
        const collect = function (this: Gauge) {
          this.set(read())
        }
        new Gauge({ name: `mcm_hub_${name}`, help: `Present ${name}`, registers, collect })
      }
    },
  }
}

/** `GET /metrics` in plain HTTP, for this machine only. @throws UnreachableError MCM_PORT_TAKEN */
export async function serveMetrics(metrics: HubMetrics, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    void metrics.registry.metrics().then((text) => {
      response.setHeader('content-type', metrics.registry.contentType)
      response.end(text)
    })
  })
  server.listen({ host: '127.0.0.1', port })
  await once(server, 'listening').catch((cause) => {
    throw listenFailure(`127.0.0.1:${port}`, cause)
  })
  return server
}
