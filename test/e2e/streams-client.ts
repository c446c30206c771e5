/** A client of `mcm proxy` that says exactly what it is told, with the certificate of a kubeconfig. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { parse } from 'yaml'

export interface Endpoint {
  readonly host: string
  readonly port: number
  /** Before every path: `/c-…`. */
  readonly prefix: string
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface SwitchOptions {
  readonly protocol?: 'websocket' | 'SPDY/3.1'
  /** For `/streams/seen`. */
  readonly id?: string
}

/** What a kubeconfig of mode proxy says. */
export async function endpointOf(kubeconfig: string): Promise<Endpoint> {
  const config = parse(await readFile(kubeconfig, 'utf8')) as {
    clusters: { cluster: Record<string, string> }[]
    users: { user: Record<string, string> }[]
  }
  const cluster = config.clusters[0]!.cluster
  const user = config.users[0]!.user
  const url = new URL(cluster['server']!)
  const pem = (value: string | undefined) => Buffer.from(value ?? '', 'base64').toString()
  return {
    host: url.hostname,
    port: Number(url.port),
    prefix: url.pathname.replace(/\/$/, ''),
    ca: pem(cluster['certificate-authority-data']),
    cert: pem(user['client-certificate-data']),
    key: pem(user['client-key-data']),
  }
}

/** A request on a connection of its own. */
export function ask(endpoint: Endpoint, path: string, options: RequestOptions = {}) {
  const { host, port, prefix, ca, cert, key } = endpoint
  const tls = { host, port, ca, cert, key, agent: false }
  const request = httpsRequest({ ...tls, path: prefix + path, ...options })
  request.on('error', () => {})
  return request
}

/** The whole answer to a GET, or to a request that the caller has ended. */
export async function answerOf(
  request: ReturnType<typeof ask>,
): Promise<{ status: number; text: string }> {
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  return { status: answer.statusCode ?? 0, text: await text(answer) }
}

export async function get(endpoint: Endpoint, path: string) {
  const request = ask(endpoint, path)
  request.end()
  return answerOf(request)
}

/**
 * Switches protocols on an exec and gives the raw stream; whoever asks for a WebSocket has to speak in its frames.
 * @throws Error when it is refused
 */
export async function exec(
  endpoint: Endpoint,
  command: string,
  options: SwitchOptions = {},
): Promise<Duplex> {
  const { protocol = 'SPDY/3.1', id = '' } = options
  const isWebSocket = protocol === 'websocket'
  const path = `/api/v1/namespaces/default/pods/p/exec?command=${command}&id=${id}`
  const request = ask(endpoint, path, {
    method: isWebSocket ? 'GET' : 'POST',
    headers: {
      connection: 'Upgrade',
      upgrade: protocol,
      ...(isWebSocket
        ? { 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
        : { 'content-length': '0', 'x-stream-protocol-version': 'v5.channel.k8s.io' }),
    },
  })
  request.end()
  return new Promise((resolve, reject) => {
    request.once('upgrade', (_answer, socket, head) => {
      socket.on('error', () => {})
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
    })
    request.once('response', (answer) => {
      reject(new Error(`refused with ${answer.statusCode}`))
      answer.resume()
    })
    request.once('error', reject)
  })
}
