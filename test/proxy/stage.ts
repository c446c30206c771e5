/**
 * A local proxy with everything around it on this machine: an agent that is a TLS server of its own with
 * real certificates, a way to it that can be cut and frozen, and clients that send exactly what they are told.
 */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type {
  Http2SecureServer,
  Http2ServerRequest,
  IncomingHttpHeaders,
  ServerHttp2Stream,
} from 'node:http2'
import { createSecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { connect as connectTcp } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { UnreachableError } from '../../src/errors.ts'
import type { Authority } from '../../src/pki/authority.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import {
  issueLoopbackCertificate,
  issueServerCertificate,
  issueUserCertificate,
} from '../../src/pki/profiles.ts'
import type { Credential, ProxyCluster, Ways } from '../../src/proxy/cluster.ts'
import type { LocalTls } from '../../src/proxy/loopback-listener.ts'
import type { ProxyAddress, ProxyDeps } from '../../src/proxy/proxy.ts'
import { startProxy } from '../../src/proxy/proxy.ts'
import type { Running, World } from '../../src/world.ts'

export const CLUSTER_ID = 'c-aaaaaaaaaa'
const HOST = `${CLUSTER_ID}.clusters.mcm.internal`
const DEVICE = 'd'.repeat(43)
const HOUR_SECONDS = 3600

/** A clock that stands still unless it is moved. */
export class TestWorld implements World {
  #offsetMs = 0
  now(): Date {
    return new Date(Date.now() + this.#offsetMs)
  }
  random(byteCount: number): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(byteCount))
  }
  forward(ms: number): void {
    this.#offsetMs += ms
  }
}

export type AgentRequest = IncomingMessage | Http2ServerRequest
/** What HTTP/1.1 and HTTP/2 answers have in common. */
export interface AgentResponse {
  statusCode: number
  setHeader(name: string, value: string): unknown
  write(text: string): boolean
  end(text?: string): unknown
}

/** What arrived at the agent. */
export interface Seen {
  readonly httpVersion: string
  readonly method: string
  readonly url: string
  readonly headers: readonly (readonly [string, string])[]
  readonly certificateUser: string
}

export interface TestAgent {
  readonly port: number
  readonly seen: Seen[]
  /** Answers ordinary requests. */
  answer: (request: AgentRequest, response: AgentResponse) => void
  /** Answers extended CONNECTs, where they are offered. */
  connect: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void
  /** Answers upgrades. */
  upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
  stop(): Promise<void>
}

export interface Stage {
  readonly world: TestWorld
  readonly proxy: Running<ProxyAddress>
  readonly agent: TestAgent
  readonly ways: TestWays
  readonly clusters: ProxyCluster[]
  readonly log: string[]
  readonly local: { readonly tls: LocalTls; readonly certPem: string; readonly keyPem: string }
  stop(): Promise<void>
}

/** The ways out, with their faults. */
export interface TestWays extends Ways {
  /** Calls of `credential`, with the refused certificate if any. */
  readonly asked: (string | undefined)[]
  readonly connections: { freeze(): void; cut(): void }[]
  /** Thrown by `connect` while set. */
  hubFailure: Error | undefined
  /** Thrown by `credential` while set. */
  credentialFailure: Error | undefined
  /** `connect` never answers while set. */
  hubIsSilent: boolean
  /** How often `connect` has not answered. */
  unanswered: number
  /** Lifetime of the next certificates. */
  lifetimeSeconds: number
  user: string
  groups: string[]
  /** Awaited by every `credential`. */
  gate: Promise<void>
}

export async function startStage(
  overrides: (stage: {
    ways: TestWays
    clusters: ProxyCluster[]
    agent: TestAgent
  }) => Partial<ProxyDeps> = () => ({}),
  offersConnect = false,
): Promise<Stage> {
  const world = new TestWorld()
  const serverCa = await createAuthority(world, { commonName: 'server' })
  const userCa = await createAuthority(world, { commonName: 'users' })
  const agent = await startAgent(world, serverCa, userCa, offersConnect)
  const ways = testWays(world, userCa, agent)
  const clusters = [
    { id: CLUSTER_ID, name: 'idc-k8s', host: HOST, serverCaPem: serverCa.certificatePem },
  ]
  const local = await localTls(world)
  const log: string[] = []
  const write = (event: string, fields?: object) => log.push(`${event} ${JSON.stringify(fields)}`)
  const deps: ProxyDeps = {
    world,
    log: { info: write, warn: write, error: write },
    tls: local.tls,
    clusters: async () => [...clusters],
    credential: ways.credential,
    connect: ways.connect,
    ...overrides({ ways, clusters, agent }),
  }
  const proxy = await startProxy(deps, { port: 0 })
  const stop = async () => {
    await proxy.stop()
    await agent.stop()
  }
  return { world, proxy, agent, ways, clusters, log, local, stop }
}

/** The proxy's own CA, certificate, and a client certificate such as the kubeconfig holds. */
export async function localTls(world: World) {
  const authority = await createAuthority(world, { commonName: 'local' })
  const server = generateKeyPair()
  const client = generateKeyPair()
  const year = 365 * 24 * HOUR_SECONDS
  const serverCertificate = await issueLoopbackCertificate(world, authority, server, year)
  const subject = { publicKeyDer: client.publicKeyDer, user: 'local', groups: [], device: DEVICE }
  const clientCertificate = await issueUserCertificate(world, authority, subject, year)
  return {
    tls: {
      caPem: authority.certificatePem,
      certPem: serverCertificate.pem,
      keyPem: server.privateKeyPem,
    },
    serverKeyPem: server.privateKeyPem.reveal(),
    certPem: clientCertificate.pem,
    keyPem: client.privateKeyPem.reveal(),
  }
}

export async function startAgent(
  world: World,
  serverCa: Authority,
  userCa: Authority,
  offersConnect = false,
): Promise<TestAgent> {
  const key = generateKeyPair()
  const subject = { publicKeyDer: key.publicKeyDer, host: HOST }
  const certificate = await issueServerCertificate(world, serverCa, subject, 24 * HOUR_SECONDS)
  const server = createSecureServer({
    noDelay: true,
    allowHTTP1: true,
    maxSessionMemory: 256,
    settings: { enableConnectProtocol: offersConnect },
    cert: certificate.pem,
    key: key.privateKeyPem.reveal(),
    ca: userCa.certificatePem,
    requestCert: true,
    // As a real agent: what is wrong with a certificate is said in an answer, not by a dead connection.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  })
  const agent = agentOf(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  Object.assign(agent, { port: (server.address() as AddressInfo).port })
  return agent
}

function agentOf(server: Http2SecureServer): TestAgent {
  const sockets = new Set<Duplex>()
  const agent: TestAgent = {
    port: 0,
    seen: [],
    answer: (_request, response) => response.end('ok'),
    upgrade: (_request, socket) => socket.destroy(),
    connect: (stream) => stream.destroy(),
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await turn()
    },
  }
  server.on('secureConnection', (socket: Duplex) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('request', (request, response) => {
    agent.seen.push(seenOf(request))
    request.on('error', () => {})
    agent.answer(request, response as AgentResponse)
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    agent.seen.push(seenOf(request))
    agent.upgrade(request, socket, head)
  })
  server.on('connect', (request: Http2ServerRequest) => {
    agent.seen.push(seenOf(request))
    request.stream.on('error', () => {})
    agent.connect(request.stream, request.headers)
  })
  server.on('sessionError', () => {})
  server.on('tlsClientError', () => {})
  return agent
}

function seenOf(request: AgentRequest): Seen {
  const raw = request.rawHeaders
  const headers = raw.flatMap((name, index) =>
    index % 2 === 0 && !name.startsWith(':')
      ? [[name.toLowerCase(), raw[index + 1]!] as const]
      : [],
  )
  const session = 'stream' in request ? request.stream.session : undefined
  const socket = (session?.socket ?? request.socket) as TLSSocket
  const { method = '', url = '', httpVersion } = request
  const certificateUser = String(socket.getPeerCertificate().subject.CN)
  return { httpVersion, method, url, headers, certificateUser }
}

function testWays(world: TestWorld, userCa: Authority, agent: TestAgent): TestWays {
  const ways: TestWays = {
    asked: [],
    connections: [],
    hubFailure: undefined,
    credentialFailure: undefined,
    hubIsSilent: false,
    unanswered: 0,
    lifetimeSeconds: 12 * HOUR_SECONDS,
    user: 'bob',
    groups: ['dev', 'ops'],
    gate: Promise.resolve(),
    credential: async (_clusterId, refused) => {
      ways.asked.push(refused)
      await ways.gate
      if (ways.credentialFailure) throw ways.credentialFailure
      return issue(world, userCa, ways)
    },
    connect: async () => {
      if (ways.hubIsSilent) {
        ways.unanswered += 1
        await new Promise(() => {})
      }
      if (ways.hubFailure) throw ways.hubFailure
      const connection = await connectThrough(agent.port)
      ways.connections.push(connection)
      return connection.stream
    },
  }
  return ways
}

async function issue(world: World, userCa: Authority, ways: TestWays): Promise<Credential> {
  const { user, groups, lifetimeSeconds } = ways
  const key = generateKeyPair()
  const subject = { publicKeyDer: key.publicKeyDer, user, groups, device: DEVICE }
  const { pem, notAfter } = await issueUserCertificate(world, userCa, subject, lifetimeSeconds)
  return { certPem: pem, keyPem: key.privateKeyPem, notAfter, user, groups }
}

/** A byte stream to a port, that can be cut, or frozen: then nothing passes and nobody is told. */
async function connectThrough(port: number) {
  const [stream, inside] = duplexPair()
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  socket.on('error', () => inside.destroy())
  inside.on('error', () => socket.destroy())
  socket.pipe(inside).pipe(socket)
  inside.once('close', () => socket.destroy())
  socket.once('close', () => inside.destroy())
  const freeze = () => {
    socket.unpipe(inside)
    inside.unpipe(socket)
    socket.pause()
    inside.pause()
  }
  return { stream, freeze, cut: () => socket.destroy() }
}

export function unreachable(message: string): UnreachableError {
  return new UnreachableError('MCM_HUB_UNREACHABLE', message, { hint: 'check the network' })
}
