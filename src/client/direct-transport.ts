/**
 * The transport straight to an API server, as a kubeconfig or a pod names it. It knows TLS and forward
 * proxies, and nothing of objects. Invariant: a request goes to the connection's own host and port and
 * nowhere else, whatever its path or an answer says.
 */

import { type Dispatcher, Pool, ProxyAgent } from 'undici'
import { isMcmError, messageOf, TrustError, UnreachableError } from '../errors.ts'
import type { ApiServerConnection } from '../kube/connection.ts'
import type { KubernetesRequest, KubernetesResponse, KubernetesTransport } from './kubernetes.ts'

/** A transport that its owner closes; requests under way are ended. */
export type ClosableTransport = KubernetesTransport & { close(): Promise<void> }

/**
 * Straight to the API server: always the connection's own host and port (through its proxy, if it
 * has one), its certificate checked against the connection's CA, redirects never followed,
 * environment proxies ignored.
 */
export function directTransport(connection: ApiServerConnection): ClosableTransport {
  const dispatcher = dispatcherOf(connection)
  const transport = (request: KubernetesRequest) => requestOver(dispatcher, connection, request)
  return Object.assign(transport, { close: () => dispatcher.destroy() })
}

async function requestOver(
  dispatcher: Dispatcher,
  connection: ApiServerConnection,
  request: KubernetesRequest,
): Promise<KubernetesResponse> {
  const authorization = await connection.authorization()
  const headers: Record<string, string> = { ...request.headers }
  if (authorization !== undefined) headers['authorization'] = authorization.reveal()
  const path = connection.basePath + request.path
  const { method, body = null, signal = null } = request
  try {
    const origin = originOf(connection)
    const answer = await dispatcher.request({ origin, method, path, headers, body, signal })
    const answerBody = bodyOf(connection, answer.body)
    return { status: answer.statusCode, headers: answer.headers, body: answerBody }
  } catch (error) {
    throw transportError(connection, error)
  }
}

/** A body that breaks off is a server that cannot be reached, as one that never answered is. */
async function* bodyOf(
  connection: ApiServerConnection,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } catch (error) {
    throw transportError(connection, error)
  }
}

function dispatcherOf(connection: ApiServerConnection): Dispatcher {
  const tls = tlsOptionsOf(connection)
  const timeouts = { headersTimeout: 90_000, bodyTimeout: 0, keepAliveTimeout: 30_000 }
  const { proxyUrl } = connection
  if (proxyUrl === undefined)
    return new Pool(originOf(connection), { ...timeouts, allowH2: false, connect: tls })
  return new ProxyAgent({ ...timeouts, allowH2: false, uri: proxyUrl, requestTls: tls })
}

function originOf({ scheme, host, port }: ApiServerConnection): string {
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function tlsOptionsOf(connection: ApiServerConnection) {
  const { caPem, tlsServerName, clientCertPem, clientKeyPem } = connection
  return {
    timeout: 10_000,
    rejectUnauthorized: !connection.insecureSkipTlsVerify,
    ...(caPem === undefined ? {} : { ca: caPem }),
    ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
    ...(clientCertPem === undefined ? {} : { cert: clientCertPem }),
    ...(clientKeyPem === undefined ? {} : { key: clientKeyPem.reveal() }),
  }
}

function transportError(connection: ApiServerConnection, error: unknown): unknown {
  if (isMcmError(error) || (error instanceof Error && error.name === 'AbortError')) return error
  const code = (error as { code?: string }).code ?? ''
  const problem = `API server ${connection.host}:${connection.port}: ${messageOf(error)}`
  if (/CERT|TLS|SSL|SIGNATURE/.test(code))
    return new TrustError('MCM_CERTIFICATE_UNTRUSTED', problem, { cause: error })
  return new UnreachableError('MCM_API_SERVER_UNREACHABLE', problem, { cause: error })
}
