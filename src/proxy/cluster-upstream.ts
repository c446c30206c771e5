import { setTimeout as pause } from 'node:timers/promises'
import { type EitherWay, eitherWay } from '../client/either-way.ts'
import type { InnerOptions } from '../client/inner.ts'
import { askHttp1Upgrade } from '../forward/http1-upgrade.ts'
import { Refusal } from '../forward/refusal.ts'
import type {
  UpgradeAnswer,
  UpgradeHead,
  Upstream,
  UpstreamCall,
  UpstreamEvents,
  UpstreamRequest,
} from '../forward/upstream.ts'
import { statusOf } from '../kube/status.ts'
import type { PipeBudget } from '../pipe/budget.ts'
import type { CarrierWish } from '../pipe/initiator.ts'
import type { Log, World } from '../world.ts'
import type { Credential, ProxyCluster, Ways } from './cluster.ts'
import { clusterCall, type SessionSource } from './cluster-call.ts'
import type { ClusterCredential } from './cluster-credential.ts'
import { clusterCredential } from './cluster-credential.ts'
import { withinDeadline } from './deadline.ts'
import { type InnerConnection, openPiped, openPlain } from './inner-connection.ts'
import type { InnerPath } from './inner-path.ts'
import type { InnerSession } from './inner-session.ts'
import { innerSession } from './inner-session.ts'
import { withIdentity } from './outgoing-headers.ts'
import { patientWebSocket } from './patient-websocket.ts'
import { isOf, type SessionPool, sessionPool } from './session-pool.ts'

/**
 * The way to one cluster's agent: warm sessions for requests and upgrades; for the upgrades of an agent that
 * offers no extended CONNECT, a connection of its own each. Sessions are opened when they are needed and replaced when they die or the certificate changes; what
 * runs on an old one goes on. Only a GET or HEAD is ever sent twice, once, and before any answer.
 */
export interface ClusterUpstream extends Upstream {
  readonly cluster: ProxyCluster
  /** Whether there are sessions. */
  readonly isInUse: boolean
  /** The same cluster with other CAs: what is opened from now on goes by them, by a certificate of now. */
  follow(cluster: ProxyCluster): void
  /** Every five seconds, for as long as the proxy runs. */
  beat(): void
}

export interface ClusterUpstreamDeps {
  readonly world: World
  readonly log: Log
  readonly ways: Ways
  /** What all pipes may hold before they make their writers wait. */
  readonly budget: PipeBudget
}

export function clusterUpstream(deps: ClusterUpstreamDeps, cluster: ProxyCluster): ClusterUpstream {
  return new WarmUpstream(deps, cluster)
}

/** For telling the agent that sessions have ended. */
const GOODBYE_MS = 1_000

/** How one upgrade is asked for, and as whom. */
interface UpgradeWay {
  readonly credential: Credential
  readonly path: InnerPath
  ask(head: UpgradeHead, signal: AbortSignal): Promise<UpgradeAnswer>
  /** Instead of asking. */
  abandon(): void
}

class WarmUpstream implements ClusterUpstream, SessionSource {
  readonly name: string
  readonly authority: string
  cluster: ProxyCluster
  readonly #deps: ClusterUpstreamDeps
  readonly #credential: ClusterCredential
  readonly #sessions: SessionPool
  readonly #eitherWay: EitherWay

  constructor(deps: ClusterUpstreamDeps, cluster: ProxyCluster) {
    this.name = `the agent of ${cluster.name}`
    this.authority = cluster.host
    this.cluster = cluster
    this.#deps = deps
    this.#sessions = sessionPool({ name: this.name, open: (credential) => this.#open(credential) })
    this.#eitherWay = deps.ways.eitherWay ?? eitherWay(() => deps.world.now().getTime())
    this.#credential = clusterCredential(deps, cluster, (credential) => this.#adopt(credential))
  }

  send(request: UpstreamRequest, events: UpstreamEvents): UpstreamCall {
    return clusterCall(this, request, events)
  }

  /** A session to send on, with room for one more stream. Rejects with a `Refusal`. */
  session(): Promise<InnerSession> {
    const work = this.#credential.current()
    return this.#inTime(work.then((credential) => this.#sessions.forRequest(credential)))
  }

  async upgrade(head: UpgradeHead, signal: AbortSignal): Promise<UpgradeAnswer> {
    const way = await this.#upgradeWay(head, signal)
    const headers = withIdentity(head.headers, way.credential)
    const answer = await way.ask({ ...head, headers }, signal)
    if (!answer.isSwitched && answer.status === 401) this.refuse(way.credential)
    return head.protocol === 'websocket' ? patientWebSocket(answer, way.path) : answer
  }

  refuse(credential: Credential): void {
    this.#credential.refuse(credential)
    for (const session of this.#sessions) if (isOf(session, credential)) session.retire()
  }

  follow(cluster: ProxyCluster): void {
    const isOther = cluster.serverCaPem !== this.cluster.serverCaPem
    this.cluster = cluster
    if (!isOther) return
    for (const session of this.#sessions) session.retire()
    this.#credential.replace()
  }

  get isInUse(): boolean {
    return this.#sessions.size > 0
  }

  beat(): void {
    if (!this.isInUse) return
    this.#credential.renewWhenDue()
    for (const session of this.#sessions) session.beat()
  }

  /** The agent shall hear of it, so that nothing waits there to be resumed. */
  async close(): Promise<void> {
    const goodbyes = Array.from(this.#sessions, ({ path }) => path.over)
    this.#sessions.close()
    const over = new AbortController()
    const late = pause(GOODBYE_MS, undefined, { signal: over.signal }).catch(() => {})
    await Promise.race([Promise.all(goodbyes), late])
    over.abort()
  }

  /** Rejects with a `Refusal` within the deadline. */
  async #upgradeWay(head: UpgradeHead, signal: AbortSignal): Promise<UpgradeWay> {
    const work = this.#findUpgradeWay(head)
    try {
      const way = await this.#inTime(work)
      signal.throwIfAborted()
      return way
    } catch (error) {
      // One that comes after all belongs to nobody.
      work.then((way) => way.abandon()).catch(() => {})
      throw error
    }
  }

  async #findUpgradeWay({ protocol, method }: UpgradeHead): Promise<UpgradeWay> {
    const credential = await this.#credential.current()
    // An extended CONNECT stands for a POST when it is for SPDY.
    if (protocol !== 'websocket' && method !== 'POST') return this.#dedicatedWay()
    const held = await this.#sessions.forUpgrade(credential)
    if (!held) return this.#dedicatedWay()
    const { session, letGo } = held
    return {
      credential: session.credential,
      path: session.path,
      ask: (head, signal) => session.upgrade(head, signal).finally(letGo),
      abandon: letGo,
    }
  }

  async #dedicatedWay(): Promise<UpgradeWay> {
    const credential = await this.#credential.current()
    const { socket, path } = await this.#innerSocket(credential, ['http/1.1'])
    return {
      credential,
      path,
      ask: (head, signal) => askHttp1Upgrade(socket, this.cluster.host, head, signal),
      abandon: () => socket.destroy(),
    }
  }

  async #open(credential: Credential): Promise<InnerSession> {
    const { cluster, name } = this
    const session = innerSession({
      ...(await this.#innerSocket(credential, ['h2'])),
      host: cluster.host,
      name,
      credential,
      now: () => this.#deps.world.now().getTime(),
    })
    this.#deps.log.info('session opened', { cluster: cluster.id })
    return session
  }

  /** Through the hub; where that is not to be had, straight to the agent if it has an address of its own. */
  #innerSocket(credential: Credential, alpn: string[]): Promise<InnerConnection> {
    const { ways, log } = this.#deps
    const { id, host, serverCaPem } = this.cluster
    const { certPem, keyPem } = credential
    const options = { host, serverCaPem, certPem, keyPem, alpn }
    return this.#eitherWay<InnerConnection>({
      hub: () => this.#innerByHub(options),
      direct: async () => {
        const stream = await ways.connectDirect?.(id)
        if (!stream) return undefined
        log.warn('trying the direct address', { cluster: id })
        return openPlain(stream, options)
      },
      discard: ({ socket }) => void socket.destroy(),
    })
  }

  async #innerByHub(options: InnerOptions): Promise<InnerConnection> {
    const { ways, world, log, budget } = this.#deps
    const { id } = this.cluster
    const connect = () => ways.connect(id)
    if (!ways.connectPipe) return openPlain(await connect(), options)
    const connectPipe = (wish: CarrierWish) => ways.connectPipe!(id, wish)
    return openPiped({ world, log, budget, peerName: this.name, connect, connectPipe }, options)
  }

  /** A new certificate: sessions of the one before it take nothing new. */
  #adopt(credential: Credential): void {
    for (const session of this.#sessions) if (!isOf(session, credential)) session.retire()
  }

  /** For whoever waits: in time, and as a refusal that says why. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    try {
      return await withinDeadline(work, this.name)
    } catch (error) {
      throw error instanceof Refusal ? error : new Refusal(statusOf(error))
    }
  }
}
