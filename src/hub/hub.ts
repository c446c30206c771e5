import { X509Certificate } from 'node:crypto'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { sha256 } from '../protocol/keys.ts'
import type { Secret } from '../secret.ts'
import type { Log, Running, World } from '../world.ts'
import { type Book, openBook } from './book.ts'
import { type CertificateChange, followCertificate, type Successor } from './certificate-change.ts'
import { type HubEvents, hubEvents } from './events.ts'
import { openGuests } from './guests.ts'
import { type Http1, http1 } from './http1.ts'
import { type Http2, http2 } from './http2.ts'
import { DEFAULT_LIMITS, type HubLimits } from './limits.ts'
import { type Listener, listen } from './listener.ts'
import { type HubMetrics, hubMetrics, serveMetrics } from './metrics.ts'
import { peerOf } from './peer.ts'
import { registrations } from './registrations.ts'
import { type Relays, relays as userRelays } from './relays.ts'
import { type HubDatabase, hubStore } from './store.ts'
import { type Switchboard, switchboard } from './switchboard.ts'
import { tunnels as agentTunnels, type Tunnels } from './tunnels.ts'

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
  /** Where the next certificate comes from; without it there is none. */
  readonly successor?: Successor
  readonly signal?: AbortSignal
  /** The forward proxy for an identity provider, if the environment names one. */
  proxyFor?(target: URL): string | undefined
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
  const hub = new RunningHub(await prepare(deps, options))
  await hub.listen(options)
  deps.signal?.addEventListener('abort', () => void hub.stop(), { once: true })
  if (deps.signal?.aborted) void hub.stop()
  return hub
}

interface Parts {
  readonly limits: HubLimits
  readonly certificate: CertificateChange
  readonly events: HubEvents
  readonly metrics: HubMetrics
  readonly book: Book
  readonly tunnels: Tunnels
  readonly relays: Relays
  readonly switchboard: Switchboard
  readonly http2: Http2
}

/** Everything but the listeners, introduced to each other. */
async function prepare(deps: HubDeps, options: HubOptions): Promise<Parts> {
  const { world, log, successor } = deps
  const { version } = options
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const events = hubEvents(log)
  const metrics = hubMetrics()
  const store = hubStore(deps.database)
  const book = await openBook(store, world)
  const proxyFor = (target: URL) => deps.proxyFor?.(target)
  const guests = await openGuests({ world, book, store, proxyFor })
  const certificate = followCertificate({
    ...{ world, log, certificate: deps.certificate, successor },
    state: () => book.current.state,
  })
  const ownDer = new X509Certificate(certificate.current.pem).raw

  const tunnels = agentTunnels({ world, log, limits, events, store, book })
  const relays = userRelays({ limits, events, metrics })
  book.onAppend((_before, after) => {
    relays.enforce(guests.directory.state, world.now())
    void tunnels.follow(after)
    certificate.look()
  })
  const common = { book, guests, tunnels, events, metrics }
  const board = switchboard({ ...common, world, relays, decoyDer: ownDer })
  const pending = registrations({ world, store, events })
  const nextCertificate = () => certificate.next()
  const apiDeps = { ...common, world, version, store, ownPin: sha256(ownDer), nextCertificate }
  const api = http2({ ...apiDeps, registrations: pending, limits, switchboard: board })
  return { ...common, limits, certificate, relays, switchboard: board, http2: api }
}

class RunningHub implements Running<HubAddress> {
  address: HubAddress = { host: '', port: 0 }
  readonly closed: Promise<void>
  readonly #parts: Parts
  readonly #http1: Http1
  readonly #resolveClosed: () => void
  #listener: Listener | undefined
  #metricsServer: Server | undefined
  #isStopping = false

  constructor(parts: Parts) {
    this.#parts = parts
    const { limits, switchboard } = parts
    this.#http1 = http1({ limits, switchboard, isReady: () => !this.#isStopping })
    const closed = Promise.withResolvers<void>()
    this.closed = closed.promise
    this.#resolveClosed = closed.resolve
  }

  async listen(options: HubOptions): Promise<void> {
    const { limits, metrics, certificate, tunnels, relays, book, events } = this.#parts
    const { metricsPort } = options
    if (metricsPort !== undefined) this.#metricsServer = await serveMetrics(metrics, metricsPort)
    const onTunnel = (socket: TLSSocket) => void tunnels.accept(socket, peerOf(socket))
    const onHttp1 = this.#http1.serve
    const onHttp2 = this.#parts.http2.serve
    const receivers = { onTunnel, onHttp1, onHttp2, onFailure: events.connectionFailed }
    const listener = await this.#orClose(
      listen({ limits, metrics, certificate: certificate.current, ...receivers }, options),
    )
    this.#listener = listener
    certificate.onChange((next) => listener.setCertificate(next))
    metrics.watch({
      tunnels: () => tunnels.count,
      relays: () => relays.count,
      statements: () => book.current.statements.length,
      handshakes: () => listener.handshakes,
    })
    this.address = { ...listener.address, ...this.#metricsAddress() }
    events.started(`${this.address.host}:${this.address.port}`, book.current.statements.length)
  }

  /** Stops once; who asks again waits for the same end. */
  async stop(): Promise<void> {
    if (this.#isStopping) return this.closed
    this.#isStopping = true
    const { limits, events, http2, tunnels, relays, certificate } = this.#parts
    certificate.stop()
    events.stopping(relays.count)
    this.#listener?.close()
    this.#metricsServer?.close()
    this.#http1.close()
    http2.close()
    // Agents dial elsewhere at once, while what runs over their tunnels may end.
    await Promise.all([tunnels.stop(limits.drainMs), relays.drain(limits.drainMs)])
    await this.#listener?.destroy()
    events.stopped()
    this.#resolveClosed()
  }

  #metricsAddress(): Pick<HubAddress, 'metricsPort'> {
    if (!this.#metricsServer) return {}
    return { metricsPort: (this.#metricsServer.address() as AddressInfo).port }
  }

  /** A hub that cannot listen leaves no other listener behind. */
  async #orClose<T>(listening: Promise<T>): Promise<T> {
    try {
      return await listening
    } catch (error) {
      this.#metricsServer?.close()
      this.#http1.close()
      this.#parts.certificate.stop()
      throw error
    }
  }
}
