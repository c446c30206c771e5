/**
 * The sandbox: a small Kubernetes API server in memory, so that mcm can be tried, and tested, without a
 * cluster. It answers as kube-apiserver does in what it serves (resources.ts) and says so where it does
 * not: containers are simulated (pods/), no controllers, no admission policies, nothing on disk.
 * It knows nothing of mcm. Invariant: a request does only what RBAC allows its user.
 */
import type { IncomingMessage } from 'node:http'
import { createSecureServer, type Http2SecureServer } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { toYaml } from '../kubeconfig/yaml.ts'
import { Secret } from '../secret.ts'
import type { Log, Running, World } from '../world.ts'
import { type AuditEvent, AuditLog } from './audit.ts'
import type { Sandbox } from './context.ts'
import {
  openExchange,
  openUpgradeExchange,
  type ServerAnswer,
  type ServerRequest,
} from './exchange.ts'
import { createTokenSigner } from './identity/jwt.ts'
import { seed } from './objects/seed.ts'
import { Snapshots } from './objects/snapshots.ts'
import { Storage } from './objects/storage.ts'
import { handle } from './pipeline.ts'
import { SandboxNode } from './pods/node.ts'
import { createAuthorizer } from './rbac/authorizer.ts'

/** The world it lives in, and the certificate it shows. */
export interface SandboxDeps {
  readonly world: World
  readonly log: Log
  readonly serverTls: {
    readonly certPem: string
    readonly keyPem: Secret<string>
    /** What clients trust; goes into the kubeconfig. */
    readonly caPem: string
  }
  readonly signal?: AbortSignal
}

export interface SandboxOptions {
  /** Default `127.0.0.1`; the certificate must name it. */
  readonly host?: string
  /** Default 0: any free port. */
  readonly port?: number
  /** Default `v1.36.3`. From 1.36 on impersonation has its constrained modes. */
  readonly kubernetesVersion?: string
  /** Default true: its node runs every pod that is created. False: they stay as they are, as without any node. */
  readonly runsPods?: boolean
}

export interface SandboxAddress {
  readonly host: string
  readonly port: number
  readonly url: string
}

export interface RunningSandbox extends Running<SandboxAddress> {
  readonly caPem: string
  /** A bearer token of `sandbox-admin` in `system:masters`. */
  readonly adminToken: Secret<string>
  /** A kubeconfig, as YAML, with that token in it. */
  adminKubeconfig(): string
  /** The newest 10 000, oldest first. */
  auditEvents(): AuditEvent[]
}

/** Starts a sandbox; it ends, with every connection, at `stop()` or when the signal aborts. */
export async function startSandbox(
  deps: SandboxDeps,
  options: SandboxOptions = {},
): Promise<RunningSandbox> {
  const { host = '127.0.0.1', port = 0, kubernetesVersion = 'v1.36.3', runsPods = true } = options
  const adminToken = Buffer.from(deps.world.random(32)).toString('base64url')
  const sandbox = makeSandbox(deps, adminToken, kubernetesVersion)
  sandbox.node.start(runsPods)
  const audit = new AuditLog()
  const stopped = new AbortController()
  const server = makeServer(deps, (request, response) => {
    void handle(sandbox, audit, openExchange(request, response, stopped.signal))
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const exchange = openUpgradeExchange(request, { socket, head }, stopped.signal)
    void handle(sandbox, audit, exchange)
  })
  const sockets = trackSockets(server)
  const address = await listen(server, host, port)
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  const stop = async () => {
    stopped.abort()
    sandbox.node.stop()
    server.close(() => resolve())
    for (const socket of sockets) socket.destroy()
    await closed
  }
  deps.signal?.addEventListener('abort', () => void stop(), { once: true })
  if (deps.signal?.aborted) await stop()
  deps.log.info('sandbox.listening', { url: address.url, kubernetesVersion })
  const { caPem } = deps.serverTls
  return {
    address,
    closed,
    stop,
    caPem,
    adminToken: new Secret(adminToken),
    adminKubeconfig: () => kubeconfigText(address.url, caPem, adminToken),
    auditEvents: () => audit.events(),
  }
}

function makeSandbox(
  { world, log }: SandboxDeps,
  adminToken: string,
  kubernetesVersion: string,
): Sandbox {
  const storage = new Storage()
  seed(storage, world, kubernetesVersion)
  return {
    world,
    log,
    storage,
    snapshots: new Snapshots(world),
    modes: new Map(),
    node: new SandboxNode({ world, log, storage }),
    kubernetesVersion,
    signer: createTokenSigner(),
    adminToken,
    ...createAuthorizer(storage),
  }
}

type Handler = (request: ServerRequest, response: ServerAnswer) => void

function makeServer({ serverTls, log }: SandboxDeps, handler: Handler): Http2SecureServer {
  const server = createSecureServer({
    allowHTTP1: true,
    cert: serverTls.certPem,
    key: serverTls.keyPem.reveal(),
    minVersion: 'TLSv1.2',
    maxHeaderListPairs: 2000,
    settings: { maxConcurrentStreams: 1000 },
  })
  // Every line of a header counts: Node must not drop any silently.
  Object.assign(server, { maxHeadersCount: 0 })
  server.on('request', handler)
  server.on('sessionError', (error) =>
    log.warn('sandbox.session.failed', { message: error.message }),
  )
  return server
}

function trackSockets(server: Http2SecureServer): ReadonlySet<Socket> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
  })
  server.on('tlsClientError', (_, socket) => socket.destroy())
  return sockets
}

function listen(server: Http2SecureServer, host: string, port: number): Promise<SandboxAddress> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.removeListener('error', reject)
      const { port: chosen } = server.address() as AddressInfo
      resolve({ host, port: chosen, url: `https://${host}:${chosen}` })
    })
  })
}

function kubeconfigText(server: string, caPem: string, token: string): string {
  const name = 'mcm-sandbox'
  const cluster = { server, 'certificate-authority-data': Buffer.from(caPem).toString('base64') }
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  }
  return toYaml([config])
}
