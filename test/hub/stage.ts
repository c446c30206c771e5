/**
 * A hub on loopback with everything around it: a fleet, people with devices, clusters with a user CA
 * each, agents at the far end of real tunnels, and clients that send exactly what they are told.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { dialHub } from '../../src/client/dial.ts'
import { type HubApi, openHub } from '../../src/client/hub.ts'
import { Directory } from '../../src/directory/directory.ts'
import {
  generateSigningKey,
  inviteSigningKey,
  type SigningKey,
  signingKeyPem,
} from '../../src/directory/signing-key.ts'
import { signStatement } from '../../src/directory/statement.ts'
import { formatTime } from '../../src/directory/time.ts'
import { NotFoundError } from '../../src/errors.ts'
import { type HubOptions, startHub } from '../../src/hub/hub.ts'
import { ensureStartToken } from '../../src/hub/start-token.ts'
import { type HubDatabase, hubStore, openHubDatabase } from '../../src/hub/store.ts'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { createKeyCertificate, issueUserCertificate } from '../../src/pki/profiles.ts'
import type { DirectoryAppend, Hello } from '../../src/protocol/messages.ts'
import { ALPN_HTTP2, ALPN_TUNNEL, clusterHost, newClusterId } from '../../src/protocol/names.ts'
import type { Secret } from '../../src/secret.ts'
import { serveTunnel } from '../../src/tunnel/agent-end.ts'
import type { TunnelEnd } from '../../src/tunnel/session.ts'
import type { Log, Running, World } from '../../src/world.ts'
import { hubIdentity } from '../client/certificates.ts'
import { type Draft, p256 } from '../directory/fleet.ts'

/** A clock that stands still unless it is moved. */
export class TestWorld implements World {
  #ms = Date.parse('2026-03-01T12:00:00Z')
  now(): Date {
    return new Date(this.#ms)
  }
  random(byteCount: number): Uint8Array {
    return randomBytes(byteCount)
  }
  forward(ms: number): void {
    this.#ms += ms
  }
}

export class TestLog implements Log {
  readonly lines: { event: string; fields: Readonly<Record<string, unknown>> }[] = []
  #add(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ event, fields })
  }
  info = this.#add
  warn = this.#add
  error = this.#add
  of(event: string): Readonly<Record<string, unknown>>[] {
    return this.lines.filter((line) => line.event === event).map(({ fields }) => fields)
  }
}

export interface Identity {
  readonly certPem: string
  readonly keyPem: Secret<string>
}

export interface TestCluster {
  readonly id: string
  readonly authority: string
  readonly userCa: Authority
  readonly agentKey: SigningKey
}

export interface TestAgent {
  readonly tunnel: TunnelEnd
  readonly socket: TLSSocket
  /** What the hub pushed, in order. */
  readonly pushes: DirectoryAppend[]
  directory: Directory
}

export interface AgentOptions {
  readonly replica?: string
  readonly hello?: Partial<Hello>
  readonly connect?: (authority: string, headers: Record<string, unknown>, stream: Duplex) => void
  readonly directory?: Directory
}

export interface Http1Answer {
  readonly status: number
  readonly phrase: string
  readonly socket: TLSSocket
}

type HubIdentity = Awaited<ReturnType<typeof hubIdentity>>

export class Stage {
  readonly world = new TestWorld()
  readonly log = new TestLog()
  readonly fleetKey = generateSigningKey()
  readonly alice = generateSigningKey()
  hub!: Running<{ host: string; port: number; metricsPort?: number }>
  directory = Directory.empty()
  identity!: HubIdentity
  #database!: HubDatabase
  #aliceApi: HubApi | undefined
  readonly #path: string
  readonly #options: Partial<HubOptions>
  readonly #signal: AbortSignal | undefined
  readonly #sockets = new Set<Socket>()

  private constructor(path: string, options: Partial<HubOptions>, signal?: AbortSignal) {
    this.#path = path
    this.#options = options
    this.#signal = signal
  }

  /** A hub without a fleet. */
  static async open(
    options: Partial<HubOptions> = {},
    path = ':memory:',
    signal?: AbortSignal,
  ): Promise<Stage> {
    const stage = new Stage(path, options, signal)
    stage.identity = await hubIdentity()
    await stage.start()
    return stage
  }

  /** A hub whose fleet alice has founded. */
  static async founded(options: Partial<HubOptions> = {}, path = ':memory:'): Promise<Stage> {
    const stage = await Stage.open(options, path)
    await stage.found()
    return stage
  }

  async start(): Promise<void> {
    const { world, log, identity } = this
    this.#database = await openHubDatabase(this.#path)
    this.hub = await startHub(
      {
        world,
        log,
        database: this.#database,
        certificate: { pem: identity.certPem, keyPem: identity.keyPem },
        ...(this.#signal ? { signal: this.#signal } : {}),
      },
      { host: '127.0.0.1', port: 0, version: '1.2.3', ...this.#options },
    )
  }

  async stop(): Promise<void> {
    this.#aliceApi?.close()
    this.#aliceApi = undefined
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
    await this.hub.stop()
    await this.#database.destroy()
  }

  get store() {
    return hubStore(this.#database)
  }

  /** Changes a character of a stored statement, as somebody with the file would. */
  async tamper(): Promise<void> {
    const row = await this.#database
      .selectFrom('statements')
      .select('text')
      .where('seq', '=', 2)
      .executeTakeFirstOrThrow()
    const at = row.text.length - 40
    const text = `${row.text.slice(0, at)}${row.text[at] === 'A' ? 'B' : 'A'}${row.text.slice(at + 1)}`
    await this.#database.updateTable('statements').set({ text }).where('seq', '=', 2).execute()
  }

  get endpoint(): string {
    return `127.0.0.1:${this.hub.address.port}`
  }

  async found(): Promise<void> {
    const token = await ensureStartToken(this.store, this.world)
    const api = await this.api(this.alice)
    const update = await this.foundingStatements()
    await api.foundFleet({ token: token!.reveal(), ...update })
    api.close()
    await api.closed
    this.directory = await this.directory.extend(update)
  }

  async foundingStatements(pin = this.identity.der): Promise<DirectoryAppend> {
    const device = { key: p256(this.alice), name: 'laptop' }
    const genesis = await this.sign(
      { type: 'fleet', detail: { fleetKey: p256(this.fleetKey), user: 'alice', device } },
      [this.fleetKey, this.alice],
    )
    const certificate = pin.toString('base64')
    const hub = await this.sign(
      {
        type: 'hub',
        detail: { endpoints: ['127.0.0.1:8443'], privateEndpoints: [], certificate },
      },
      [this.alice],
      { seq: 0, hash: genesis.statement.hash },
    )
    return {
      statements: [genesis.statement.text, hub.statement.text],
      details: [genesis.detail, hub.detail],
    }
  }

  sign(draft: Draft, signers: readonly SigningKey[], after = this.directory.head) {
    const fields = { after, time: this.world.now(), salt: randomBytes(16) }
    return signStatement({ ...draft, ...fields }, signers)
  }

  /** Signs, appends at the hub, and gives the statement's number. */
  async append(draft: Draft, signers: readonly SigningKey[] = [this.alice]): Promise<number> {
    const { statement, detail } = await this.sign(draft, signers)
    const update = { statements: [statement.text], details: [detail] }
    this.#aliceApi ??= await this.api(this.alice)
    await this.#aliceApi.append(update)
    this.directory = await this.directory.extend(update)
    return statement.seq
  }

  /** Invites a user and lets a device of theirs in. */
  async admit(user: string, device = generateSigningKey()): Promise<SigningKey> {
    const key = inviteSigningKey(randomBytes(16).toString('base64url'), this.directory.fleet!)
    const expires = '2026-06-01T00:00:00Z'
    const invite = await this.append({
      type: 'invite',
      inviteKey: key.id,
      detail: { user, groups: [], expires, bot: false },
    })
    const detail = { user, name: 'laptop', key: p256(device) }
    await this.append({ type: 'device', invite, detail }, [key, device])
    return device
  }

  async member(action: 'add' | 'remove', user: string, cluster: string): Promise<void> {
    const subject = { kind: 'user', name: user } as const
    await this.append({ type: 'member', detail: { action, subject, cluster } })
  }

  /** A cluster in the directory, and its members. */
  async cluster(...members: string[]): Promise<TestCluster> {
    const id = newClusterId(this.world.random)
    const userCa = await createAuthority(this.world, { commonName: `${id} users` })
    const agentKey = generateSigningKey()
    const detail = {
      id,
      name: id,
      labels: {},
      serverCa: userCa.certificateDer.toString('base64'),
      userCa: userCa.certificateDer.toString('base64'),
      agentKey: agentKey.id,
      issuer: 'agent',
      prefix: 'mcm:',
    } as const
    await this.append({ type: 'cluster', detail })
    for (const user of members) await this.member('add', user, id)
    return { id, authority: `${clusterHost(id)}:443`, userCa, agentKey }
  }

  /** Signs a cluster anew with another user CA, and the one before until then. */
  async rotate({ id, userCa }: TestCluster, until: Date): Promise<void> {
    const { certificateDer } = await createAuthority(this.world, { commonName: `${id} next` })
    const [before, ca] = [userCa.certificateDer, certificateDer].map((der) =>
      der.toString('base64'),
    )
    const { name, agentKey } = this.directory.state.clusters.get(id)!
    const previous = { serverCa: before!, userCa: before!, until: formatTime(until) }
    const kept = { id, name, labels: {}, agentKey, issuer: 'agent', prefix: 'mcm:' } as const
    const detail = { ...kept, serverCa: ca!, userCa: ca!, previous }
    await this.append({ type: 'cluster', detail })
  }

  /** Many clusters at once, without members or agents; their ids. */
  async clusters(count: number): Promise<string[]> {
    const { certificateDer } = await createAuthority(this.world, { commonName: 'CA' })
    const ca = certificateDer.toString('base64')
    const ids = Array.from({ length: count }, () => newClusterId(this.world.random))
    for (let start = 0; start < count; start += 500) {
      const update: DirectoryAppend = { statements: [], details: [] }
      let after = this.directory.head
      for (const id of ids.slice(start, start + 500)) {
        const agentKey = randomBytes(32).toString('base64url')
        const fields = { id, name: id, labels: {}, serverCa: ca, userCa: ca, agentKey }
        const detail = { ...fields, issuer: 'agent', prefix: 'mcm:' } as const
        const signed = await this.sign({ type: 'cluster', detail }, [this.alice], after)
        update.statements.push(signed.statement.text)
        update.details.push(signed.detail)
        after = { seq: signed.statement.seq, hash: signed.statement.hash }
      }
      await (await this.api(this.alice)).append(update)
      this.directory = await this.directory.extend(update)
    }
    return ids
  }

  /** A connection as a device or agent, with the hub pinned. */
  async dial(key: SigningKey | undefined, alpn: string): Promise<TLSSocket> {
    const socket = await dialHub({
      endpoint: this.endpoint,
      alpn,
      pin: this.identity.pin,
      check: () => {},
      ...(key ? await this.keyIdentity(key) : {}),
    })
    this.#sockets.add(socket)
    return socket
  }

  async api(key?: SigningKey): Promise<HubApi> {
    return openHub(await this.dial(key, ALPN_HTTP2))
  }

  async keyIdentity(key: SigningKey): Promise<Identity> {
    const keyPem = signingKeyPem(key)
    return { keyPem, certPem: await createKeyCertificate(this.world, keyPem) }
  }

  /** What kubectl presents: a user certificate of this cluster, for a device of the user. */
  async userIdentity(cluster: TestCluster, user: string, device: string): Promise<Identity> {
    const { privateKeyPem, publicKeyDer } = generateKeyPair()
    const subject = { publicKeyDer, user, groups: [], device }
    const { pem } = await issueUserCertificate(this.world, cluster.userCa, subject, 3600)
    return { certPem: pem, keyPem: privateKeyPem }
  }

  /** An agent whose tunnel is up; it echoes unless told otherwise. */
  async agent(cluster: TestCluster, options: AgentOptions = {}): Promise<TestAgent> {
    const replica = options.replica ?? 'agent-0'
    const before = this.log.of('tunnel_opened').length
    const agent = await this.startAgent(cluster, options)
    await until(() => this.log.of('tunnel_opened').length > before, `${replica} connects`)
    return agent
  }

  async startAgent(cluster: TestCluster, options: AgentOptions = {}): Promise<TestAgent> {
    const socket = await this.dial(cluster.agentKey, ALPN_TUNNEL)
    const pushes: DirectoryAppend[] = []
    const directory = options.directory ?? Directory.empty(this.directory.fleet)
    const hello: Hello = {
      version: '1.2.3',
      cluster: cluster.id,
      replica: options.replica ?? 'agent-0',
      kubernetesVersion: 'v1.36.3',
      directory: directory.head,
      ...options.hello,
    }
    const agent: TestAgent = { tunnel: undefined!, socket, pushes, directory }
    const tunnel = serveTunnel(
      socket,
      {
        async request(_method, path, body) {
          if (path === '/.mcm/v1/hello') return { status: 200, body: hello }
          const update = JSON.parse(body.toString()) as DirectoryAppend
          pushes.push(update)
          agent.directory = await agent.directory.extend(update)
          return { status: 200, body: agent.directory.head }
        },
        connect(authority, headers, stream) {
          if (authority !== cluster.authority && !options.connect)
            throw new NotFoundError('MCM_NOT_FOUND', 'not mine')
          stream.on('error', () => {})
          if (options.connect) options.connect(authority, headers, stream)
          else stream.pipe(stream)
        },
      },
      { log: this.log },
    )
    return Object.assign(agent, { tunnel })
  }

  /** A TLS connection of a tool, with whatever certificate and protocols, over a socket of `tcp`. */
  async tls(
    identity?: Identity,
    protocols: string[] = ['h2', 'http/1.1'],
    transport = this.tcp(),
    session?: Buffer,
  ): Promise<TLSSocket> {
    const options: ConnectionOptions = {
      socket: transport,
      servername: 'localhost',
      rejectUnauthorized: false,
      ...(session ? { session } : {}),
      ...(protocols.length > 0 ? { ALPNProtocols: protocols } : {}),
      ...(identity ? { cert: identity.certPem, key: identity.keyPem.reveal() } : {}),
    }
    const socket = connectTls(options)
    // Destroying a socket under its TLS as well as the TLS crashes Node.
    this.#sockets.delete(transport)
    this.#sockets.add(socket)
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    return socket
  }

  tcp(localAddress = '127.0.0.1'): Socket {
    const socket = connectTcp({
      port: this.hub.address.port,
      host: '127.0.0.1',
      localAddress,
      allowHalfOpen: true,
    })
    this.#sockets.add(socket)
    socket.on('error', () => {})
    return socket
  }

  /** An HTTP/1.1 CONNECT as kubectl makes it. */
  async connect(
    authority: string,
    identity?: Identity,
    protocols?: string[],
    transport?: Socket,
  ): Promise<Http1Answer> {
    const socket = await this.tls(identity, protocols, transport)
    socket.write(
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nUser-Agent: Go-http-client/1.1\r\n\r\n`,
    )
    const line = (await readHead(socket)).split('\r\n')[0]!
    const [, status = '', phrase = ''] = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(line) ?? []
    return { status: Number(status), phrase, socket }
  }
}

/** The head of an answer; what follows stays in the socket. */
export function readHead(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0)
    const onData = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      socket.off('data', onData)
      socket.pause()
      if (head.length > end + 4) socket.unshift(head.subarray(end + 4))
      resolve(head.subarray(0, end).toString())
    }
    socket.on('data', onData)
    socket.once('close', () => reject(new Error(`closed after ${JSON.stringify(String(head))}`)))
  })
}

/** All there is to read. By events: async iteration takes a finished HTTP/2 stream for a broken one. */
export function readText(stream: Duplex): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    stream.on('data', (chunk) => {
      text += String(chunk)
    })
    stream.once('end', () => resolve(text))
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('closed before its end')))
    stream.resume()
  })
}

export function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve()
    else stream.once('close', resolve)
  })
}

/** Waits for something that other events bring about. */
export async function until(isTrue: () => boolean, what: string, withinMs = 5_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`it never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
