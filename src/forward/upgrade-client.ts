import { createHash } from 'node:crypto'
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { RawHeaders } from './headers.ts'
import { headOf } from './raw-head.ts'

/**
 * The client's side of a switch of protocols. It is told once, by `switch` or by `answer`; until then nothing
 * is written on its socket.
 */
export interface UpgradeClient {
  /** Paused. After the switch: the bytes of the new protocol. After `answer`: takes the body. */
  readonly socket: Duplex
  /** Bytes that came behind the request. */
  readonly early: Buffer
  /** Protocols are switched; `headers` are end-to-end lines without `Sec-WebSocket-Accept`. */
  switch(protocol: string, headers: readonly string[]): void
  /** Begins an ordinary answer, the last on this socket; its body and its end are written there. */
  answer(status: number, headers: readonly string[]): void
  /** No further request on the connection that it shares with others, if it shares one. */
  endConnection(): void
}

/** RFC 6455 §1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
export const WEBSOCKET_KEY = 'sec-websocket-key'
export const WEBSOCKET_ACCEPT = 'sec-websocket-accept'

/** What the answer to a WebSocket key must say (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key.trim() + WEBSOCKET_GUID)
    .digest('base64')
}

/** The `Sec-WebSocket-Key` in raw header lines. */
export function webSocketKeyOf(headers: RawHeaders): string | undefined {
  const index = headers.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === WEBSOCKET_KEY)
  return index < 0 ? undefined : headers[index + 1]
}

/** A client whose connection the switch uses up. `request`: its raw header lines. */
export function http1UpgradeClient(
  socket: Duplex,
  early: Buffer,
  request: RawHeaders,
): UpgradeClient {
  return {
    socket,
    early,
    switch: (protocol, headers) => {
      const lines = ['connection', 'Upgrade', 'upgrade', protocol]
      const key = protocol === 'websocket' ? webSocketKeyOf(request) : undefined
      if (key !== undefined) lines.push('Sec-WebSocket-Accept', acceptOf(key))
      socket.write(headOf(101, [...lines, ...headers]), 'latin1')
    },
    answer: (status, headers) => {
      socket.write(headOf(status, [...headers, 'connection', 'close']), 'latin1')
    },
    endConnection: () => {},
  }
}

/** A client that asked by an extended CONNECT: the stream is its socket (docs/PROTOCOL.md §8). */
export function http2UpgradeClient(
  stream: ServerHttp2Stream,
  session: ServerHttp2Session,
): UpgradeClient {
  const respond = (status: number, headers: readonly string[]) => {
    if (stream.destroyed || stream.closed) return
    stream.respond([':status', String(status), ...headers], AS_GIVEN)
  }
  return {
    socket: stream,
    early: Buffer.alloc(0),
    switch: (_protocol, headers) => respond(200, headers),
    answer: (status, headers) => {
      respond(status, headers)
      // What it still sends is not wanted (RFC 9113 §8.1).
      stream.once('finish', () => {
        if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR)
      })
    },
    endConnection: () => session.close(),
  }
}

/** No date but the upstream's (an option that @types/node does not know). */
const AS_GIVEN = { sendDate: false } as Parameters<ServerHttp2Stream['respond']>[1]
