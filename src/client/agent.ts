import { type ClientHttp2Stream, constants } from 'node:http2'
import { PassThrough, type Readable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { z } from 'zod'
import { IdentityError, type McmError } from '../errors.ts'
import {
  type AuthoritiesOrder,
  type ClusterFacts,
  clusterFactsSchema,
  type DirectoryAppend,
  type Head,
  headSchema,
  type IssuedCertificate,
  issuedCertificateSchema,
  issuedSchema,
  type NamedHead,
  namedHeadSchema,
  type OfferedAuthorities,
  offeredAuthoritiesSchema,
  type Revocation,
  type ShownToken,
  type Whoami,
  whoamiSchema,
} from '../protocol/messages.ts'
import {
  beginStream,
  type Call,
  callJson,
  lostOf,
  type Peer,
  responseHeaders,
  startSession,
  unreachablePeer,
} from './json-call.ts'
import type { KubernetesRequest, KubernetesResponse } from './kubernetes.ts'
import { errorCode } from './network-failure.ts'

/**
 * The agent's own endpoints and the API server behind it (docs/PROTOCOL.md §8), over one inner
 * connection, which is closed with it. Errors that the agent sent are thrown as the same family and code.
 */
export interface AgentApi {
  /** Only on the enrolment host. */
  enrol(body: {
    readonly csr: string
    readonly proof: string
    readonly oidc?: ShownToken
    /** Fingerprint of the certificate that the new one takes the place of. */
    readonly replaces?: string
    /** What this device has verified of the directory. */
    readonly head?: Head
  }): Promise<{ certificate: string }>
  whoami(): Promise<Whoami>
  /** What limits everybody in this cluster. */
  clusterFacts(): Promise<ClusterFacts>
  /** One's own, or everybody's; those on the list, or in the bin. */
  certificates(of?: 'self' | 'all', where?: 'list' | 'bin'): Promise<IssuedCertificate[]>
  /** Into the bin, and out of it. */
  purge(serial: string): Promise<void>
  restore(serial: string): Promise<void>
  /** Names the head that this device has verified; gives the agent's, and which details it lacks. */
  nameHead(head: Head): Promise<NamedHead>
  /** Brings statements that no hub has brought; gives the agent's head afterwards. */
  bringDirectory(append: DirectoryAppend): Promise<Head | null>
  revoke(revocation: Revocation): Promise<void>
  /** The CAs that wait for an admin's signature, made when none do. */
  nextAuthorities(order: AuthoritiesOrder): Promise<OfferedAuthorities>
  /** One request to the API server as the session's user: a `KubernetesTransport`. */
  request(request: KubernetesRequest): Promise<KubernetesResponse>
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
  close(): void
}

const OWN = '/.mcm/v1'
const nothing = z.unknown().transform(() => undefined)
const headAnswer = z.object({ head: headSchema.nullable() })
/** How TLS 1.3 says that a certificate is not accepted (RFC 8446 §6.2). */
const CERTIFICATE_ALERT = /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_|ACCESS_DENIED)/

/**
 * Speaks to the agent on a socket that `openInner` gave with ALPN `h2`. `onNoAnswer` hears of every call that got no
 * answer while the connection was not closed here.
 */
export function openAgentApi(socket: TLSSocket, onNoAnswer?: () => void): AgentApi {
  let isClosed = false
  const authority = socket.servername || 'agent.mcm.internal'
  const session = startSession(socket, authority)
  const peer: Peer = {
    name: 'the agent',
    authority,
    session,
    lost: lostAgent(socket),
    onNoAnswer: () => {
      if (!isClosed) onNoAnswer?.()
    },
  }
  const call = <T>(schema: z.ZodType<T>, method: string, path: string, body?: unknown) => {
    const request: Call = { method, path: `${OWN}${path}`, ...(body === undefined ? {} : { body }) }
    return callJson(peer, request, schema)
  }
  return {
    enrol: (body) => call(issuedSchema, 'POST', '/certificates', body),
    whoami: () => call(whoamiSchema, 'GET', '/whoami'),
    clusterFacts: () => call(clusterFactsSchema, 'GET', '/cluster'),
    certificates: (of = 'self', where = 'list') =>
      call(z.array(issuedCertificateSchema), 'GET', certificatesPath(of, where)),
    purge: (serial) => call(nothing, 'POST', '/purges', { serial }),
    restore: (serial) => call(nothing, 'POST', '/restorations', { serial }),
    nameHead: (head) => call(namedHeadSchema, 'POST', '/head', head),
    bringDirectory: async (append) => (await call(headAnswer, 'POST', '/directory', append)).head,
    revoke: (revocation) => call(nothing, 'POST', '/revocations', revocation),
    nextAuthorities: (order) => call(offeredAuthoritiesSchema, 'POST', '/authorities', order),
    request: (request) => forward(peer, request),
    closed: new Promise((resolve) => session.once('close', resolve)),
    close() {
      isClosed = true
      session.close()
    },
  }
}

/** An agent that is asked for what it always gave is asked as it always was. */
function certificatesPath(of: 'self' | 'all', where: 'list' | 'bin'): string {
  const query = new URLSearchParams({
    ...(of === 'all' ? { of } : {}),
    ...(where === 'bin' ? { in: where } : {}),
  }).toString()
  return query === '' ? '/certificates' : `/certificates?${query}`
}

function lostAgent(socket: TLSSocket): Peer['lost'] {
  const unreachable = unreachablePeer('MCM_AGENT_UNREACHABLE', 'the agent')
  let alert: Error | undefined
  socket.on('error', (error) => {
    if (CERTIFICATE_ALERT.test(errorCode(error) ?? '')) alert = error
  })
  return (why, cause): McmError => {
    if (!alert) return unreachable(why, cause)
    return new IdentityError('MCM_CERTIFICATE_UNKNOWN', 'the agent refused our certificate', {
      hint: 'mcm login',
      cause: alert,
    })
  }
}

async function forward(peer: Peer, request: KubernetesRequest): Promise<KubernetesResponse> {
  request.signal?.throwIfAborted()
  const stream = beginStream(
    peer,
    {
      ...request.headers,
      ':method': request.method,
      ':path': request.path,
      ':authority': peer.authority,
    },
    request.body === undefined,
  )
  if (request.body !== undefined) stream.end(request.body)
  abortWith(stream, request.signal)
  const body = bodyOf(stream)
  try {
    const { ':status': status, ...headers } = await responseHeaders(stream)
    return { status: status ?? 0, headers, body }
  } catch (cause) {
    request.signal?.throwIfAborted()
    throw lostOf(peer, cause)
  }
}

/** The body as a stream that can be iterated late, as an HTTP/2 stream cannot (see `readText`). */
function bodyOf(stream: ClientHttp2Stream): Readable {
  const body = new PassThrough()
  body.on('error', () => {})
  body.once('close', () => stream.destroy())
  stream.pipe(body)
  stream.once('error', (error) => body.destroy(error))
  stream.once('close', () => {
    if (!body.writableEnded || stream.rstCode !== constants.NGHTTP2_NO_ERROR)
      body.destroy(new Error('the answer broke off'))
  })
  return body
}

function abortWith(stream: ClientHttp2Stream, signal: AbortSignal | undefined): void {
  if (!signal) return
  const abort = () => stream.destroy(new Error('aborted'))
  signal.addEventListener('abort', abort, { once: true })
  stream.once('close', () => signal.removeEventListener('abort', abort))
}
