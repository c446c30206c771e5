/**
 * The agent's end of the inner layer: TLS 1.3 on a byte stream that somebody untrusted carried
 * here. It shakes hands, demands its own name and (for sessions) a certificate, and hands the
 * connection on; what the certificate means is judged elsewhere. Invariant: no ticket, no
 * resumption, no other name, no second chance.
 */

import { constants } from 'node:crypto'
import type { Duplex } from 'node:stream'
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'
import type { Log } from '../world.ts'
import { handshakePlaces } from './handshake-places.ts'

export interface InnerServerOptions {
  /** The only SNI that is answered. */
  readonly host: string
  /** Whether a client must show a certificate; which one is the receiver's to judge. */
  readonly demandsCertificate: boolean
  readonly certificate: InnerCertificate
  readonly handshakeTimeoutMs?: number
  readonly log: Log
}

export interface InnerCertificate {
  readonly certPem: string
  readonly keyPem: string
}

/** One connection whose handshake is done. */
export interface InnerConnection {
  readonly socket: TLSSocket
  readonly protocol: 'h2' | 'http/1.1'
  /** The client's certificate; empty where none is demanded. */
  readonly certificateDer: Buffer
}

export interface InnerServer {
  /**
   * Takes a stream over; it is destroyed unless `ready` gets it. `from`: the address it is said to
   * come from.
   * @throws UnreachableError too many handshakes at once
   */
  accept(stream: Duplex, from: string, ready: (connection: InnerConnection) => void): void
  /** The certificate for handshakes from now on. */
  setCertificate(certificate: InnerCertificate): void
}

export const HANDSHAKE_TIMEOUT_MS = 10_000
/** A hello with post-quantum shares is below 4 KB, our users' certificates are below 2 KB. */
const MAX_HANDSHAKE_BYTES = 16 * 1024
const PIECE_BYTES = 1024

/** Node would accept a resumed session without a certificate, or with one that expired since. */
const PROTOCOL = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
} as const

/** A TLS server that never listens: streams are handed to it. */
export function openInnerServer(options: InnerServerOptions): InnerServer {
  const { log, host, handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS } = options
  let context = createSecureContext(contextOf(options.certificate))
  const places = handshakePlaces()
  return {
    setCertificate: (renewed) => {
      context = createSecureContext(contextOf(renewed))
    },
    accept: (stream, from, ready) => {
      const leave = places.take(from, stream)
      const settle = boundHandshake(stream, handshakeTimeoutMs, leave)
      // One server a stream, so that a socket can never be taken for another's; what is dear to
      // make is shared.
      const server = createServer(serverOptions(options, () => context))
      server.once('secureConnection', (socket) => {
        settle()
        const refusal = refusalOf(socket, options)
        if (refusal === undefined) return ready(connectionOf(socket))
        log.warn('inner_connection_refused', { host, reason: refusal })
        socket.destroy()
      })
      server.on('tlsClientError', (error, socket) => {
        log.warn('inner_handshake_failed', { host, reason: error.message })
        socket.destroy()
      })
      // A reset with a write unfinished would leave it waiting for a reader that waits for the write.
      stream.once('aborted', () => stream.destroy())
      server.emit('connection', stream)
      boundHandshakeBytes(stream, server)
    },
  }
}

function contextOf({ certPem, keyPem }: InnerCertificate) {
  return { ...PROTOCOL, cert: certPem, key: keyPem }
}

/** Without SNI, or with another one, there is no certificate and the handshake fails. */
function serverOptions(
  { host, demandsCertificate }: InnerServerOptions,
  context: () => SecureContext,
): TlsOptions {
  return {
    ...PROTOCOL,
    requestCert: demandsCertificate,
    // An expired certificate shall be answered with a sentence, so the handshake judges none, and
    // `authorized` is never read.
    rejectUnauthorized: false,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: 0,
    SNICallback: (name, done) => {
      if (name.toLowerCase() === host) done(null, context())
      else done(new Error('it asks for another name'))
    },
  }
}

function refusalOf(socket: TLSSocket, options: InnerServerOptions): string | undefined {
  if (socket.getProtocol() !== 'TLSv1.3') return 'it is not TLS 1.3'
  if (socket.isSessionReused()) return 'it resumes a session'
  if (String(socket.servername).toLowerCase() !== options.host) return 'it asks for another name'
  if (options.demandsCertificate && peerCertificate(socket).length === 0)
    return 'it shows no certificate'
  return undefined
}

function connectionOf(socket: TLSSocket): InnerConnection {
  const protocol = socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1'
  return { socket, protocol, certificateDer: peerCertificate(socket) }
}

function peerCertificate(socket: TLSSocket): Buffer {
  return socket.getPeerX509Certificate()?.raw ?? Buffer.alloc(0)
}

/** Ends a stream whose handshake takes too long. Gives the end of the watch. */
function boundHandshake(stream: Duplex, timeoutMs: number, over: () => void): () => void {
  const timer = setTimeout(() => stream.destroy(), timeoutMs)
  let isOver = false
  const settle = () => {
    if (isOver) return
    isOver = true
    clearTimeout(timer)
    over()
  }
  stream.once('close', settle)
  stream.on('error', () => stream.destroy())
  return settle
}

/**
 * Ends a stream whose handshake is too long. Until it is done TLS gets the bytes in small pieces
 * and they are counted after its look at each: a quick client's first request comes right behind
 * its certificate and is not part of it.
 */
function boundHandshakeBytes(stream: Duplex, server: Server): void {
  let bytes = 0
  const count = (piece: Buffer) => {
    bytes += piece.length
    if (bytes > MAX_HANDSHAKE_BYTES) stream.destroy()
  }
  const push = stream.push.bind(stream)
  stream.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
    if (chunk === null || chunk.length <= PIECE_BYTES) return push(chunk, encoding)
    let wantsMore = true
    for (let start = 0; start < chunk.length; start += PIECE_BYTES)
      wantsMore = push(chunk.subarray(start, start + PIECE_BYTES))
    return wantsMore
  }
  stream.on('data', count)
  server.once('secureConnection', () => {
    stream.off('data', count)
    stream.push = push
  })
}
