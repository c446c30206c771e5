import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpsServer, type Server } from 'node:https'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer } from 'node:tls'
import { createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueServerCertificate } from '../../src/pki/profiles.ts'

/** Real loopback servers for tests of forwarding: an HTTPS server, and one that writes bytes as told. */

export const world = { now: () => new Date(), random: (count: number) => randomBytes(count) }
export const SERVER_NAME = 'api.test'

export interface TestIdentity {
  readonly caPem: string
  readonly certPem: string
  readonly keyPem: string
}

export async function testIdentity(host = SERVER_NAME): Promise<TestIdentity> {
  const authority = await createAuthority(world, { commonName: 'test server CA' })
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const { pem } = await issueServerCertificate(world, authority, { publicKeyDer, host }, 86_400)
  return { caPem: authority.certificatePem, certPem: pem, keyPem: privateKeyPem.reveal() }
}

export interface Cleanup {
  add(end: () => unknown): void
  run(): Promise<void>
}

export function cleanup(): Cleanup {
  const ends: (() => unknown)[] = []
  return {
    add: (end) => ends.unshift(end),
    run: async () => {
      for (const end of ends.splice(0)) await end()
    },
  }
}

export interface RawServer {
  readonly port: number
  /** Connections that were made, in order. */
  readonly sockets: Duplex[]
  /** What is below them. */
  readonly connections: ReadonlySet<Socket>
}

/** A TLS server whose every connection is handed to the test as plain bytes. */
export async function rawTlsServer(
  identity: TestIdentity,
  ends: Cleanup,
  accept: (socket: Duplex, index: number) => void,
  isHalfOpen = false,
): Promise<RawServer> {
  const sockets: Duplex[] = []
  const options = { cert: identity.certPem, key: identity.keyPem, allowHalfOpen: true }
  const server = createTlsServer(options, (socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    if (!isHalfOpen) socket.once('end', () => socket.end())
    accept(socket, sockets.length - 1)
  })
  const connections = new Set<Socket>()
  server.on('connection', (connection: Socket) => connections.add(connection))
  const port = await listen(server)
  ends.add(() => {
    for (const socket of [...sockets, ...connections]) socket.destroy()
    return new Promise((done) => server.close(done))
  })
  return { port, sockets, connections }
}

/** An HTTPS server; `answer` is Node's own request listener. */
export async function httpsServer(
  identity: TestIdentity,
  ends: Cleanup,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ port: number; server: Server }> {
  const server = createHttpsServer({ cert: identity.certPem, key: identity.keyPem }, answer)
  const port = await listen(server)
  ends.add(() => {
    server.closeAllConnections()
    return new Promise((done) => server.close(done))
  })
  return { port, server }
}

export async function listen(server: {
  listen(port: number, host: string): unknown
  address(): unknown
}): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server as never, 'listening')
  return (server.address() as AddressInfo).port
}

/** Two ends of one loopback TCP connection; the near one may be half closed, the far one as told. */
export async function socketPair(
  ends: Cleanup,
  allowHalfOpen = false,
): Promise<[near: Socket, far: Socket]> {
  const server = createServer({ allowHalfOpen: true })
  const port = await listen(server)
  const far = connect({ port, host: '127.0.0.1', allowHalfOpen })
  const [[near]] = (await Promise.all([once(server, 'connection'), once(far, 'connect')])) as [
    [Socket],
    unknown,
  ]
  server.close()
  far.on('error', () => {})
  ends.add(() => {
    near.destroy()
    far.destroy()
  })
  return [near, far]
}

/** Everything a stream gives until it closes, as latin1 text. */
export async function readAll(stream: Duplex): Promise<string> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.resume()
  if (!stream.closed) await once(stream, 'close').catch(() => {})
  return Buffer.concat(chunks).toString('latin1')
}

/** Reads until the text holds `mark`; the rest stays in the stream's later data. */
export function readUntil(stream: Duplex, mark: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (!text.includes(mark)) return
      settle()
      resolve(text)
    }
    const onClose = () => {
      settle()
      reject(new Error(`closed before ${JSON.stringify(mark)}: ${JSON.stringify(text)}`))
    }
    const settle = () => {
      stream.off('data', onData)
      stream.off('close', onClose)
      stream.pause()
    }
    stream.on('data', onData)
    stream.on('close', onClose)
    stream.resume()
  })
}

export const LF2 = '\r\n\r\n'

/** A raw message: lines joined by CRLF, ended by an empty one. */
export function message(...lines: string[]): string {
  return lines.join('\r\n') + LF2
}
