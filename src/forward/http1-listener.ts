import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Reply } from './exchange.ts'
import type { ListenerHandlers, ListenerTimeouts } from './listener-handlers.ts'
import { headOf } from './raw-head.ts'
import type { StallWatch } from './stall-watch.ts'
import { http1UpgradeClient } from './upgrade-client.ts'

/** Room for a long exec URL; a single header line is bounded elsewhere. */
const MAX_HEAD_BYTES = 64 * 1024

export interface Http1Server<Context> {
  accept(socket: Duplex, context: Context): void
  stop(): void
}

interface Connection<Context> {
  readonly context: Context
  /** Requests whose answers are not finished. */
  pending: number
  /** What is pipelined behind the last answer is not read any more. */
  isEnding: boolean
}

/** An HTTP/1.1 server that never listens: connections are handed to it. */
export function http1Server<Context>(
  handlers: ListenerHandlers<Context>,
  timeouts: ListenerTimeouts,
  stalls: StallWatch,
): Http1Server<Context> {
  const connections = new WeakMap<object, Connection<Context>>()
  const server = createServer({
    maxHeaderSize: MAX_HEAD_BYTES,
    headersTimeout: timeouts.headMs,
    // A long upload is no attack; one that stands still is, and the stall watch ends it.
    requestTimeout: 0,
    keepAliveTimeout: timeouts.idleMs,
    connectionsCheckingInterval: Math.min(1_000, timeouts.headMs / 4),
    noDelay: false,
    // Node's own refusal would end the connection and still read what is pipelined behind.
    requireHostHeader: false,
  })
  // Node loses lines beyond its own limit without a word; ours answers 431.
  server.maxHeadersCount = 0
  server.timeout = 0
  server.on('request', (request, response) => {
    const connection = connections.get(request.socket)
    if (!connection) {
      request.socket.destroy()
      return
    }
    // Its answer would come behind one that ends the connection.
    if (connection.isEnding) return
    connection.pending += 1
    response.once('close', () => {
      connection.pending -= 1
    })
    handlers.request(exchangeOf(request, response, connection, stalls))
  })
  server.on('upgrade', (request, socket, head) => {
    const connection = connections.get(socket)
    // Behind an answer that is still being written, the switch would cut into it.
    if (!connection || connection.pending > 0 || connection.isEnding) {
      socket.destroy()
      return
    }
    socket.pause()
    handlers.upgrade(upgradeOf(request, socket, head, connection.context))
  })
  server.on('connect', (_request, socket) => refuse(socket, 405))
  server.on('clientError', (error, socket) => {
    // Its last answer is on its way, and the end behind that.
    if (!connections.get(socket)?.isEnding) refuse(socket, codeOfClientError(error))
  })
  // Timeouts are checked only by a server that listens, so it is told that it does.
  server.emit('listening')
  return {
    accept: (socket, context) => {
      connections.set(socket, { context, pending: 0, isEnding: false })
      server.emit('connection', socket)
    },
    stop: () => {
      server.close(() => {})
    },
  }
}

function exchangeOf<Context>(
  request: IncomingMessage,
  response: ServerResponse,
  connection: Connection<Context>,
  stalls: StallWatch,
) {
  const hasBody = !request.complete && hasFraming(request.rawHeaders)
  if (hasBody) stalls.add(request, () => request.destroy())
  return {
    context: connection.context,
    httpVersion: versionOf(request),
    method: request.method!,
    target: request.url,
    authority: undefined,
    headers: request.rawHeaders,
    body: hasBody ? request : undefined,
    reply: http1Reply(request, response, connection),
  }
}

function upgradeOf<Context>(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  context: Context,
) {
  return {
    context,
    httpVersion: versionOf(request),
    method: request.method!,
    target: request.url,
    authority: undefined,
    protocol: undefined,
    headers: request.rawHeaders,
    client: http1UpgradeClient(socket, head, request.rawHeaders),
  }
}

/** Anything but HTTP/1.1 counts as old: Node's parser lets 0.9 and 2.0 pass. */
function versionOf({ httpVersion }: IncomingMessage): '1.0' | '1.1' {
  return httpVersion === '1.1' ? '1.1' : '1.0'
}

/** Content-Length or Transfer-Encoding, in raw pairs. */
function hasFraming(raw: readonly string[]): boolean {
  for (let index = 0; index < raw.length; index += 2) {
    const { length } = raw[index]!
    if (length !== 14 && length !== 17) continue
    const name = raw[index]!.toLowerCase()
    if (name === 'content-length' || name === 'transfer-encoding') return true
  }
  return false
}

function http1Reply(
  request: IncomingMessage,
  response: ServerResponse,
  connection: { isEnding: boolean },
): Reply {
  let hasBytes = false
  // A head without bytes behind it (a watch, a log) must not wait for them.
  const flush = () => {
    if (!hasBytes && !response.destroyed) response.flushHeaders()
  }
  return {
    get isStarted() {
      return response.headersSent
    },
    get isClosed() {
      return response.closed
    },
    start: (status, headers) => {
      response.writeHead(status, headers)
      process.nextTick(flush)
    },
    write: (chunk) => {
      hasBytes = true
      return response.write(chunk)
    },
    end: (chunk) => {
      hasBytes = true
      response.end(chunk)
    },
    abort: () => response.destroy(),
    endConnection: () => {
      response.shouldKeepAlive = false
      connection.isEnding = true
    },
    onDrain: (listener) => response.on('drain', listener),
    onClose: (listener) => {
      response.once('close', () => {
        const isComplete = response.writableFinished
        // What is left of a refused body is read and thrown away; the stall watch bounds it.
        if (isComplete && !request.complete) request.resume()
        listener(isComplete)
      })
    },
  }
}

function codeOfClientError(error: NodeJS.ErrnoException): number {
  if (error.code === 'HPE_HEADER_OVERFLOW') return 431
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 408
  return 400
}

/** Our own bare answer where no request was understood; the connection ends. */
function refuse(socket: Duplex, code: number): void {
  if (!socket.writable || socket.destroyed) return void socket.destroy()
  socket.end(headOf(code, ['connection', 'close', 'content-length', '0']), () => socket.destroy())
}
