/**
 * Answers that go on, over a WebSocket instead of a chunked body: a log (k8s.io/streaming
 * `pkg/httpstream/wsstream/stream.go`) and a watch (apiserver `pkg/endpoints/handlers/watch.go` HandleWS).
 */
import type { AnswerStream, Exchange } from '../exchange.ts'
import { PlainRefusal, switchToWebSocket } from './upgrade.ts'
import { WebSocketConnection } from './websocket.ts'

const BASE64 = 'base64.binary.k8s.io'
const LOG_PROTOCOLS = ['', 'binary.k8s.io', BASE64]

/** As the exchange's own `stream`; bytes as binary messages or in base64, events each as one of text. @throws PlainRefusal */
export function answerStream(
  exchange: Exchange,
  contentType: string,
  kind: 'bytes' | 'events',
): AnswerStream {
  if (exchange.upgrade?.to !== 'websocket') return exchange.stream(contentType)
  return kind === 'bytes' ? streamBytes(exchange) : streamEvents(exchange)
}

/** An empty message tells that it has begun. */
function streamBytes(exchange: Exchange): AnswerStream {
  const { socket, head, protocol } = switchToWebSocket(exchange, LOG_PROTOCOLS)
  const websocket = new WebSocketConnection(socket, { role: 'server', head, onMessage: () => {} })
  const send = (bytes: Buffer) =>
    websocket.send(protocol === BASE64 ? bytes.toString('base64') : bytes)
  send(Buffer.alloc(0))
  return {
    write: (text) => send(Buffer.from(text)),
    drained: () => websocket.drained(),
    end: () => websocket.close(),
  }
}

/** As with the real one, the client must say where it comes from. */
function streamEvents(exchange: Exchange): AnswerStream {
  const isKnown = URL.canParse(exchange.headers.first('origin'))
  if (!isKnown) throw new PlainRefusal(403, '')
  const { socket, head } = switchToWebSocket(exchange, ['', ...protocolsOf(exchange)])
  const websocket = new WebSocketConnection(socket, { role: 'server', head, onMessage: () => {} })
  return {
    write: (text) => websocket.send(text),
    drained: () => websocket.drained(),
    end: () => websocket.close(),
  }
}

/** One is taken whatever it is, several are refused. */
function protocolsOf({ headers }: Exchange): readonly string[] {
  const offered = headers.all('sec-websocket-protocol')
  return offered.length === 1 && !offered[0]!.includes(',') ? offered : []
}
