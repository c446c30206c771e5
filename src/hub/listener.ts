import { constants } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { messageOf } from '../errors.ts'
import { ALPN_HTTP1, ALPN_HTTP2, ALPN_TUNNEL } from '../protocol/names.ts'
import type { Secret } from '../secret.ts'
import { connectionOf, doorkeeper } from './doorkeeper.ts'
import type { HubLimits } from './limits.ts'
import { listenFailure } from './listen-failure.ts'
import type { HubMetrics } from './metrics.ts'

/**
 * The one public listener (docs/PROTOCOL.md §4): TLS 1.3, every certificate asked for and none judged
 * here, no tickets, no list of authorities. It hands on whole connections by the protocol they chose.
 */
export interface Listener {
  readonly address: { readonly host: string; readonly port: number }
  /** Handshakes under way. */
  readonly handshakes: number
  /** What is shown from now on, to whoever comes. */
  setCertificate(certificate: ListenerDeps['certificate']): void
  /** No new connections. */
  close(): void
  /** Ends every connection that there still is. */
  destroy(): Promise<void>
}

export interface ListenerDeps {
  readonly limits: HubLimits
  readonly metrics: HubMetrics
  readonly certificate: { readonly pem: string; readonly keyPem: Secret<string> }
  readonly onTunnel: (socket: TLSSocket) => void
  readonly onHttp1: (socket: TLSSocket) => void
  readonly onHttp2: (socket: TLSSocket) => void
  /** What broke as a connection began, and ended that connection alone. */
  readonly onFailure: (protocol: string, reason: string) => void
}

const KEEP_ALIVE_MS = 30_000
const BACKLOG = 4_096

/** @throws UnreachableError MCM_PORT_TAKEN */
export async function listen(
  deps: ListenerDeps,
  at: { readonly host: string; readonly port: number },
): Promise<Listener> {
  const { limits, metrics } = deps
  const door = doorkeeper({ total: limits.handshakes, perAddress: limits.handshakesPerAddress })
  // A connection is ended through its TLS once it has one: Node does not survive both at once.
  const sockets = new Map<string, Socket>()
  const tls = tlsServer(deps)
  // TLS begins only behind the door: a refused connection costs no TLS state.
  const server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
    (socket) => {
      socket.on('error', () => {})
      if (!door.admit(socket)) {
        metrics.refusedByLimit()
        socket.destroy()
        return
      }
      const connection = connectionOf(socket)
      sockets.set(connection, socket)
      socket.once('close', () => sockets.delete(connection))
      tls.emit('connection', socket)
    },
  )
  tls.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    door.leave(socket)
    const connection = connectionOf(socket)
    if (sockets.has(connection)) sockets.set(connection, socket)
    dispatch(deps, socket)
  })
  server.listen({ host: at.host, port: at.port, backlog: BACKLOG })
  await once(server, 'listening').catch((cause) => {
    throw listenFailure(`${at.host}:${at.port}`, cause)
  })
  server.on('error', () => {})
  const closed = new Promise((resolve) => server.once('close', resolve))
  const { port } = server.address() as { port: number }
  return {
    address: { host: at.host, port },
    get handshakes() {
      return door.count
    },
    setCertificate: ({ pem, keyPem }) =>
      tls.setSecureContext({ ...SECURE, cert: pem, key: keyPem.reveal() }),
    close: () => void server.close(),
    async destroy() {
      for (const socket of sockets.values()) socket.destroy()
      if (server.listening) server.close()
      await closed
    },
  }
}

/** A resumed session has no certificate of its own to look at. */
const SECURE = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET } as const

function tlsServer({ certificate, limits, metrics }: ListenerDeps) {
  const server = createTlsServer({
    ...SECURE,
    cert: certificate.pem,
    key: certificate.keyPem.reveal(),
    ALPNProtocols: [ALPN_TUNNEL, ALPN_HTTP1, ALPN_HTTP2],
    requestCert: true,
    // Keys are known by the directory, not by authorities: see peer.ts.
    rejectUnauthorized: false,
    handshakeTimeout: limits.handshakeMs,
  })
  server.on('tlsClientError', (_error, socket) => {
    metrics.handshakeFailed()
    socket.destroy()
  })
  return server
}

function dispatch(deps: ListenerDeps, socket: TLSSocket): void {
  const protocol = socket.alpnProtocol || ALPN_HTTP1
  deps.metrics.connected(protocol)
  try {
    if (protocol === ALPN_TUNNEL) deps.onTunnel(socket)
    else if (protocol === ALPN_HTTP2) deps.onHttp2(socket)
    else deps.onHttp1(socket)
  } catch (error) {
    deps.onFailure(protocol, messageOf(error))
    // A connection that went away in just this moment must not take the hub with it; and not at
    // once, because Node does not survive the end of a connection within its own handshake callback.
    setImmediate(() => socket.destroy())
  }
}
