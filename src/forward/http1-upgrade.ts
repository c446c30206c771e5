import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { valuesOf } from './headers.ts'
import { answerLines } from './response.ts'
import { acceptOf, WEBSOCKET_ACCEPT, webSocketKeyOf } from './upgrade-client.ts'
import { type UpgradeAnswer, type UpgradeHead, UpstreamProtocolError } from './upstream.ts'

export const SWITCH_TIMEOUT_MS = 60_000

/**
 * Asks for a switch of protocols on a connection of its own, by `Upgrade` of HTTP/1.1. A 101 that does not fit
 * the request is no answer. Destroys the socket when it throws.
 * @throws UpstreamProtocolError, Error
 */
export async function askHttp1Upgrade(
  socket: Duplex,
  host: string,
  head: UpgradeHead,
  signal: AbortSignal,
): Promise<UpgradeAnswer> {
  // What this socket reports is seen again as the failure of the request or as its close.
  socket.on('error', () => {})
  try {
    const { message, early } = await ask(socket, host, head, signal)
    const headers = message.rawHeaders
    const { statusCode: status = 0 } = message
    if (early === undefined) return { isSwitched: false, status, headers, socket, body: message }
    requireSwitch(message, head)
    return { isSwitched: true, headers, socket, early }
  } catch (error) {
    socket.destroy()
    throw error
  }
}

interface Answer {
  readonly message: IncomingMessage
  /** Bytes behind a 101; undefined for any other answer. */
  readonly early: Buffer | undefined
}

/** Node's client reads the answer's head: it is as strict as the server's parser. */
function ask(
  socket: Duplex,
  host: string,
  head: UpgradeHead,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request: ClientRequest = httpRequest({
      createConnection: () => socket,
      method: head.method,
      path: head.target,
      headers: ['Host', host, ...switchHeaders(head)],
      setDefaultHeaders: false,
      signal,
    })
    const timer = setTimeout(() => request.destroy(noAnswer()), SWITCH_TIMEOUT_MS)
    const settle = (answer: Answer) => {
      clearTimeout(timer)
      resolve(answer)
    }
    request.once('upgrade', (message, _socket, early) => settle({ message, early }))
    request.once('response', (message) => settle({ message, early: undefined }))
    request.on('information', ({ statusCode }) => {
      if (statusCode === 101) request.destroy(new UpstreamProtocolError('a 101 without Upgrade'))
    })
    request.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    request.end()
  })
}

function switchHeaders({ headers, method, protocol }: UpgradeHead): string[] {
  const framing = method === 'POST' ? ['Content-Length', '0'] : []
  return [...headers, 'Connection', 'Upgrade', 'Upgrade', protocol, ...framing]
}

/** RFC 9110 §7.8, RFC 6455 §4.1: the 101 must be the answer to this very request. */
function requireSwitch(message: IncomingMessage, head: UpgradeHead): void {
  const lines = answerLines(message.rawHeaders)
  const [upgrade, ...more] = valuesOf(lines, 'upgrade')
  const isAsked = upgrade?.toLowerCase() === head.protocol.toLowerCase() && more.length === 0
  if (message.statusCode !== 101 || !isAsked)
    throw new UpstreamProtocolError('switched to another protocol')
  if (head.protocol !== 'websocket') return
  const [accept, ...others] = valuesOf(lines, WEBSOCKET_ACCEPT)
  const key = webSocketKeyOf(head.headers)
  if (key === undefined || accept !== acceptOf(key) || others.length > 0)
    throw new UpstreamProtocolError('accepted another WebSocket')
}

/** As Node and undici say it, so that the client hears 504. */
export function noAnswer(): Error {
  const message = `no answer within ${SWITCH_TIMEOUT_MS} ms`
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' })
}
