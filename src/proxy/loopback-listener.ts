import { constants } from 'node:crypto'
import type { AddressInfo, Socket } from 'node:net'
import type { Server, TLSSocket } from 'node:tls'
import { createServer } from 'node:tls'
import { messageOf, UnreachableError } from '../errors.ts'
import type { Secret } from '../secret.ts'

/**
 * TLS on this machine's two loopback addresses and nowhere else, on one port. Whoever connects shows a
 * certificate of the local CA, on every connection: nothing is resumed.
 */

/** The local CA and the proxy's own certificate (0600, kept between runs). */
export interface LocalTls {
  readonly caPem: string
  readonly certPem: string
  readonly keyPem: Secret<string>
}

export interface LoopbackListener {
  readonly port: number
  /** Ends every connection, those in their handshake too. */
  stop(): Promise<void>
}

const HANDSHAKE_TIMEOUT_MS = 10_000
const ADDRESSES = ['127.0.0.1', '::1'] as const
/** With port 0 the second address may find the first one's port taken. */
const ATTEMPTS = 5
/** No IPv6 on this machine: then nobody else can be there either. */
const NO_ADDRESS: ReadonlySet<string> = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT'])

/**
 * Listens. Port 0 takes a free one.
 * @throws UnreachableError MCM_PORT_TAKEN
 */
export async function listenOnLoopback(
  tls: LocalTls,
  port: number,
  accept: (socket: TLSSocket) => void,
): Promise<LoopbackListener> {
  for (let attempt = 1; ; attempt += 1) {
    const servers = ADDRESSES.map(() => localServer(tls, accept))
    try {
      return await listen(servers, port)
    } catch (error) {
      await Promise.all(servers.map(closeServer))
      if (port !== 0 || attempt >= ATTEMPTS) throw taken(port, error)
    }
  }
}

async function listen(servers: readonly Server[], port: number): Promise<LoopbackListener> {
  const connections = new Set<Socket>()
  let bound = port
  for (const [index, server] of servers.entries()) {
    server.on('connection', (socket: Socket) => {
      connections.add(socket)
      socket.once('close', () => connections.delete(socket))
    })
    try {
      bound = await bind(server, ADDRESSES[index]!, bound)
    } catch (error) {
      const isMissing = NO_ADDRESS.has(String((error as NodeJS.ErrnoException).code))
      if (index === 0 || !isMissing) throw error
    }
  }
  const stop = async () => {
    const closed = servers.map(closeServer)
    for (const socket of connections) socket.destroy()
    await Promise.all(closed)
  }
  return { port: bound, stop }
}

function localServer(tls: LocalTls, accept: (socket: TLSSocket) => void): Server {
  const server = createServer({
    cert: tls.certPem,
    key: tls.keyPem.reveal(),
    ca: tls.caPem,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
    // A resumed session would count as authenticated without showing its certificate again.
    secureOptions: constants.SSL_OP_NO_TICKET,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    // A client that has said all (stdin of exec) still wants to hear the rest.
    allowHalfOpen: true,
  })
  server.on('secureConnection', (socket) => {
    socket.on('error', () => socket.destroy())
    const isShown = socket.getPeerX509Certificate() !== undefined
    if (socket.authorized && isShown && !socket.isSessionReused()) accept(socket)
    else socket.destroy()
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return server
}

function bind(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, ipv6Only: true }, () => {
      server.off('error', reject)
      server.on('error', () => {})
      resolve((server.address() as AddressInfo).port)
    })
  })
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}

function taken(port: number, cause: unknown): UnreachableError {
  const message = `the proxy cannot listen on port ${port} of this machine (${messageOf(cause)})`
  return new UnreachableError('MCM_PORT_TAKEN', message, {
    hint: 'end the program that has it, or choose another with --port, then mcm kubeconfig --mode proxy again',
    cause,
  })
}
