/**
 * The local proxy: one TLS endpoint on this machine for every cluster of the person who runs it. It turns
 * `https://127.0.0.1:PORT/c-…/api` into a request on a warm session with that cluster's agent. It knows
 * which clusters there are and how to get a certificate for each; it knows nothing of grants and roles.
 * Invariant: nothing is answered to, or forwarded for, whoever did not show a certificate of the local
 * CA, and no key of a cluster ever leaves its memory.
 */

import type { TLSSocket } from 'node:tls'
import { isMcmError } from '../errors.ts'
import type { Exchange, UpgradeExchange } from '../forward/exchange.ts'
import { replyStatus } from '../forward/exchange.ts'
import { forwardExchange } from '../forward/forward.ts'
import type { HeaderLine } from '../forward/headers.ts'
import { readHeaderLines } from '../forward/headers.ts'
import { openListener } from '../forward/listener.ts'
import { answerAndEnd } from '../forward/raw-answer.ts'
import { badRequest, Refusal } from '../forward/refusal.ts'
import { requireMethod } from '../forward/target.ts'
import { forwardUpgrade } from '../forward/upgrade.ts'
import { requireUpgrade } from '../forward/upgrade-request.ts'
import { statusOf } from '../kube/status.ts'
import { PipeBudget } from '../pipe/budget.ts'
import type { Log, Running, World } from '../world.ts'
import { admit, localHosts } from './admission.ts'
import type { ProxyCluster, Ways } from './cluster.ts'
import { clusterList } from './cluster-list.ts'
import { splitTarget } from './cluster-path.ts'
import type { ClusterUpstream } from './cluster-upstream.ts'
import { clusterUpstream } from './cluster-upstream.ts'
import type { LocalTls } from './loopback-listener.ts'
import { listenOnLoopback } from './loopback-listener.ts'
import { contentLength, outgoingHeaders } from './outgoing-headers.ts'

export interface ProxyDeps extends Ways {
  readonly world: World
  readonly log: Log
  readonly signal?: AbortSignal
  readonly tls: LocalTls
  /** The clusters this person may reach now; asked again and again. @throws IdentityError MCM_NOT_LOGGED_IN */
  clusters(): Promise<readonly ProxyCluster[]>
}

export interface ProxyOptions {
  /** 0 takes a free one. */
  readonly port: number
}

export interface ProxyAddress {
  readonly port: number
  /** `https://127.0.0.1:PORT` first; a cluster's endpoint is one of them and `/<id>`. */
  readonly urls: readonly string[]
}

const BEAT_MS = 5_000
/** What the pipes of all clusters may hold before they make their writers wait. */
const MAX_PIPED_BYTES = 256 << 20

/**
 * Starts the proxy; it is ready when this resolves.
 * @throws UnreachableError MCM_PORT_TAKEN
 */
export async function startProxy(
  deps: ProxyDeps,
  options: ProxyOptions,
): Promise<Running<ProxyAddress>> {
  const { world, log, signal } = deps
  signal?.throwIfAborted()
  const budget = new PipeBudget(MAX_PIPED_BYTES)
  const clusters = clusterList({
    world,
    log,
    clusters: () => deps.clusters(),
    open: (cluster) => clusterUpstream({ world, log, ways: deps, budget }, cluster),
  })
  const service = new ProxyService((name) => clusters.find(name), log)
  const listening = await listenOnLoopback(deps.tls, options.port, (s) => service.accept(s))
  service.hosts = localHosts(listening.port)
  const beat = setInterval(() => clusters.beat(), BEAT_MS)
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  const stop = async () => {
    clearInterval(beat)
    service.stop()
    await Promise.all([listening.stop(), clusters.close()])
    resolve()
  }
  signal?.addEventListener('abort', () => void stop(), { once: true })
  const urls = Array.from(service.hosts, (host) => `https://${host}`)
  const address = { port: listening.port, urls }
  log.info('proxy listening', address)
  return { address, closed, stop }
}

/** What one request asks for, once it may come in. */
interface Asked {
  readonly method: string
  readonly lines: readonly HeaderLine[]
  readonly cluster: string
  readonly target: string
}

class ProxyService {
  hosts: ReadonlySet<string> = new Set()
  readonly #find: (idOrName: string) => Promise<ClusterUpstream>
  readonly #log: Log
  readonly #listener = openListener<undefined>({
    request: (exchange) => void this.#request(exchange),
    upgrade: (exchange) => void this.#upgrade(exchange),
  })

  constructor(find: (idOrName: string) => Promise<ClusterUpstream>, log: Log) {
    this.#find = find
    this.#log = log
  }

  accept(socket: TLSSocket): void {
    const isHttp2 = socket.alpnProtocol === 'h2'
    // Half an HTTP/2 connection is none: its streams end when the client goes.
    socket.allowHalfOpen = !isHttp2
    socket.setNoDelay(true)
    this.#listener.accept(socket, isHttp2 ? 'h2' : 'http/1.1', undefined)
  }

  stop(): void {
    this.#listener.stop()
  }

  async #request(exchange: Exchange<undefined>): Promise<void> {
    let isGone = false
    exchange.reply.onClose(() => {
      isGone = true
    })
    try {
      const asked = this.#admitted(exchange)
      const headers = outgoingHeaders(asked.lines)
      const length = contentLength(asked.lines)
      const upstream = await this.#find(asked.cluster)
      if (isGone) return
      const { method, target } = asked
      const framing = { contentLength: length, answerTimeoutMs: 0 }
      forwardExchange(exchange, upstream, { method, target, headers, ...framing })
    } catch (error) {
      const refusal = this.#refusalOf(error)
      if (refusal.endsConnection) exchange.reply.endConnection()
      replyStatus(exchange.reply, refusal.status)
    }
  }

  async #upgrade(exchange: UpgradeExchange<undefined>): Promise<void> {
    const { client } = exchange
    client.socket.on('error', () => client.socket.destroy())
    try {
      const asked = this.#admitted(exchange)
      const { method, target } = asked
      const protocol = requireUpgrade(exchange, asked.lines)
      const headers = outgoingHeaders(asked.lines)
      const upstream = await this.#find(asked.cluster)
      await forwardUpgrade(exchange, upstream, { method, target, headers, protocol }).done
    } catch (error) {
      await answerAndEnd(client, this.#refusalOf(error).status)
    }
  }

  /** Who sent it is asked first, then where it goes. @throws Refusal */
  #admitted(exchange: Exchange<undefined> | UpgradeExchange<undefined>): Asked {
    const lines = readHeaderLines(exchange.headers)
    const { authority } = exchange
    admit(lines, { authority, isSwitch: 'client' in exchange }, this.hosts)
    if (exchange.httpVersion === '1.0') throw badRequest('HTTP/1.0 is not spoken here')
    const method = requireMethod(exchange.method)
    return { method, lines, ...splitTarget(exchange.target) }
  }

  #refusalOf(error: unknown): Refusal {
    if (error instanceof Refusal) return error
    if (!isMcmError(error)) this.#log.error('request failed', { reason: String(error) })
    return new Refusal(statusOf(error))
  }
}
