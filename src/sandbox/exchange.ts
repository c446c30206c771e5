/** One request and its answer, the same over HTTP/1.1 and HTTP/2. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { type Headers, readHeaders } from './headers.ts'
import { tooLarge } from './refusals.ts'

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
  /** Starts an endless answer; write until the signal aborts, then end. */
  stream(status: number, contentType: string): { write(chunk: string): void; end(): void }
}

export type ServerRequest = IncomingMessage | Http2ServerRequest
export type ServerAnswer = ServerResponse | Http2ServerResponse

/** @param serverSignal aborts when the server stops */
export function openExchange(
  request: ServerRequest,
  response: ServerAnswer,
  serverSignal: AbortSignal,
): Exchange {
  const target = request.url ?? '/'
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const warnings: string[] = []
  const start = (status: number, contentType: string, length?: number) => {
    response.statusCode = status
    response.setHeader('content-type', contentType)
    response.setHeader('cache-control', 'no-cache, private')
    if (length !== undefined) response.setHeader('content-length', length)
    if (warnings.length > 0) response.setHeader('warning', warnings)
  }
  return {
    method: request.method ?? 'GET',
    target,
    query: new URLSearchParams(target.includes('?') ? target.slice(target.indexOf('?') + 1) : ''),
    headers: readHeaders(request.rawHeaders),
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
    stream(status, contentType) {
      start(status, contentType)
      flush(response)
      return {
        write: (chunk) => void (response as ServerResponse).write(chunk),
        end: () => void response.end(),
      }
    },
  }
}

function endWith(response: ServerAnswer, body: string | Buffer): void {
  ;(response as ServerResponse).end(body)
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
