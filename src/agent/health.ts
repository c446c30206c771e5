import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { messageOf, UnreachableError } from '../errors.ts'
import type { Running } from '../world.ts'

/** What the kubelet asks, in plain HTTP, and nothing else. No answer names anything secret. */

export interface HealthOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  /** What keeps the agent from serving, as short words; none when it is ready. */
  problems(): readonly string[]
  /** What somebody should look at although it serves. */
  notes?(): readonly string[]
}

const TIMEOUT_MS = 5_000
const MAX_CONNECTIONS = 64

/**
 * Starts to answer `/healthz` (alive) and `/readyz` (ready). @throws UnreachableError
 * MCM_PORT_TAKEN
 */
export async function startHealth(options: HealthOptions): Promise<Running> {
  const server = createServer({ headersTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS })
  server.maxConnections = MAX_CONNECTIONS
  server.maxHeadersCount = 32
  server.on('request', (request, response) => answer(request, response, options))
  server.on('upgrade', (_request, socket) => socket.destroy())
  server.on('clientError', (_error, socket) => socket.destroy())
  await listen(server, options)
  const { port } = server.address() as AddressInfo
  const closed = once(server, 'close').then(() => {})
  return {
    address: `${options.host}:${port}`,
    closed,
    async stop() {
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { problems, notes }: HealthOptions,
): void {
  request.resume()
  const found = request.url === '/readyz' ? problems() : []
  if (request.method !== 'GET' && request.method !== 'HEAD') say(response, 405, [])
  else if (request.url !== '/healthz' && request.url !== '/readyz') say(response, 404, [])
  else if (found.length > 0) say(response, 503, found)
  else say(response, 200, ['ok', ...(request.url === '/readyz' ? (notes?.() ?? []) : [])])
}

function say(response: ServerResponse, status: number, lines: readonly string[]): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' })
  response.end(lines.map((line) => `${line}\n`).join(''))
}

async function listen(server: Server, { host, port }: HealthOptions): Promise<void> {
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (cause) {
    throw new UnreachableError(
      'MCM_PORT_TAKEN',
      `health port ${host}:${port} cannot be listened on: ${messageOf(cause)}`,
      { hint: 'choose another with --health-port', cause },
    )
  }
}
