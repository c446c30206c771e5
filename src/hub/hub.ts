import { X509Certificate } from 'node:crypto'
import { sha256 } from '../protocol/keys.ts'
import type { Secret } from '../secret.ts'
import type { Log, Running, World } from '../world.ts'
import { openBook } from './book.ts'
import { hubEvents } from './events.ts'
import { http1 } from './http1.ts'
import { http2 } from './http2.ts'
import { DEFAULT_LIMITS, type HubLimits } from './limits.ts'
import { listen } from './listener.ts'
import { hubMetrics, serveMetrics } from './metrics.ts'
import { peerOf } from './peer.ts'
import { registrations } from './registrations.ts'
import { relays } from './relays.ts'
import { type HubDatabase, hubStore } from './store.ts'
import { switchboard } from './switchboard.ts'
import { tunnels } from './tunnels.ts'

/**
 * The hub: a phone book that others signed, and a switchboard for bytes that it cannot read. It knows
 * keys, clusters by number and who may be put through to which; no credential of a cluster, no
 * plaintext, no authority of any kind. Invariant: whoever is put through is, at that moment, somebody
 * the directory shows that cluster to, and nothing it confirmed is ever lost.
 */
export interface HubDeps {
  readonly world: World
  readonly log: Log
  /** From `openHubDatabase`; its opener closes it, after `closed`. */
  readonly database: HubDatabase
  /** The hub's own self-signed leaf (pki `createHubCertificate`). */
  readonly certificate: { readonly pem: string; readonly keyPem: Secret<string> }
  readonly signal?: AbortSignal
}

export interface HubOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  /** Shown by `GET /v1/hub`. */
  readonly version: string
  /** Where `GET /metrics` answers, on 127.0.0.1 only; 0 picks a free port; undefined: nowhere. */
  readonly metricsPort?: number
  readonly limits?: Partial<HubLimits>
}

export interface HubAddress {
  readonly host: string
  readonly port: number
  readonly metricsPort?: number
}

/**
 * Starts a hub; it is ready when this resolves. `stop` lets connections finish for `limits.drainMs`.
 * @throws StateError MCM_STATE_DAMAGED, UnreachableError MCM_PORT_TAKEN
 */
export async function startHub(deps: HubDeps, options: HubOptions): Promise<Running<HubAddress>> {
  const { world, log, certificate } = deps
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const events = hubEvents(log)
  const metrics = hubMetrics()
  const store = hubStore(deps.database)
  const book = await openBook(store, world)
  const ownDer = new X509Certificate(certificate.pem).raw

  const links = tunnels({ world, log, limits, events, store, book })
  const running = relays({ limits, events, metrics })
  const board = switchboard({
    book,
    tunnels: links,
    relays: running,
    events,
    metrics,
    decoyDer: ownDer,
  })
  book.onAppend((_before, after) => {
    running.enforce(after.state)
    void links.follow(after)
  })

  let isStopping = false
  const probes = http1({ limits, switchboard: board, isReady: () => !isStopping })
  const api = http2({
    world,
    version: options.version,
    ownPin: sha256(ownDer),
    book,
    store,
    registrations: registrations({ world, store, events }),
    tunnels: links,
    events,
    limits,
    switchboard: board,
  })
  const listener = await listen(
    {
      limits,
      metrics,
      certificate,
      onTunnel: (socket) => void links.accept(socket, peerOf(socket)),
      onHttp1: probes.serve,
      onHttp2: api.serve,
    },
    options,
  )
  metrics.watch({
    tunnels: () => links.count,
    relays: () => running.count,
    statements: () => book.current.statements.length,
    handshakes: () => listener.handshakes,
  })
  const metricsServer =
    options.metricsPort === undefined ? undefined : await serveMetrics(metrics, options.metricsPort)

  const closed = Promise.withResolvers<void>()
  async function stop(): Promise<void> {
    if (isStopping) return closed.promise
    isStopping = true
    events.stopping(running.count)
    listener.close()
    metricsServer?.close()
    probes.close()
    api.close()
    // Agents dial elsewhere at once, while what runs over their tunnels may end.
    await Promise.all([links.stop(limits.drainMs), running.drain(limits.drainMs)])
    await listener.destroy()
    events.stopped()
    closed.resolve()
  }
  deps.signal?.addEventListener('abort', () => void stop(), { once: true })
  if (deps.signal?.aborted) void stop()

  events.started(
    `${listener.address.host}:${listener.address.port}`,
    book.current.statements.length,
  )
  const metricsPort = metricsServer && (metricsServer.address() as { port: number }).port
  return {
    address: { ...listener.address, ...(metricsPort === undefined ? {} : { metricsPort }) },
    closed: closed.promise,
    stop,
  }
}
