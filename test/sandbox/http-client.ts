/** HTTPS requests with every header line by itself, to a sandbox or to a real API server. */
import type { ClientRequest } from 'node:http'
import { request } from 'node:https'
import { createInterface } from 'node:readline'

export interface Target {
  readonly url: string
  readonly caPem: string
  readonly token?: string
  readonly cert?: { readonly certPem: string; readonly keyPem: string }
}

export interface Ask {
  readonly method?: string
  readonly path: string
  /** Objects go as JSON, strings and bytes as they are. */
  readonly body?: unknown
  readonly contentType?: string
  readonly headers?: readonly (readonly [string, string])[]
}

export interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly text: string
  /** The body as JSON, or undefined. */
  readonly json: unknown
}

export interface Watching {
  /** The next event. Fails when the stream ends instead. */
  next(): Promise<WatchedEvent>
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<void>
  close(): void
}

export interface WatchedEvent {
  readonly type: string
  readonly object: { readonly kind: string; readonly metadata: Record<string, unknown> } & Record<
    string,
    unknown
  >
}

/** Opens a watch, or anything else that answers in lines of JSON. */
export function follow(target: Target, asked: Ask): Promise<Watching> {
  return new Promise((resolve, reject) => {
    const sent = open(target, asked)
    sent.once('error', reject)
    sent.once('response', (response) => {
      const lines = createInterface({ input: response })[Symbol.asyncIterator]()
      const ended = Promise.withResolvers<void>()
      response.once('close', ended.resolve)
      response.on('error', () => {})
      sent.on('error', () => {})
      const next = async () => {
        const { value, done } = await lines.next()
        if (done) throw new Error('the watch has ended')
        return JSON.parse(value) as WatchedEvent
      }
      resolve({ next, ended: ended.promise, close: () => sent.destroy() })
    })
    sent.end()
  })
}

export function ask(target: Target, asked: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = open(target, asked)
    sent.once('error', reject)
    sent.once('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', reject)
      response.once('end', () => {
        const text = Buffer.concat(chunks).toString()
        const { statusCode: status = 0, headers } = response
        resolve({ status, headers, text, json: parsed(text) })
      })
    })
    sent.end(bytesOf(asked))
  })
}

function open(target: Target, asked: Ask): ClientRequest {
  const { method = 'GET', path, contentType = 'application/json', headers = [] } = asked
  const bytes = bytesOf(asked)
  const ofBody: [string, string][] =
    bytes === undefined
      ? []
      : [
          ['Content-Type', contentType],
          ['Content-Length', String(Buffer.byteLength(bytes))],
        ]
  const ofToken: [string, string][] = target.token
    ? [['Authorization', `Bearer ${target.token}`]]
    : []
  const host: [string, string] = ['Host', new URL(target.url).host]
  const lines = [...headers, ...ofToken, ...ofBody, host, ['User-Agent', 'test/1']]
  return request(`${target.url}${path}`, {
    method,
    ca: target.caPem,
    ...(target.cert && { cert: target.cert.certPem, key: target.cert.keyPem }),
    headers: lines.flat(),
  })
}

/** Never a string: Node would then write the header lines in UTF-8 too, and not byte for byte. */
function bytesOf({ body }: Ask): Buffer | undefined {
  if (body === undefined || Buffer.isBuffer(body)) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
