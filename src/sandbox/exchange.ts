/** One request and its answer, the same over HTTP/1.1 and HTTP/2. */
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Duplex } from 'node:stream'
import { type Headers, readHeaders } from './headers.ts'
import { tooLarge } from './refusals.ts'
import { askedUpgrade, type Upgrade } from './streams/upgrade.ts'

/** kube-apiserver's `MaxRequestBodyBytes`. */
const MAX_BODY_BYTES = 3 * 1024 * 1024

export interface Exchange {
  readonly method: string
  /** Path and query, as sent. */
  readonly target: string
  readonly query: URLSearchParams
  readonly headers: Headers
  readonly remoteAddress: string
  /** Aborts when the client is gone or the server stops. */
  readonly signal: AbortSignal
  /** @throws Refusal 413 */
  body(): Promise<Buffer>
  /** A header of the answer, before it starts. */
  setHeader(name: string, value: string): void
  addWarning(text: string): void
  respond(status: number, contentType: string, body: string | Buffer): void
  /** Starts an endless answer of status 200; write until the signal aborts, then end. */
  stream(contentType: string): AnswerStream
  /** The switch of protocols that is asked for. */
  readonly upgrade: Upgrade | undefined
}

export interface AnswerStream {
  /** @returns whether more may be written at once; otherwise wait for `drained` */
  write(chunk: string): boolean
  /** Resolves when more may be written, or nobody reads any more. */
  drained(): Promise<void>
  end(): void
}

export type ServerRequest = IncomingMessage | Http2ServerRequest
export type ServerAnswer = ServerResponse | Http2ServerResponse

/** @param serverSignal aborts when the server stops */
export function openExchange(
  request: ServerRequest,
  response: ServerAnswer,
  serverSignal: AbortSignal,
  upgrading?: Upgrading,
): Exchange {
  const target = request.url ?? '/'
  const gone = new AbortController()
  if (upgrading) upgrading.socket.once('close', () => gone.abort())
  else response.once('close', () => gone.abort())
  const warnings: string[] = []
  const start = (status: number, contentType: string, length?: number) => {
    response.statusCode = status
    response.setHeader('content-type', contentType)
    response.setHeader('cache-control', 'no-cache, private')
    if (length !== undefined) response.setHeader('content-length', length)
    if (warnings.length > 0) response.setHeader('warning', warnings)
  }
  const headers = readHeaders(request.rawHeaders)
  return {
    method: request.method ?? 'GET',
    target,
    query: new URLSearchParams(target.includes('?') ? target.slice(target.indexOf('?') + 1) : ''),
    headers,
    remoteAddress: (request.socket?.remoteAddress ?? '').replace(/^::ffff:/, ''),
    signal: AbortSignal.any([serverSignal, gone.signal]),
    body: () => readBody(request),
    setHeader: (name, value) => void response.setHeader(name, value),
    addWarning: (text) => void warnings.push(`299 - ${JSON.stringify(text)}`),
    respond(status, contentType, body) {
      if (response.headersSent) return
      start(status, contentType, Buffer.byteLength(body))
      endWith(response, request.method === 'HEAD' ? '' : body)
    },
    stream(contentType) {
      start(200, contentType)
      flush(response)
      return {
        write: (chunk) => (response as ServerResponse).write(chunk),
        drained: () => drained(response as ServerResponse),
        end: () => void response.end(),
      }
    },
    upgrade: upgrading && upgradeOf(upgrading, headers, response as ServerResponse),
  }
}

/** The socket under a request that came with an Upgrade header, and what was read behind its head. */
export interface Upgrading {
  readonly socket: Duplex
  readonly head: Buffer
}

/** As `openExchange`, where Node has given the socket away. An ordinary answer ends the connection. */
export function openUpgradeExchange(
  request: IncomingMessage,
  upgrading: Upgrading,
  serverSignal: AbortSignal,
): Exchange {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(upgrading.socket as Parameters<ServerResponse['assignSocket']>[0])
  response.once('finish', () => upgrading.socket.end())
  return openExchange(request, response, serverSignal, upgrading)
}

function upgradeOf(
  { socket, head }: Upgrading,
  headers: Headers,
  response: ServerResponse,
): Upgrade | undefined {
  const to = askedUpgrade(headers)
  if (!to) return undefined
  const { promise: switched, resolve } = Promise.withResolvers<void>()
  let hasSwitched = false
  return {
    to,
    switched,
    get hasSwitched() {
      return hasSwitched
    },
    switch(answered) {
      hasSwitched = true
      resolve()
      response.detachSocket(socket as Parameters<ServerResponse['detachSocket']>[0])
      const lines = Object.entries(answered).map(([name, value]) => `${name}: ${value}\r\n`)
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`)
      return { socket, head }
    },
  }
}

function endWith(response: ServerAnswer, body: string | Buffer): void {
  ;(response as ServerResponse).end(body)
}

function drained(response: ServerResponse): Promise<void> {
  if (!response.writableNeedDrain || response.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const go = () => {
      response.removeListener('drain', go)
      response.removeListener('close', go)
      resolve()
    }
    response.on('drain', go)
    response.on('close', go)
  })
}

/** The client must see the head of a watch before its first event. */
function flush(response: ServerAnswer): void {
  ;(response as ServerResponse).flushHeaders()
}

/** Reads with events: ending an async iteration early would take the socket of the answer with it. */
function readBody(request: ServerRequest): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length <= MAX_BODY_BYTES) chunks.push(chunk)
      else reject(tooLarge(MAX_BODY_BYTES))
    })
    request.once('end', () => resolve(Buffer.concat(chunks)))
    request.once('error', reject)
    request.once('close', () => reject(new Error('the client went away')))
  })
}
