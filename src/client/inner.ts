import type { Duplex } from 'node:stream'
import { connect, type TLSSocket } from 'node:tls'
import { isMcmError, messageOf, TrustError, UnreachableError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { networkFailure } from './network-failure.ts'

/** The inner layer: TLS 1.3 end to end with one cluster's agent, inside whatever the hub carries. */
export interface InnerOptions {
  /** The cluster or enrolment host: SNI, and the only name the agent's certificate may have. */
  readonly host: string
  /** The cluster's server CA, or during a rotation both: the whole trust store of this connection. */
  readonly serverCaPem: string
  /** A user certificate and its key; without them only enrolment answers. */
  readonly certPem?: string
  readonly keyPem?: Secret<string>
  readonly alpn: readonly string[]
  /** For the handshake; 10 s unless told. */
  readonly timeoutMs?: number
}

const TIMEOUT_MS = 10_000

/**
 * Shakes hands with the agent at the other end of `stream`, which is the socket's from then on. The
 * agent judges our certificate afterwards: a refusal of it comes with the first use.
 * @throws TrustError MCM_CERTIFICATE_UNTRUSTED, UnreachableError MCM_AGENT_UNREACHABLE
 */
export function openInner(stream: Duplex, options: InnerOptions): Promise<TLSSocket> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
  return new Promise((resolve, reject) => {
    const socket = connect({
      socket: stream,
      servername: options.host,
      ca: options.serverCaPem,
      minVersion: 'TLSv1.3',
      // Said here, because NODE_TLS_REJECT_UNAUTHORIZED=0 would decide otherwise.
      rejectUnauthorized: true,
      ALPNProtocols: [...options.alpn],
      ...(options.certPem && { cert: options.certPem }),
      ...(options.keyPem && { key: options.keyPem.reveal() }),
    })
    const timer = setTimeout(() => {
      fail(unreachable(options, `no handshake within ${timeoutMs / 1000} s`))
    }, timeoutMs)
    function fail(error: unknown): void {
      clearTimeout(timer)
      reject(isMcmError(error) ? error : innerFailure(socket, error, options))
      socket.destroy()
    }
    stream.once('error', fail)
    socket.on('error', fail)
    socket.once('close', () => fail(unreachable(options, 'it ended the connection')))
    socket.once('secureConnect', () => {
      clearTimeout(timer)
      resolve(socket)
    })
  })
}

/** Node has no code for some verification results (name constraints), but notes every one on the socket. */
function innerFailure(
  socket: TLSSocket,
  error: unknown,
  options: InnerOptions,
): TrustError | UnreachableError {
  if (!socket.authorizationError) return unreachable(options, networkFailure(error), error)
  return new TrustError(
    'MCM_CERTIFICATE_UNTRUSTED',
    `whoever answered for ${options.host} has no certificate of that cluster (${messageOf(error)})`,
    {
      hint: 'nothing was sent; somebody between you and the cluster may be impersonating it: tell its owner',
      cause: error,
    },
  )
}

function unreachable(options: InnerOptions, why: string, cause?: unknown): UnreachableError {
  return new UnreachableError(
    'MCM_AGENT_UNREACHABLE',
    `the agent at ${options.host} cannot be reached: ${why}`,
    { hint: 'mcm clusters shows whether its agent is connected', cause },
  )
}
