import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { noAnswer, SWITCH_TIMEOUT_MS } from './http1-upgrade.ts'
import { cut } from './splice.ts'
import { WEBSOCKET_KEY } from './upgrade-client.ts'
import type { UpgradeAnswer, UpgradeHead } from './upstream.ts'

/**
 * Whether the other side takes extended CONNECTs, as its first SETTINGS will say. Call it before they
 * have come. False when the session ends instead.
 */
export function extendedConnectOffer(session: ClientHttp2Session): Promise<boolean> {
  return new Promise((resolve) => {
    session.once('remoteSettings', (settings) => resolve(settings.enableConnectProtocol === true))
    session.once('close', () => resolve(false))
  })
}

/**
 * Asks for a switch of protocols by an extended CONNECT (RFC 8441, docs/PROTOCOL.md §8). Resets the stream when
 * it throws. @throws Error
 */
export function askHttp2Upgrade(
  session: ClientHttp2Session,
  authority: string,
  head: UpgradeHead,
  signal: AbortSignal,
): Promise<UpgradeAnswer> {
  signal.throwIfAborted()
  const { protocol, target } = head
  const pseudo = [
    ...[':method', 'CONNECT', ':protocol', protocol, ':scheme', 'https'],
    ...[':path', target, ':authority', authority],
  ]
  const stream = session.request([...pseudo, ...withoutKey(head.headers)], { endStream: false })
  return answerOf(stream, signal)
}

function answerOf(stream: ClientHttp2Stream, signal: AbortSignal): Promise<UpgradeAnswer> {
  return new Promise((resolve, reject) => {
    const abandon = () => cut(stream)
    const timer = setTimeout(() => stream.destroy(noAnswer()), SWITCH_TIMEOUT_MS)
    const settle = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abandon)
    }
    signal.addEventListener('abort', abandon, { once: true })
    stream.once('response', (fields, _flags, headers) => {
      settle()
      const status = fields[':status'] ?? 0
      if (status === 200)
        return resolve({ isSwitched: true, headers, socket: stream, early: Buffer.alloc(0) })
      stream.end()
      resolve({ isSwitched: false, status, headers, socket: stream, body: stream })
    })
    // Stays for the whole life of the stream: its close says the rest.
    stream.on('error', reject)
    stream.once('close', () => {
      settle()
      reject(new Error('the stream closed'))
    })
  })
}

/** The key of a WebSocket belongs to one hop (RFC 8441 §5). */
function withoutKey(headers: readonly string[]): string[] {
  return headers.filter((_, index) => {
    const name = headers[index - (index % 2)]!
    return name.length !== WEBSOCKET_KEY.length || name.toLowerCase() !== WEBSOCKET_KEY
  })
}
