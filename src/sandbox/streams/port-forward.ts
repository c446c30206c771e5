/**
 * pods/portforward (k8s.io/cri-streaming `pkg/streaming/portforward`): pairs of a data and an error stream over SPDY, bare
 * or within a WebSocket, and the older channels of a WebSocket.
 */
import type { Duplex } from 'node:stream'
import type { ResourceContext } from '../context.ts'
import type { KubeObject } from '../json.ts'
import { splice } from './byte-splice.ts'
import { Channels } from './channels.ts'
import { requireStreamable, requireUpgrade } from './remote-command.ts'
import { SpdyConnection, type SpdyStream } from './spdy.ts'
import {
  negotiateSpdy,
  offeredProtocols,
  PlainRefusal,
  SPDY_HANDSHAKE,
  switchToWebSocket,
} from './upgrade.ts'
import { webSocketBytes } from './websocket-bytes.ts'

const KNOWN = ['portforward.k8s.io']
const TUNNEL_PREFIX = 'SPDY/3.1+'
const WEBSOCKET_PROTOCOLS = ['', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io']
const STREAM_CREATION_TIMEOUT_MS = 30_000

export async function answerPortForward(context: ResourceContext): Promise<number> {
  const pod = requireStreamable(context)
  requireUpgrade(context, pod)
  const { exchange } = context
  const connect = connector(context, pod)
  if (exchange.upgrade?.to === 'spdy') {
    const protocol = negotiateSpdy(exchange.headers, KNOWN)
    const headers = { ...SPDY_HANDSHAKE, 'X-Stream-Protocol-Version': protocol }
    const { socket, head } = exchange.upgrade.switch(headers)
    if (head.length > 0) socket.unshift(head)
    await servePairs(socket, connect)
  } else if (tunnelProtocols(context).length > 0) {
    const protocol =
      TUNNEL_PREFIX + negotiateSpdy(exchange.headers, KNOWN, tunnelProtocols(context))
    const { socket, head } = switchToWebSocket(exchange, [protocol])
    await servePairs(webSocketBytes(socket, { role: 'server', head }), connect)
  } else await serveChannels(context, connect)
  return 101
}

type Connect = (port: number) => Duplex | string

/** A connection to a port of the pod, or the sentence why there is none. */
function connector({ sandbox }: ResourceContext, pod: KubeObject): Connect {
  const { name = '', uid = '' } = pod.metadata
  return (port) =>
    sandbox.node.connect(pod, port) ??
    `error forwarding port ${port} to pod ${name}, uid ${uid}: failed to connect to localhost:${port} inside namespace: dial tcp4 127.0.0.1:${port}: connect: connection refused`
}

/** `SPDY/3.1+portforward.k8s.io` → `portforward.k8s.io`. */
function tunnelProtocols({ exchange }: ResourceContext): readonly string[] {
  return offeredProtocols(exchange.headers)
    .filter((one) => one.startsWith(TUNNEL_PREFIX) && one.endsWith('.k8s.io'))
    .map((one) => one.slice(TUNNEL_PREFIX.length))
}

interface Pair {
  data?: SpdyStream
  error?: SpdyStream
  readonly timer: NodeJS.Timeout
}

/** Every pair of streams is a connection to a port. Resolves when the client is gone. */
async function servePairs(transport: Duplex, connect: Connect): Promise<void> {
  const pairs = new Map<string, Pair>()
  const onStream = (stream: SpdyStream) => {
    const id = requestId(stream)
    const pair = pairs.get(id) ?? {
      timer: setTimeout(() => giveUp(id), STREAM_CREATION_TIMEOUT_MS),
    }
    pairs.set(id, pair)
    pair[stream.headers['streamtype'] as 'data' | 'error'] ??= stream
    if (!pair.data || !pair.error) return
    clearTimeout(pair.timer)
    pairs.delete(id)
    forward(pair.data, pair.error, connect(Number(pair.data.headers['port'])))
  }
  const giveUp = (id: string) => {
    pairs.get(id)?.error?.end('timed out waiting for streams')
    pairs.delete(id)
  }
  const connection = new SpdyConnection(transport, { role: 'server', accept: problemOf, onStream })
  await connection.closed
  for (const { timer } of pairs.values()) clearTimeout(timer)
}

/** Why a stream is refused (`portforward/httpstream.go` httpStreamReceived). */
function problemOf({ headers }: SpdyStream): string | undefined {
  const port = headers['port'] ?? ''
  const type = headers['streamtype'] ?? ''
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) return `port ${port}`
  return type === 'data' || type === 'error' ? undefined : `invalid stream type ${type}`
}

/** Clients before Kubernetes 1.2 name none; their pairs have neighbouring stream ids. */
function requestId({ headers, id }: SpdyStream): string {
  return headers['requestid'] ?? String(headers['streamtype'] === 'error' ? id : id - 2)
}

function forward(data: SpdyStream, error: SpdyStream, connection: Duplex | string): void {
  if (typeof connection === 'string') {
    error.write(connection, () => {
      data.reset()
      error.reset()
    })
    return
  }
  data.once('reset', () => connection.destroy())
  void splice(data, connection).then(() => {
    data.end()
    error.end()
  })
}

/** Two channels for each port: its bytes and its errors, both beginning with the port's number. */
async function serveChannels(context: ResourceContext, connect: Connect): Promise<void> {
  const ports = requirePorts(context.exchange.query)
  const { socket, head, protocol } = switchToWebSocket(context.exchange, WEBSOCKET_PROTOCOLS)
  const channels = new Channels(socket, head, {
    isBase64: protocol.includes('base64'),
    hasCloseSignal: false,
    channels: ports.flatMap(() => [{ reads: true }, { reads: false }]),
  })
  const forwards = ports.map(async (port, index) => {
    const [data, error] = channels.all.slice(2 * index) as unknown as readonly [Duplex, Duplex]
    const number = Buffer.alloc(2)
    number.writeUInt16LE(port)
    data.write(number)
    error.write(number)
    const connection = connect(port)
    if (typeof connection === 'string') error.write(connection)
    else await splice(data, connection)
  })
  await Promise.race([channels.closed, Promise.all(forwards)])
  channels.close()
}

/** @throws PlainRefusal 400 */
function requirePorts(query: URLSearchParams): readonly number[] {
  const ports = query.getAll('ports').flatMap((value) => value.split(','))
  if (ports.length === 0) throw new PlainRefusal(400, 'query parameter "port" is required')
  return ports.map((text) => {
    const port = Number(text)
    if (!/^\d{1,5}$/.test(text) || port > 65_535)
      throw new PlainRefusal(400, `unable to parse ${JSON.stringify(text)} as a port`)
    if (port < 1) throw new PlainRefusal(400, `port ${JSON.stringify(text)} must be > 0`)
    return port
  })
}
