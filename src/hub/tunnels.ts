import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import type { Directory } from '../directory/directory.ts'
import type { DirectoryState } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { messageOf, UnreachableError } from '../errors.ts'
import type { AgentPresence } from '../protocol/messages.ts'
import { openTunnel, refuseTunnel } from '../tunnel/hub-end.ts'
import type { Log, World } from '../world.ts'
import { type AgentLink, agentLink, readHello } from './agent-link.ts'
import { type Attendance, attendance } from './attendance.ts'
import type { Book } from './book.ts'
import type { HubEvents } from './events.ts'
import type { HubLimits } from './limits.ts'
import { clusterOfAgent, type Peer } from './peer.ts'
import { type ReturningAgents, returningAgents } from './returning-agents.ts'
import type { HubStore } from './store.ts'

/**
 * The agents that are connected now. A tunnel belongs to the cluster whose statement names its key,
 * whatever the agent says of itself; the newest tunnel of a replica replaces the one before.
 */
export interface Tunnels {
  readonly count: number
  /** Takes a connection that chose the tunnel protocol. Never rejects: it is refused by being closed. */
  accept(socket: TLSSocket, peer: Peer): Promise<void>
  /**
   * A stream to a cluster, by the least busy of its replicas or the one that is named.
   * @throws UnreachableError MCM_AGENT_UNREACHABLE
   */
  connect(
    cluster: string,
    authority: string,
    clientAddress: string,
    replica?: string,
  ): Promise<Duplex>
  presence(cluster: string): AgentPresence[]
  /** Tells agents what is new, and ends tunnels of clusters that are no more. */
  follow(directory: Directory): Promise<void>
  /** Says goodbye to every agent; resolves when all are gone, after `graceMs` by force. */
  stop(graceMs: number): Promise<void>
}

interface TunnelDeps {
  readonly world: World
  readonly log: Log
  readonly limits: HubLimits
  readonly events: HubEvents
  readonly store: HubStore
  readonly book: Book
}

export function tunnels(deps: TunnelDeps): Tunnels {
  return new LiveTunnels(deps)
}

class LiveTunnels implements Tunnels {
  readonly #deps: TunnelDeps
  readonly #attendance: Attendance
  readonly #returning: ReturningAgents
  /** By cluster, then replica. */
  readonly #links = new Map<string, Map<string, AgentLink>>()
  #turn = 0
  #isStopping = false

  constructor(deps: TunnelDeps) {
    this.#deps = deps
    this.#attendance = attendance(deps.store, deps.log, deps.limits.attendanceMs)
    this.#returning = returningAgents(deps.store, deps.limits.returnMs)
  }

  get count(): number {
    let count = 0
    for (const replicas of this.#links.values()) count += replicas.size
    return count
  }

  async accept(socket: TLSSocket, peer: Peer): Promise<void> {
    const { book, events, limits, log } = this.#deps
    const { key, address } = peer
    const cluster = key && clusterOfAgent(book.current.state, key)
    if (!cluster || this.#isStopping) {
      const why = this.#isStopping ? 'the hub stops' : 'no cluster of the directory has this key'
      events.tunnelRefused(why, key, address)
      refuseTunnel(socket, why)
      return
    }
    const tunnel = openTunnel(socket, { ...limits, answerTimeoutMs: limits.agentAnswerMs, log })
    try {
      const hello = await readHello(tunnel)
      if (hello.cluster !== cluster) throw new Error(`it says it is of ${hello.cluster}`)
      const since = this.#deps.world.now()
      await this.#welcome(agentLink({ cluster, key, hello, tunnel, since, address }, events))
    } catch (error) {
      events.tunnelRefused(messageOf(error), key, address)
      await tunnel.stop()
    }
  }

  async connect(
    cluster: string,
    authority: string,
    clientAddress: string,
    replica?: string,
  ): Promise<Duplex> {
    await this.#returning.wait(cluster, () => this.#isConnected(cluster, replica))
    for (const { tunnel, name } of this.#inOrder(cluster)) {
      if (replica !== undefined && name.replica !== replica) continue
      try {
        return await tunnel.connect(authority, { 'mcm-forwarded-for': clientAddress })
      } catch (error) {
        // This replica has just gone, or hangs: nothing was sent yet, so another may do it.
        this.#deps.log.warn('tunnel_connect_failed', { cluster, reason: messageOf(error) })
      }
    }
    throw noAgent(replica)
  }

  #isConnected(cluster: string, replica: string | undefined): boolean {
    const links = [...(this.#links.get(cluster)?.values() ?? [])]
    return links.some(
      ({ tunnel, name }) => tunnel.isOpen() && (replica === undefined || name.replica === replica),
    )
  }

  presence(cluster: string): AgentPresence[] {
    return [...(this.#links.get(cluster)?.values() ?? [])]
      .filter(({ tunnel }) => tunnel.isOpen())
      .map(({ hello, since, tunnel }) => ({
        replica: hello.replica,
        version: hello.version,
        kubernetesVersion: hello.kubernetesVersion,
        since: formatTime(since),
        roundTripMs: tunnel.roundTripMs(),
      }))
  }

  async follow(directory: Directory): Promise<void> {
    const links = [...this.#links.values()].flatMap((replicas) => [...replicas.values()])
    for (const link of links) {
      void this.#bring(link, directory)
      // Each has to look through the whole directory: others get their turn in between.
      await turn()
    }
  }

  /** The agent is told of its own end before its tunnel ends. */
  async #bring(link: AgentLink, directory: Directory): Promise<void> {
    await link.push(directory)
    if (!isAgentOf(directory.state, link)) await link.tunnel.stop()
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true
    this.#returning.stop()
    const links = [...this.#links.values()].flatMap((replicas) => [...replicas.values()])
    await Promise.all(links.map(({ tunnel }) => tunnel.stop(graceMs)))
    await this.#attendance.flush()
  }

  /** Kept up with the directory before anybody is sent to it. */
  async #welcome(link: AgentLink): Promise<void> {
    const { events, book } = this.#deps
    const pushed = book.current
    await link.push(pushed)
    const { cluster, replica } = link.name
    if (!link.tunnel.isOpen() || !isAgentOf(book.current.state, link)) {
      await link.tunnel.stop()
      return
    }
    const replicas = this.#links.get(cluster) ?? new Map<string, AgentLink>()
    this.#links.set(cluster, replicas)
    const former = replicas.get(replica)
    replicas.set(replica, link)
    this.#returning.arrived(cluster)
    void former?.tunnel.stop()
    events.tunnelOpened(link.name, link.address, link.hello.version)
    // What was appended meanwhile was told to those that were here.
    if (book.current !== pushed) void link.push(book.current)
    this.#record(link)
    void link.tunnel.draining.then(() => this.#forget(link))
    void link.tunnel.closed.then(() => events.tunnelClosed(link.name, 'closed'))
  }

  #forget(link: AgentLink): void {
    const { cluster, replica } = link.name
    const replicas = this.#links.get(cluster)
    if (replicas?.get(replica) === link) replicas.delete(replica)
    if (replicas?.size === 0) this.#links.delete(cluster)
    this.#record(link)
  }

  #record({ name, hello }: AgentLink): void {
    const { version, kubernetesVersion } = hello
    const lastSeen = formatTime(this.#deps.world.now())
    this.#attendance.record({ ...name, version, kubernetesVersion, lastSeen })
  }

  /** The least busy first; equals take turns. */
  #inOrder(cluster: string): AgentLink[] {
    const open = [...(this.#links.get(cluster)?.values() ?? [])].filter(({ tunnel }) =>
      tunnel.isOpen(),
    )
    this.#turn += 1
    const start = open.length === 0 ? 0 : this.#turn % open.length
    const turned = [...open.slice(start), ...open.slice(0, start)]
    return turned.sort((a, b) => a.tunnel.openStreams() - b.tunnel.openStreams())
  }
}

/** A cluster may be removed, or get another agent key. */
function isAgentOf(state: DirectoryState, { name, key }: AgentLink): boolean {
  return state.clusters.get(name.cluster)?.agentKey === key
}

function noAgent(replica: string | undefined): UnreachableError {
  return new UnreachableError(
    'MCM_AGENT_UNREACHABLE',
    replica === undefined
      ? 'no agent of this cluster is connected to the hub'
      : 'the agent of this session is not connected to the hub',
    { hint: 'look at the agent in the cluster: kubectl -n mcm-system get pods' },
  )
}
