import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { HubLimits } from './limits.ts'
import { peerOf } from './peer.ts'
import { hubStatusOf, reasonPhrase } from './status-body.ts'
import type { Switchboard } from './switchboard.ts'

/**
 * HTTP/1.1 on the public listener, for kubectl and tools: CONNECT, two probes, and nothing else. A
 * refusal says its sentence as reason phrase, because kubectl shows that and drops the body.
 */
export interface Http1 {
  serve(socket: TLSSocket): void
  /** Ends connections on which no request is under way. */
  close(): void
}

interface Http1Deps {
  readonly limits: HubLimits
  readonly switchboard: Switchboard
  /** Whether new work is taken. */
  readonly isReady: () => boolean
}

const MAX_HEADERS = 100
const CHECK_MS = 1_000

export function http1(deps: Http1Deps): Http1 {
  const server = createServer(
    {
      headersTimeout: deps.limits.requestHeadMs,
      requestTimeout: deps.limits.requestHeadMs,
      connectionsCheckingInterval: Math.min(CHECK_MS, deps.limits.requestHeadMs),
      maxHeaderSize: 16 << 10,
    },
    (request, response) => answer(deps, request, response),
  )
  server.maxHeadersCount = MAX_HEADERS
  server.on('connect', (request, socket: TLSSocket, head: Buffer) => {
    void connect(deps, request.url ?? '', socket, head)
  })
  server.on('upgrade', (_request, socket: TLSSocket) => refuse(socket, 400, 'no upgrades here'))
  server.on('clientError', (_error, socket: TLSSocket) => refuse(socket, 400, 'bad request'))
  watchTimeouts(server)
  return {
    serve(socket) {
      // Only now: whoever ends in the middle of the handshake is gone, and half-close is for relays.
      socket.allowHalfOpen = true
      server.emit('connection', socket)
    },
    close: () => void server.close(() => {}),
  }
}

/** A server that never listens does not look after slow requests unless it believes it does. */
function watchTimeouts(server: Server): void {
  server.emit('listening')
}

function answer(deps: Http1Deps, request: IncomingMessage, response: ServerResponse): void {
  const status = request.method === 'GET' ? probe(deps, request.url) : 404
  // One request a connection: nobody stays here by asking how we are.
  const headers = { 'content-type': 'text/plain', 'content-length': '3', connection: 'close' }
  response.writeHead(status, headers)
  response.end(status === 200 ? 'ok\n' : 'no\n')
}

function probe(deps: Http1Deps, path: string | undefined): number {
  if (path === '/healthz') return 200
  if (path === '/readyz') return deps.isReady() ? 200 : 503
  return 404
}

async function connect(
  deps: Http1Deps,
  authority: string,
  socket: TLSSocket,
  head: Buffer,
): Promise<void> {
  // Before anything is awaited: an end of the client's would overtake what it sent early.
  if (head.length > 0) socket.unshift(head)
  try {
    const line = await deps.switchboard.open(peerOf(socket), authority)
    if (socket.destroyed) {
      line.abandon()
      return
    }
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
    line.join(socket)
  } catch (error) {
    refuse(socket, hubStatusOf(error).code, reasonPhrase(error))
  }
}

function refuse(socket: TLSSocket, status: number, phrase: string): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy()
    return
  }
  socket.once('finish', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}
