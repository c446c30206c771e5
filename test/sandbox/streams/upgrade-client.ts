/** Asks the sandbox to switch protocols, byte by byte as it is on the wire, and talks on in what it switched to. */
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import type { RunningSandbox } from '../../../src/sandbox/server.ts'
import { SpdyConnection, type SpdyStream } from '../../../src/sandbox/streams/spdy.ts'
import { acceptOf, WebSocketConnection } from '../../../src/sandbox/streams/websocket.ts'

export interface UpgradeAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  /** Of a refusal: all of its body. */
  readonly body: string
  readonly socket: Duplex
  /** Of a switch: what came behind its head. */
  readonly head: Buffer
}

/** Sends a request with these header lines and reads the answer; after a 101 the socket is the caller's. */
export function upgrade(
  sandbox: RunningSandbox,
  method: string,
  path: string,
  lines: readonly string[],
  token = sandbox.adminToken.reveal(),
): Promise<UpgradeAnswer> {
  const { host, port } = sandbox.address
  const socket = connect({ host, port, ca: sandbox.caPem })
  const authorization = token ? [`Authorization: Bearer ${token}`] : []
  const head = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...authorization, ...lines]
  socket.write(`${head.join('\r\n')}\r\n\r\n`)
  return readAnswer(socket)
}

function readAnswer(socket: Duplex): Promise<UpgradeAnswer> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0)
    const answerOf = (end: number): UpgradeAnswer => {
      const [first = '', ...lines] = received.toString('latin1', 0, end).split('\r\n')
      const pairs = lines.map((line) => line.split(/: (.*)/s) as [string, string])
      const headers = new Map(pairs.map(([name, value]) => [name.toLowerCase(), value]))
      const rest = received.subarray(end + 4)
      return {
        status: Number(first.split(' ')[1]),
        headers,
        body: rest.toString(),
        socket,
        head: rest,
      }
    }
    const onData = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      const end = received.indexOf('\r\n\r\n')
      if (end < 0 || !received.toString('latin1', 0, 12).endsWith(' 101')) return
      socket.removeListener('data', onData)
      socket.pause()
      resolve(answerOf(end))
    }
    socket.on('data', onData)
    socket.once('error', reject)
    socket.once('end', () => resolve(answerOf(received.indexOf('\r\n\r\n'))))
  })
}

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

export function webSocketLines(...protocols: readonly string[]): string[] {
  const lines = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
  const offered = protocols.map((protocol) => `Sec-WebSocket-Protocol: ${protocol}`)
  return [...lines, `Sec-WebSocket-Key: ${KEY}`, ...offered]
}

export function spdyLines(...protocols: readonly string[]): string[] {
  const offered = protocols.map((protocol) => `X-Stream-Protocol-Version: ${protocol}`)
  return ['Connection: Upgrade', 'Upgrade: SPDY/3.1', 'Content-Length: 0', ...offered]
}

export interface WebSocketClient {
  readonly protocol: string | undefined
  readonly messages: readonly Buffer[]
  readonly socket: Duplex
  readonly closed: Promise<void>
  send(message: Buffer | string): boolean
  close(): void
  /** All messages of a channel in one, in the codec of bytes. */
  channel(number: number): string
}

/** @throws Error when the server does not switch */
export async function openWebSocket(
  sandbox: RunningSandbox,
  path: string,
  ...protocols: readonly string[]
): Promise<WebSocketClient> {
  const answer = await upgrade(sandbox, 'GET', path, webSocketLines(...protocols))
  if (answer.headers.get('sec-websocket-accept') !== acceptOf(KEY))
    throw new Error(`no WebSocket: ${answer.status} ${answer.body}`)
  const messages: Buffer[] = []
  const connection = new WebSocketConnection(answer.socket, {
    role: { client: (count) => randomBytes(count) },
    head: answer.head,
    onMessage: (message) => messages.push(message),
  })
  return {
    protocol: answer.headers.get('sec-websocket-protocol'),
    messages,
    socket: answer.socket,
    closed: connection.closed,
    send: (message) => connection.send(message),
    close: () => connection.close(),
    channel: (number) =>
      Buffer.concat(
        messages.filter((one) => one[0] === number).map((one) => one.subarray(1)),
      ).toString(),
  }
}

/** @throws Error when the server does not switch */
export async function openSpdy(
  sandbox: RunningSandbox,
  path: string,
  ...protocols: readonly string[]
): Promise<{ readonly connection: SpdyConnection; readonly protocol: string | undefined }> {
  const answer = await upgrade(sandbox, 'POST', path, spdyLines(...protocols))
  if (answer.status !== 101) throw new Error(`no SPDY: ${answer.status} ${answer.body}`)
  if (answer.head.length > 0) answer.socket.unshift(answer.head)
  const connection = new SpdyConnection(answer.socket, { role: 'client' })
  return { connection, protocol: answer.headers.get('x-stream-protocol-version') }
}

/** Everything a stream says until its end. */
export async function textOf(stream: SpdyStream): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
