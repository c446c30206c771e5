import type { Duplex } from 'node:stream'
import { openInner } from '../client/inner.ts'
import { messageOf, UnreachableError } from '../errors.ts'
import { Refusal } from '../forward/refusal.ts'
import type {
  Upstream,
  UpstreamCall,
  UpstreamEvents,
  UpstreamRequest,
} from '../forward/upstream.ts'
import { statusOf } from '../kube/status.ts'
import type { Log, World } from '../world.ts'
import type { Credential, ProxyCluster, Ways } from './cluster.ts'
import { clusterCall, type SessionSource } from './cluster-call.ts'
import type { ClusterCredential } from './cluster-credential.ts'
import { clusterCredential } from './cluster-credential.ts'
import { ATTEMPT_MS, withinDeadline } from './deadline.ts'
import type { InnerSession } from './inner-session.ts'
import { innerSession } from './inner-session.ts'

/**
 * The way to one cluster's agent: warm sessions for requests, one connection of its own for every upgrade.
 * Sessions are opened when they are needed and replaced when they die or the certificate changes; what
 * runs on an old one goes on. Only a GET or HEAD is ever sent twice, once, and before any answer.
 */
export interface ClusterUpstream extends Upstream {
  readonly cluster: ProxyCluster
  /** The certificate that upgrades are made with. Rejects within the deadline with a `Refusal`. */
  identity(): Promise<Credential>
  /** The agent answered 401 to a request made with it: it is not used again. */
  refuse(credential: Credential): void
  /** Every five seconds, for as long as the proxy runs. */
  beat(): void
}

export interface ClusterUpstreamDeps {
  readonly world: World
  readonly log: Log
  readonly ways: Ways
}

export function clusterUpstream(deps: ClusterUpstreamDeps, cluster: ProxyCluster): ClusterUpstream {
  return new WarmUpstream(deps, cluster)
}

class WarmUpstream implements ClusterUpstream, SessionSource {
  readonly name: string
  readonly authority: string
  readonly cluster: ProxyCluster
  readonly #deps: ClusterUpstreamDeps
  readonly #credential: ClusterCredential
  readonly #sessions = new Set<InnerSession>()
  #opening: Promise<InnerSession> | undefined
  #isClosed = false

  constructor(deps: ClusterUpstreamDeps, cluster: ProxyCluster) {
    this.name = `the agent of ${cluster.name}`
    this.authority = cluster.host
    this.cluster = cluster
    this.#deps = deps
    this.#credential = clusterCredential(deps, cluster, (credential) => this.#adopt(credential))
  }

  send(request: UpstreamRequest, events: UpstreamEvents): UpstreamCall {
    return clusterCall(this, request, events)
  }

  /** A session to send on, with room for one more stream. Rejects with a `Refusal`. */
  session(): Promise<InnerSession> {
    return this.#inTime(this.#usableSession())
  }

  identity(): Promise<Credential> {
    return this.#inTime(this.#credential.current())
  }

  refuse(credential: Credential): void {
    this.#credential.refuse(credential)
    for (const session of this.#sessions) if (isOf(session, credential)) session.retire()
  }

  async dedicated(signal: AbortSignal): Promise<Duplex> {
    const work = this.#dedicatedSocket(signal)
    try {
      const socket = await this.#inTime(work)
      signal.throwIfAborted()
      return socket
    } catch (error) {
      // One that comes after all belongs to nobody.
      work.then((socket) => socket.destroy()).catch(() => {})
      throw error
    }
  }

  beat(): void {
    if (this.#sessions.size === 0) return
    this.#credential.renewWhenDue()
    for (const session of this.#sessions) session.beat()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const session of this.#sessions) session.destroy()
  }

  async #usableSession(): Promise<InnerSession> {
    const credential = await this.#credential.current()
    for (const session of this.#sessions)
      if (session.isUsable() && isOf(session, credential) && (await session.isAlive()))
        return session
    this.#opening ??= withinDeadline(this.#open(), this.name, ATTEMPT_MS).finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #open(): Promise<InnerSession> {
    const credential = await this.#credential.current()
    const { cluster, name } = this
    const socket = await this.#innerSocket(credential, ['h2'])
    const session = innerSession({
      socket,
      host: cluster.host,
      name,
      credential,
      now: () => this.#deps.world.now().getTime(),
      dedicated: (signal) => this.dedicated(signal),
    })
    this.#sessions.add(session)
    session.closed.then(() => this.#sessions.delete(session))
    this.#deps.log.info('session opened', { cluster: cluster.id })
    if (this.#isClosed) session.destroy()
    return session
  }

  async #dedicatedSocket(signal: AbortSignal): Promise<Duplex> {
    const credential = await this.#credential.current()
    signal.throwIfAborted()
    return this.#innerSocket(credential, ['http/1.1'])
  }

  async #innerSocket(credential: Credential, alpn: string[]) {
    const stream = await this.#outerStream()
    const { host, serverCaPem } = this.cluster
    const { certPem, keyPem } = credential
    return openInner(stream, { host, serverCaPem, certPem, keyPem, alpn })
  }

  /** Through the hub; where no hub can be reached, straight to the agent if it has an address of its own. */
  async #outerStream(): Promise<Duplex> {
    const { ways, log } = this.#deps
    const { id } = this.cluster
    try {
      return await ways.connect(id)
    } catch (error) {
      if (!(error instanceof UnreachableError) || !ways.connectDirect) throw error
      log.warn('no way through the hub, trying the direct address', {
        cluster: id,
        reason: messageOf(error),
      })
      return ways.connectDirect(id)
    }
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

function isOf(session: InnerSession, credential: Credential): boolean {
  return session.credential.certPem === credential.certPem
}
