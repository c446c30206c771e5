import { request } from 'node:https'
import type { ApiServer } from '../cluster/api-server.ts'

export interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: whatever the API server says
  readonly body: any
}

/** Who asks: a bearer token, or a client certificate. */
export type Caller =
  | { readonly token: string }
  | { readonly certPem: string; readonly keyPem: string }

export interface Ask {
  readonly method?: string
  readonly body?: unknown
  /** Raw header pairs, such as `Impersonate-Group` twice. */
  readonly headers?: readonly (readonly [string, string])[]
}

/** One request, without any library between: what is in `headers` is what the API server sees. */
export function ask(server: ApiServer, caller: Caller, path: string, asked: Ask = {}) {
  const text = asked.body === undefined ? '' : JSON.stringify(asked.body)
  const headers = [
    ['Host', `${server.host}:${server.port}`],
    ['Accept', 'application/json'],
    ['Content-Type', 'application/json'],
    ['Content-Length', String(Buffer.byteLength(text))],
    ...('token' in caller ? [['Authorization', `Bearer ${caller.token}`]] : []),
    ...(asked.headers ?? []),
  ]
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const outgoing = request({
    host: server.host,
    port: server.port,
    path,
    method: asked.method ?? 'GET',
    ca: server.caPem,
    agent: false,
    headers: headers.flat(),
    ...('certPem' in caller ? { cert: caller.certPem, key: caller.keyPem } : {}),
  })
  outgoing.on('error', reject)
  outgoing.on('response', async (response) => {
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString('utf8')
    resolve({ status: response.statusCode ?? 0, body: jsonOrText(text) })
  })
  outgoing.end(text)
  return promise
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const PLURALS: Readonly<Record<string, string>> = {
  NetworkPolicy: 'networkpolicies',
}

/** Where an object of this kind is created. */
export function collectionPath(object: {
  apiVersion: string
  kind: string
  metadata: { namespace?: string }
}): string {
  const root = object.apiVersion === 'v1' ? '/api/v1' : `/apis/${object.apiVersion}`
  const plural = PLURALS[object.kind] ?? `${object.kind.toLowerCase()}s`
  const { namespace } = object.metadata
  return namespace === undefined ? `${root}/${plural}` : `${root}/namespaces/${namespace}/${plural}`
}
