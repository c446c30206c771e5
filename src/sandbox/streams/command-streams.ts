/**
 * The streams of one exec or attach, over WebSocket channels or SPDY (kubernetes apiserver `pkg/util/proxy/websocket.go`,
 * k8s.io/cri-streaming `pkg/streaming/remotecommand/httpstream.go`, `websocket.go`).
 */
import type { Duplex, Readable, Writable } from 'node:stream'
import type { Exchange } from '../exchange.ts'
import { Channels } from './channels.ts'
import { SpdyConnection, type SpdyStream } from './spdy.ts'
import { negotiateSpdy, offeredProtocols, SPDY_HANDSHAKE, switchToWebSocket } from './upgrade.ts'

/** Which streams the query asks for. */
export interface CommandOptions {
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
  readonly tty: boolean
}

export interface CommandStreams {
  readonly stdin?: Readable
  readonly stdout?: Writable
  readonly stderr?: Writable
  readonly resize?: Readable
  /** Resolves when the client is gone. */
  readonly closed: Promise<void>
  /** Says how it ended, on the error stream, and closes. */
  finish(status: ExitStatus): void
}

/** A metav1.Status as it is sent on the error stream. */
export type ExitStatus =
  | { readonly status: 'Success' }
  | {
      readonly status: 'Failure'
      readonly message: string
      readonly reason: string
      readonly details: { readonly causes: readonly Readonly<Record<string, string>>[] }
      readonly code?: number
    }

export const V5 = 'v5.channel.k8s.io'
const SPDY_PROTOCOLS = ['v4', 'v3', 'v2'].map((version) => `${version}.channel.k8s.io`)
const OLD_WEBSOCKET_PROTOCOLS = [
  '',
  'channel.k8s.io',
  'base64.channel.k8s.io',
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
]
const STREAM_CREATION_TIMEOUT_MS = 30_000

/** Switches protocols as the client asks. @throws PlainRefusal */
export function openCommandStreams(
  exchange: Exchange,
  options: CommandOptions,
): Promise<CommandStreams | undefined> {
  if (exchange.upgrade?.to === 'websocket')
    return Promise.resolve(openWebSocketStreams(exchange, options))
  return openSpdyStreams(exchange, options)
}

function openWebSocketStreams(exchange: Exchange, options: CommandOptions): CommandStreams {
  const isV5 = offeredProtocols(exchange.headers).includes(V5)
  const known = isV5 ? [V5] : OLD_WEBSOCKET_PROTOCOLS
  const { socket, head, protocol } = switchToWebSocket(exchange, known)
  const channels = new Channels(socket, head, {
    isBase64: protocol.includes('base64'),
    hasCloseSignal: isV5,
    channels: [options.stdin, false, false, false, true].map((reads) => ({ reads })),
  })
  const [stdin, stdout, stderr, error, resize] = channels.all as unknown as readonly [
    Duplex,
    Duplex,
    Duplex,
    Duplex,
    Duplex,
  ]
  // Tells the client that the connection stands.
  const first = options.stdout ? 1 : options.stderr ? 2 : 3
  void channels.send(first, Buffer.alloc(0))
  return {
    ...(options.stdin && { stdin }),
    ...(options.stdout && { stdout }),
    ...(options.stderr && { stderr }),
    resize,
    closed: channels.closed,
    finish: (status) => {
      const text = isV5 || protocol.startsWith('v4.') ? statusJson(status) : plainText(status)
      error.write(text, () => channels.close())
    },
  }
}

/** @returns undefined when the client went away, or did not open its streams in time */
async function openSpdyStreams(
  exchange: Exchange,
  options: CommandOptions,
): Promise<CommandStreams | undefined> {
  const protocol = negotiateSpdy(exchange.headers, SPDY_PROTOCOLS)
  const { socket, head } = exchange.upgrade!.switch({
    ...SPDY_HANDSHAKE,
    'X-Stream-Protocol-Version': protocol,
  })
  if (head.length > 0) socket.unshift(head)
  const canResize = protocol !== 'v2.channel.k8s.io'
  const streams = await receiveStreams(socket, wantedStreams(options, canResize))
  if (!streams) return undefined
  const { connection, byType } = streams
  const writesJson = protocol === 'v4.channel.k8s.io'
  return {
    ...(byType.stdin && { stdin: byType.stdin }),
    ...(byType.stdout && { stdout: byType.stdout }),
    ...(byType.stderr && { stderr: byType.stderr }),
    ...(byType.resize && { resize: byType.resize }),
    closed: connection.closed,
    finish: (status) => {
      const text = writesJson ? statusJson(status) : plainText(status)
      byType.error!.write(text, () => connection.close())
    },
  }
}

type StreamType = 'error' | 'stdin' | 'stdout' | 'stderr' | 'resize'

function wantedStreams(options: CommandOptions, canResize: boolean): ReadonlySet<StreamType> {
  const wanted: readonly (readonly [StreamType, boolean])[] = [
    ['error', true],
    ['stdin', options.stdin],
    ['stdout', options.stdout],
    ['stderr', options.stderr],
    ['resize', options.tty && canResize],
  ]
  return new Set(wanted.filter(([, is]) => is).map(([type]) => type))
}

interface ReceivedStreams {
  readonly connection: SpdyConnection
  readonly byType: Partial<Record<StreamType, SpdyStream>>
}

/** Waits until every wanted stream was opened. */
function receiveStreams(
  socket: Duplex,
  wanted: ReadonlySet<StreamType>,
): Promise<ReceivedStreams | undefined> {
  return new Promise((resolve) => {
    const byType: Partial<Record<StreamType, SpdyStream>> = {}
    const onStream = (stream: SpdyStream) => {
      const type = stream.headers['streamtype'] as StreamType
      if (!wanted.has(type) || byType[type]) return
      byType[type] = stream
      if (Object.keys(byType).length === wanted.size) settle({ connection, byType })
    }
    const connection = new SpdyConnection(socket, { role: 'server', onStream })
    const timer = setTimeout(() => {
      connection.close()
      settle(undefined)
    }, STREAM_CREATION_TIMEOUT_MS)
    const settle = (received: ReceivedStreams | undefined) => {
      clearTimeout(timer)
      resolve(received)
    }
    void connection.closed.then(() => settle(undefined))
  })
}

function statusJson(status: ExitStatus): string {
  return JSON.stringify({ metadata: {}, ...status })
}

/** Before v4 the error stream holds a sentence, and nothing when all went well. */
function plainText(status: ExitStatus): string {
  return status.status === 'Success' ? '' : status.message
}
