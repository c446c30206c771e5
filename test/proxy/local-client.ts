/** Clients of the proxy that send exactly what they are told, over HTTP/1.1 and HTTP/2. */
import { once } from 'node:events'
import type { ClientHttp2Session } from 'node:http2'
import { connect as connectHttp2 } from 'node:http2'
import { buffer } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'
import { connect as connectTls } from 'node:tls'
import type { Stage } from './stage.ts'

type ClientTls = Pick<Stage, 'proxy' | 'local'>

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

/** A TLS connection to the proxy, as the kubeconfig makes a client do it. */
export async function connectLocally(stage: ClientTls, alpn: string[]): Promise<TLSSocket> {
  const { local, proxy } = stage
  const socket = connectTls({
    host: '127.0.0.1',
    port: proxy.address.port,
    ca: local.tls.caPem,
    cert: local.certPem,
    key: local.keyPem,
    ALPNProtocols: alpn,
  })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

/** Sends these bytes on a connection of its own and reads until the proxy closes it. */
export async function sendRaw(stage: ClientTls, bytes: string): Promise<string> {
  const socket = await connectLocally(stage, ['http/1.1'])
  socket.write(bytes, 'latin1')
  return (await buffer(socket)).toString('latin1')
}

/** One HTTP/1.1 request by itself. `lines` go out as they are; Host is put in unless they hold one. */
export async function get(stage: ClientTls, path: string, ...lines: string[]): Promise<Answer> {
  const host = `127.0.0.1:${stage.proxy.address.port}`
  const hasHost = lines.some((line) => /^host:/i.test(line))
  const head = [`GET ${path} HTTP/1.1`, ...(hasHost ? [] : [`Host: ${host}`]), ...lines]
  return parseAnswer(await sendRaw(stage, `${head.join('\r\n')}\r\nConnection: close\r\n\r\n`))
}

export function parseAnswer(text: string): Answer {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line) => {
    const [name = '', ...value] = line.split(': ')
    return [name.toLowerCase(), value.join(': ')] as const
  })
  const status = Number(statusLine.split(' ')[1])
  const fields = Object.fromEntries(headers)
  const body = rest.join('\r\n\r\n')
  const whole = fields['transfer-encoding'] === 'chunked' ? withoutChunks(body) : body
  return { status, headers: fields, text: Buffer.from(whole, 'latin1').toString('utf8') }
}

/** RFC 9112 §7.1, as far as one answer that is all there needs it. */
function withoutChunks(body: string): string {
  const [size = '0'] = body.split('\r\n', 1)
  const length = Number.parseInt(size, 16)
  const start = size.length + 2
  if (length === 0) return ''
  return body.slice(start, start + length) + withoutChunks(body.slice(start + length + 2))
}

/** An HTTP/2 session with the proxy. End it. */
export async function openHttp2(stage: ClientTls): Promise<ClientHttp2Session> {
  const socket = await connectLocally(stage, ['h2'])
  const session = connectHttp2(`https://127.0.0.1:${stage.proxy.address.port}`, {
    createConnection: () => socket,
    maxSessionMemory: 256,
  })
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

/** One HTTP/2 request; raw pairs, so that duplicates and order are what was written. */
export async function request2(
  session: ClientHttp2Session,
  pseudo: Readonly<Record<string, string>>,
  headers: readonly string[] = [],
  body?: string,
): Promise<Answer> {
  const stream = session.request([...Object.entries(pseudo).flat(), ...headers], {
    endStream: body === undefined,
  })
  const answered = once(stream, 'response')
  if (body !== undefined) stream.end(body)
  const [fields] = await answered
  const text = (await buffer(stream)).toString('utf8')
  return { status: Number(fields[':status']), headers: fields, text }
}

export function messageOf(answer: Answer): string {
  return JSON.parse(answer.text).message
}
