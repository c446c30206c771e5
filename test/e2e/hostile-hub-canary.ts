/**
 * The inner layer as an attacker would end it: a TLS server with some certificate that answers like an API
 * server. It dies of every byte it can read: `plaintext` says how many those were.
 */
import { createServer as createHttpServer } from 'node:http'
import { performServerHandshake } from 'node:http2'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, type Server, type TLSSocket } from 'node:tls'
import { decoupleWrites } from '../../src/duplex.ts'
import { pipeAcceptor } from '../../src/pipe/acceptor.ts'
import { PipeBudget } from '../../src/pipe/budget.ts'
import { realWorld } from '../../src/runtime.ts'

/** A certificate, with whatever stands in its chain, and its key: PEM. */
export interface InnerIdentity {
  readonly chainPem: string
  readonly keyPem: string
}

export class Canary {
  /** Decrypted bytes of clients. */
  plaintext = 0
  /** `METHOD path` of every request that could be read. */
  readonly requests: string[] = []
  /** How handshakes ended that did not succeed: the alert a client sent, as OpenSSL names it. */
  readonly refusals: string[] = []
  readonly #tls: Server
  readonly #pipes = pipeAcceptor({
    world: realWorld(),
    log: { info() {}, warn() {}, error() {} },
    budget: new PipeBudget(64 << 20),
    replica: 'canary',
    takePlace: () => () => {},
    onPipe: ({ stream }) => this.accept(stream),
  })
  readonly #http1 = createHttpServer((request, response) => {
    this.requests.push(`${request.method} ${request.url}`)
    response.end('the canary sang')
  })

  constructor({ chainPem, keyPem }: InnerIdentity) {
    this.#tls = createTlsServer({
      cert: chainPem,
      key: keyPem,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException) => {
      this.refusals.push(error.code ?? error.message)
    })
    this.#tls.on('secureConnection', (socket) => this.#serve(socket))
  }

  /** Answers on a stream on which a client begins a handshake. */
  accept(stream: Duplex): void {
    // Who half-closes in the middle of a handshake will not go on with it.
    stream.once('end', () => stream.destroy())
    this.#tls.emit('connection', stream)
  }

  /** The same behind the pipe that `mcm proxy` puts below its inner layer. */
  acceptPiped(carrier: Duplex): void {
    this.#pipes.accept(carrier, undefined)
  }

  #serve(socket: TLSSocket): void {
    socket.on('error', () => {})
    const plain = decoupleWrites(socket)
    plain.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      this.plaintext += chunk.length
    })
    socket.pause()
    if (socket.alpnProtocol === 'h2') this.#serveHttp2(plain)
    else this.#http1.emit('connection', plain)
  }

  #serveHttp2(plain: Duplex): void {
    const session = performServerHandshake(plain as Parameters<typeof performServerHandshake>[0])
    session.on('error', () => {})
    session.on('stream', (stream, headers) => {
      this.requests.push(`${headers[':method']} ${headers[':path']}`)
      stream.on('error', () => {})
      stream.respond({ ':status': 200, 'content-type': 'text/plain' })
      stream.end('the canary sang')
    })
  }
}
