/**
 * A hub taken over: it owns the true hub's directory, certificate and key, answers its API, takes its agents'
 * tunnels, and does with every CONNECT whatever a test tells it. Nobody's right to pass is looked at.
 */

import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Directory } from '../../src/directory/directory.ts'
import type { McmError } from '../../src/errors.ts'
import { type Book, openBook } from '../../src/hub/book.ts'
import { hubDatabasePath } from '../../src/hub/data.ts'
import { hubEvents } from '../../src/hub/events.ts'
import { openGuests } from '../../src/hub/guests.ts'
import { http1 } from '../../src/hub/http1.ts'
import { http2 } from '../../src/hub/http2.ts'
import { DEFAULT_LIMITS } from '../../src/hub/limits.ts'
import { type Listener, listen } from '../../src/hub/listener.ts'
import { hubMetrics } from '../../src/hub/metrics.ts'
import { type Peer, peerOf } from '../../src/hub/peer.ts'
import { registrations } from '../../src/hub/registrations.ts'
import { type HubDatabase, hubStore, openHubDatabase } from '../../src/hub/store.ts'
import { type Tunnels, tunnels } from '../../src/hub/tunnels.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { parseClusterAuthority } from '../../src/protocol/names.ts'
import { realWorld } from '../../src/runtime.ts'
import { Secret } from '../../src/secret.ts'
import { startRelay } from '../../src/tunnel/relay.ts'
import type { Log } from '../../src/world.ts'

/** What the hub owns: everybody pins this certificate. */
export interface HubIdentity {
  readonly pem: string
  readonly der: Buffer
  readonly keyPem: string
}

/** A CONNECT that was answered with 200: `client` carries the inner layer from here on. */
export interface Caught {
  readonly authority: string
  readonly peer: Peer
  readonly client: Duplex
}

export type Deed = (caught: Caught, hub: HostileHub) => void | Promise<void>

/** What a true hub would do. */
export const relayHonestly: Deed = async ({ authority, client }, hub) => {
  startRelay(client, await hub.toAgent(authority))
}

export class HostileHub {
  /** What becomes of the CONNECTs from now on. */
  deed: Deed = relayHonestly
  /** What it says to every CONNECT from now on, instead of 200. */
  refusal: McmError | undefined
  /** Connections of people, ever. */
  connections = 0
  /** The directory as it is told to agents; people are told the truth. */
  show: (directory: Directory) => Directory = (directory) => directory
  /** What agents said to pushes that they refused. */
  readonly refusals: string[] = []
  readonly identity: HubIdentity
  readonly #database: HubDatabase
  readonly #book: Book
  #links!: Tunnels
  readonly #clients = new Set<Duplex>()
  #listener!: Listener

  private constructor(identity: HubIdentity, database: HubDatabase, book: Book) {
    this.identity = identity
    this.#database = database
    this.#book = book
  }

  /** Takes the place of a hub that has ended: its data, its address. */
  static async takeOver(data: string, at: { host: string; port: number }): Promise<HostileHub> {
    const identity = await readIdentity(data)
    const database = await openHubDatabase(hubDatabasePath(data))
    const [world, limits, metrics] = [realWorld(), DEFAULT_LIMITS, hubMetrics()]
    const store = hubStore(database)
    const book = await openBook(store, world)
    const hub = new HostileHub(identity, database, book)
    const log = hub.#log()
    const events = hubEvents(log)
    const links = tunnels({ world, log, limits, events, store, book: hub.#shownBook() })
    hub.#links = links
    book.onAppend(() => void hub.tellAgents())
    const switchboard = {
      open: async (peer: Peer, authority: string) => {
        if (hub.refusal) throw hub.refusal
        return hub.#line(peer, authority)
      },
    }
    const guests = await openGuests({ world, book, store, proxyFor: () => undefined })
    const api = http2({
      ...{ world, book, guests, store, events, limits, switchboard, tunnels: links },
      registrations: registrations({ world, store, events }),
      version: 'hostile',
      ownPin: sha256(identity.der),
      nextCertificate: () => undefined,
    })
    const certificate = { pem: identity.pem, keyPem: new Secret(identity.keyPem) }
    const listener = {
      ...{ limits, metrics, certificate },
      onTunnel: (socket: Parameters<typeof api.serve>[0]) =>
        void links.accept(socket, peerOf(socket)),
      onHttp1: hub.#counted(http1({ limits, switchboard, isReady: () => true }).serve),
      onHttp2: hub.#counted(api.serve),
      onFailure: () => {},
    }
    hub.#listener = await listen(listener, at)
    return hub
  }

  /** What it shows now, to every agent that is connected. */
  tellAgents(): Promise<void> {
    return this.#links.follow(this.show(this.#book.current))
  }

  get directory(): Directory {
    return this.#book.current
  }

  #shownBook(): Book {
    const [book, shown] = [this.#book, () => this.show(this.#book.current)]
    return {
      get current() {
        return shown()
      },
      append: (update) => book.append(update),
      found: (update, ownPin) => book.found(update, ownPin),
      onAppend: (listener) => book.onAppend(listener),
    }
  }

  #counted<T>(serve: (socket: T) => void): (socket: T) => void {
    return (socket) => {
      this.connections += 1
      serve(socket)
    }
  }

  #log(): Log {
    const warn = (event: string, fields: Readonly<Record<string, unknown>> = {}) => {
      if (event === 'directory_push_refused') this.refusals.push(String(fields['reason']))
    }
    return { info: () => {}, warn, error: () => {} }
  }

  /** A stream of its own to an agent: of the cluster the authority names, unless told. */
  toAgent(
    authority: string,
    cluster = parseClusterAuthority(authority)?.id ?? '',
  ): Promise<Duplex> {
    return this.#links.connect(cluster, authority, '192.0.2.1:1')
  }

  agentsOf(cluster: string): number {
    return this.#links.presence(cluster).length
  }

  /** Ends every connection of people that it carries. */
  cut(): void {
    for (const client of this.#clients) client.destroy()
  }

  async stop(): Promise<void> {
    this.#listener.close()
    await this.#links.stop(0)
    await this.#listener.destroy()
    await this.#database.destroy()
  }

  #line(peer: Peer, authority: string) {
    const join = (client: Duplex) => {
      client.on('error', () => {})
      this.#clients.add(client)
      client.once('close', () => this.#clients.delete(client))
      const done = Promise.resolve(this.deed({ authority, peer, client }, this))
      done.catch(() => client.destroy())
    }
    return { join, abandon: () => {} }
  }
}

async function readIdentity(data: string): Promise<HubIdentity> {
  const pem = await readFile(join(data, 'hub-certificate.pem'), 'utf8')
  const keyPem = await readFile(join(data, 'hub-key.pem'), 'utf8')
  return { pem, keyPem, der: new X509Certificate(pem).raw }
}
