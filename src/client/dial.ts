import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { isMcmError, TrustError, UnreachableError } from '../errors.ts'
import { sha256 } from '../protocol/keys.ts'
import type { Secret } from '../secret.ts'
import { dialThroughProxy } from './corporate-proxy.ts'
import { networkFailure } from './network-failure.ts'

/**
 * The outer layer: one TLS 1.3 connection to a hub, through a corporate proxy if there is one. Knows
 * endpoints and one pin; not what is said on the connection. Invariant: a socket that is given out
 * showed exactly the pinned certificate, and nothing was written to it before that was known; the one exception
 * says so in its name.
 */
export interface DialOptions {
  /** `HOST:PORT`, an IPv6 address in brackets. */
  readonly endpoint: string
  /** The one protocol to speak. */
  readonly alpn: string
  /** The hub pin: SHA-256 of the leaf's DER, base64url. */
  readonly pin: string
  /** Says what else a hub's certificate must be (pki `checkHubCertificate`), by throwing. */
  readonly check: (der: Buffer) => void
  /** Our key and its self-signed certificate. */
  readonly keyPem?: Secret<string>
  readonly certPem?: string
  /** For TCP, proxy and handshake together; 10 s unless told. */
  readonly timeoutMs?: number
  /** A corporate proxy, `http://` or `https://`, as the environment decides for this endpoint. */
  readonly proxyUrl?: string
  readonly signal?: AbortSignal
}

const TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 15_000

/**
 * Dials and checks a hub.
 * @throws UnreachableError MCM_HUB_UNREACHABLE; TrustError MCM_PIN_MISMATCH and whatever `check` throws
 */
export function dialHub(options: DialOptions): Promise<TLSSocket> {
  return dialChecked(options, (der) => {
    if (sha256(der) !== options.pin) throw pinMismatch(options)
  })
}

/**
 * The same with whoever answers there with a certificate that a hub may have: nothing but the chain of the directory,
 * read on this very connection, can prove that it is the fleet's (PROTOCOL §12.3). @throws as `dialHub`
 */
export function dialUnprovenHub(options: Omit<DialOptions, 'pin'>): Promise<TLSSocket> {
  return dialChecked(options, () => {})
}

type Requirement = (der: Buffer) => void

async function dialChecked(
  options: Omit<DialOptions, 'pin'>,
  requirePin: Requirement,
): Promise<TLSSocket> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
  const timeout = AbortSignal.timeout(timeoutMs)
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
  try {
    const transport = await dialTransport(options, signal)
    return await handshake(transport, options, requirePin, signal)
  } catch (cause) {
    options.signal?.throwIfAborted()
    if (isMcmError(cause)) throw cause
    const why = timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : networkFailure(cause)
    throw unreachable(options, why, cause)
  }
}

/**
 * A TCP connection to an agent's own address, on which the inner layer begins at once.
 * @throws UnreachableError MCM_AGENT_UNREACHABLE
 */
export async function dialAgent(
  options: Pick<DialOptions, 'endpoint' | 'timeoutMs' | 'proxyUrl' | 'signal'>,
): Promise<Socket> {
  const { endpoint, timeoutMs = TIMEOUT_MS } = options
  const timeout = AbortSignal.timeout(timeoutMs)
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
  try {
    const socket = await dialTransport(options, signal)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    return socket
  } catch (cause) {
    options.signal?.throwIfAborted()
    const why = timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : networkFailure(cause)
    throw new UnreachableError(
      'MCM_AGENT_UNREACHABLE',
      `the direct address ${endpoint} cannot be reached: ${why}`,
      { hint: 'check the network; mcm clusters show says which address it has', cause },
    )
  }
}

function dialTransport(
  options: Pick<DialOptions, 'endpoint' | 'proxyUrl'>,
  signal: AbortSignal,
): Promise<Socket> {
  const { host, port } = parseEndpoint(options.endpoint)
  return options.proxyUrl === undefined
    ? dialTcp(host, port, signal)
    : dialThroughProxy(options.proxyUrl, options.endpoint, signal)
}

function dialTcp(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port })
    // Not as an option of the socket: that would end it whenever the signal comes, even hours later.
    const abandon = () => socket.destroy(signal.reason)
    signal.addEventListener('abort', abandon, { once: true })
    socket.once('close', () => reject(new Error('it closed the connection')))
    socket.on('error', reject)
    socket.once('connect', () => {
      signal.removeEventListener('abort', abandon)
      resolve(socket)
    })
  })
}

function handshake(
  transport: Socket,
  options: Omit<DialOptions, 'pin'>,
  requirePin: Requirement,
  signal: AbortSignal,
): Promise<TLSSocket> {
  transport.setNoDelay(true)
  transport.setKeepAlive(true, KEEP_ALIVE_MS)
  const { host } = parseEndpoint(options.endpoint)
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const socket = connectTls({
      socket: transport,
      servername: isIP(host) === 0 ? host : '',
      minVersion: 'TLSv1.3',
      ALPNProtocols: [options.alpn],
      // The pin below is the whole check: no CA may vouch for a hub.
      rejectUnauthorized: false,
      ...(options.keyPem && { key: options.keyPem.reveal() }),
      ...(options.certPem && { cert: options.certPem }),
    })
    const abandon = () => socket.destroy(signal.reason)
    signal.addEventListener('abort', abandon, { once: true })
    socket.on('error', (error) => reject(error))
    socket.once('close', () => reject(new Error('it closed the connection')))
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', abandon)
      try {
        requireHub(socket, options, requirePin)
        resolve(socket)
      } catch (error) {
        reject(error)
        socket.destroy()
      }
    })
  })
}

function requireHub(
  socket: TLSSocket,
  options: Omit<DialOptions, 'pin'>,
  requirePin: Requirement,
): void {
  const der = socket.getPeerX509Certificate()?.raw
  if (!der) throw pinMismatch(options)
  requirePin(der)
  options.check(der)
  if (socket.alpnProtocol !== options.alpn) {
    throw unreachable(options, `it does not speak ${options.alpn}`)
  }
}

function parseEndpoint(endpoint: string): { host: string; port: number } {
  const colon = endpoint.lastIndexOf(':')
  const host = endpoint.slice(0, colon).replace(/^\[|\]$/g, '')
  return { host, port: Number(endpoint.slice(colon + 1)) }
}

function pinMismatch({ endpoint }: Pick<DialOptions, 'endpoint'>): TrustError {
  return new TrustError(
    'MCM_PIN_MISMATCH',
    `${endpoint} showed another certificate than the hub’s own: something in between ends TLS, or it is not your hub`,
    {
      hint: 'nothing was sent; load balancers must pass TCP through; if the hub was set up anew, ask its administrator for a new link',
    },
  )
}

function unreachable(
  options: Omit<DialOptions, 'pin'>,
  why: string,
  cause?: unknown,
): UnreachableError {
  return new UnreachableError(
    'MCM_HUB_UNREACHABLE',
    `hub ${options.endpoint} cannot be reached: ${why}`,
    {
      hint: options.proxyUrl
        ? 'check the network and HTTPS_PROXY'
        : 'check the network and the address; behind a corporate proxy set HTTPS_PROXY',
      cause,
    },
  )
}
