import {
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Directory } from '../../src/directory/directory.ts'
import { verifyInviteProof } from '../../src/directory/proofs.ts'
import { formatTime } from '../../src/directory/time.ts'
import { visibleDetails } from '../../src/directory/visibility.ts'
import { AccessDeniedError, type McmError, UnreachableError, UsageError } from '../../src/errors.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { peerKeyId } from '../../src/pki/peer.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import type { DirectoryAppend } from '../../src/protocol/messages.ts'
import { newClusterId, parseClusterAuthority } from '../../src/protocol/names.ts'
import type { Secret } from '../../src/secret.ts'
import type { World } from '../../src/world.ts'
import { answerError, answerJson, FakeAgent, readAll } from './fake-agent.ts'

export const START_TOKEN = 'c3RhcnQtdG9rZW4tMTIzNDU2'

/**
 * A hub as a person's machine meets it, honest unless told otherwise: real TLS and HTTP/2, the real
 * directory code, and switches for what a hostile or unlucky hub would do.
 */
export class FakeHub {
  readonly endpoint: string
  readonly pin: string
  readonly certificateDer: Buffer
  directory = Directory.empty()
  readonly agents = new Map<string, FakeAgent>()
  readonly publications = new Map<string, string>()
  readonly requests: string[] = []
  /** Changes a page before it is sent. */
  tamper: (page: ReturnType<Directory['page']>) => ReturnType<Directory['page']> = (page) => page
  /** Added to the hub's clock, in ms. */
  skewMs = 0
  /** Base64 DER of what it would show next. */
  nextCertificate: string | undefined
  /** The fleet this hub says it has, when not its own. */
  claimedFleet: string | undefined
  /** Runs once before the next append is looked at. */
  beforeAppend: (() => Promise<void>) | undefined
  /** What it says to every CONNECT. */
  connectRefusal: McmError | undefined
  /** In one append; as a real one's unless told. */
  maxStatements = 1_000
  /** Gets what is to be appended; somebody faster is then spoken of. */
  feignConflict: ((update: DirectoryAppend) => Promise<void> | void) | undefined
  /** Does everything and then loses the answer, so many times. */
  lostAnswers = 0
  clusterIds: string[] = []
  /** What a test adds, as `GET /path`; gets query and body. */
  readonly routes = new Map<string, (query: URLSearchParams, body: unknown) => object>()
  /** Ever accepted. */
  connections = 0
  readonly #world: World
  readonly #server: Http2SecureServer
  readonly #sessions = new Set<ServerHttp2Session>()

  private constructor(
    world: World,
    server: Http2SecureServer,
    port: number,
    certificateDer: Buffer,
  ) {
    this.#world = world
    this.#server = server
    this.endpoint = `127.0.0.1:${port}`
    this.certificateDer = certificateDer
    this.pin = sha256(certificateDer)
    server.on('session', (session) => {
      this.connections += 1
      this.#sessions.add(session)
      session.on('error', () => {})
      session.on('close', () => this.#sessions.delete(session))
    })
    server.on('stream', (stream, headers) => {
      stream.on('error', () => {})
      this.#answer(stream, headers).catch((error) => answerError(stream, error))
    })
  }

  static async start(world: World): Promise<FakeHub> {
    const { privateKeyPem } = generateKeyPair()
    // Set up a month ago, as hubs are.
    const made = {
      now: () => new Date(world.now().getTime() - 30 * 86_400_000),
      random: (count: number) => world.random(count),
    }
    const certificate = await createHubCertificate(made, privateKeyPem, ['127.0.0.1:8443'])
    const server = createSecureServer({
      key: privateKeyPem.reveal(),
      cert: certificate.pem,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      // As a real hub's: what is inside a stream would wait for the kernel's delayed acknowledgements.
      noDelay: true,
    })
    server.on('sessionError', () => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    return new FakeHub(world, server, port, certificate.der)
  }

  get startLink(): string {
    return `mcm://${this.endpoint}/start#pin=${this.pin}&token=${START_TOKEN}`
  }

  /** What an agent does when it comes up. */
  async registerAgent(
    id: string,
    pairingSecret: Secret<string>,
    ownersCaDer?: Buffer,
  ): Promise<FakeAgent> {
    const agent = await FakeAgent.create(this.#world, id, () => this.directory)
    agent.ownersCaDer = ownersCaDer
    this.agents.set(id, agent)
    this.publications.set(id, await agent.publication(pairingSecret))
    return agent
  }

  /** Shows another certificate from now on. */
  showCertificate(pem: string, keyPem: Secret<string>): void {
    this.#server.setSecureContext({ cert: pem, key: keyPem.reveal(), minVersion: 'TLSv1.3' })
  }

  dropConnections(): void {
    for (const session of this.#sessions) session.destroy()
  }

  async stop(): Promise<void> {
    for (const session of this.#sessions) session.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const key = callerKey(stream)
    if (headers[':method'] === 'CONNECT') return this.#connect(stream, headers, key)
    const url = new URL(`https://hub${headers[':path']}`)
    this.requests.push(`${headers[':method']} ${url.pathname}`)
    const text = await readAll(stream)
    const body = text === '' ? undefined : JSON.parse(text)
    const answer = await this.#api(`${headers[':method']} ${url.pathname}`, url, body as never, key)
    if (headers[':method'] === 'POST' && this.lostAnswers > 0) {
      this.lostAnswers -= 1
      return void stream.session?.destroy()
    }
    if (answer === undefined) {
      stream.respond({ ':status': 204 })
      stream.end()
    } else answerJson(stream, 200, answer)
  }

  async #connect(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    key: string | undefined,
  ): Promise<void> {
    const authority = String(headers[':authority'])
    this.requests.push(`CONNECT ${authority}`)
    if (this.connectRefusal) throw this.connectRefusal
    const target = parseClusterAuthority(authority)
    const mayPass = key !== undefined && this.directory.state.isLiveDevice(key)
    if (!target || !mayPass) throw new AccessDeniedError('MCM_FORBIDDEN', 'no such cluster for you')
    const agent = this.agents.get(target.id)
    if (!agent) {
      throw new UnreachableError('MCM_AGENT_UNREACHABLE', `no agent of ${target.id} is connected`)
    }
    stream.respond({ ':status': 200 })
    await agent.accept(authority, stream)
  }

  async #api(
    route: string,
    url: URL,
    body: never,
    key: string | undefined,
  ): Promise<object | undefined> {
    if (route === 'GET /v1/hub') return this.#info()
    if (route === 'GET /v1/directory') return this.#page(url, key)
    if (route === 'POST /v1/fleet') return this.#found(body)
    if (route === 'POST /v1/directory') return this.#append(body)
    if (route === 'POST /v1/clusters') return this.#newCluster()
    if (route === 'GET /v1/clusters') return this.#presence()
    const publication = /^GET \/v1\/clusters\/([^/]+)\/publication$/.exec(route)
    if (publication) {
      const text = this.publications.get(publication[1]!)
      return text === undefined ? undefined : { publication: text }
    }
    const added = this.routes.get(route)
    if (added) return added(url.searchParams, body)
    throw new UsageError('MCM_BAD_REQUEST', `no route ${route}`)
  }

  #info(): object {
    const time = formatTime(new Date(this.#world.now().getTime() + this.skewMs))
    const fleet = this.claimedFleet ?? this.directory.statements[0]?.hash
    const { nextCertificate } = this
    const next = nextCertificate === undefined ? {} : { nextCertificate }
    return { version: 'test', time, ...(fleet === undefined ? {} : { fleet }), ...next }
  }

  async #page(url: URL, key: string | undefined): Promise<object> {
    const after = Number(url.searchParams.get('after'))
    const proof = url.searchParams.get('invite')
    const viewer = proof
      ? ({ kind: 'invite', key: (await verifyInviteProof(proof)).keyId } as const)
      : ({ kind: 'device', key: key ?? '' } as const)
    const details = visibleDetails(this.directory, viewer)
    return this.tamper({ ...this.directory.page(after), details })
  }

  async #found(body: {
    token: string
    statements: string[]
    details: never[]
  }): Promise<object | undefined> {
    if (body.token !== START_TOKEN || this.directory.head)
      throw new AccessDeniedError('MCM_FORBIDDEN', 'the start token is wrong or was used')
    this.directory = await Directory.empty().extend(body)
    return this.directory.head!
  }

  async #append(body: DirectoryAppend): Promise<object | undefined> {
    if (this.feignConflict) {
      await this.feignConflict(body)
      throw new UnreachableError('MCM_CONFLICT', 'somebody was faster')
    }
    if (body.statements.length > this.maxStatements)
      throw new UsageError('MCM_BAD_REQUEST', 'it has too many statements')
    const before = this.beforeAppend
    this.beforeAppend = undefined
    await before?.()
    const current = this.directory
    const seq = current.head!.seq
    const parsed = JSON.parse(
      Buffer.from(JSON.parse(body.statements[0]!).payload, 'base64url').toString(),
    )
    if (parsed.prev !== current.head!.hash) {
      throw new UnreachableError('MCM_CONFLICT', `the head is ${seq}`)
    }
    const extended = await current.extend(body)
    // Compare and swap: another append may have been verified meanwhile.
    if (this.directory !== current) throw new UnreachableError('MCM_CONFLICT', 'the head moved')
    this.directory = extended
    return this.directory.head!
  }

  #newCluster(): object {
    const id = this.clusterIds.shift() ?? newClusterId((count) => this.#world.random(count))
    const expires = formatTime(new Date(this.#world.now().getTime() + 3_600_000))
    return { id, joinToken: 'am9pbi10b2tlbi0xMjM0NTY3', expires }
  }

  #presence(): object {
    const since = formatTime(this.#world.now())
    return [...this.agents.keys()].map((id) => ({
      id,
      agents: [
        {
          replica: 'mcm-agent-0',
          version: '0.1.0',
          kubernetesVersion: 'v1.36.3',
          since,
          roundTripMs: 3,
        },
      ],
    }))
  }
}

function callerKey(stream: ServerHttp2Stream): string | undefined {
  const socket = stream.session?.socket as TLSSocket | undefined
  const raw = socket?.getPeerCertificate().raw
  return raw ? peerKeyId(raw) : undefined
}
