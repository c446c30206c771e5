import { connectionOptions, type HeaderLine, valuesOf } from './headers.ts'
import { badRequest } from './refusal.ts'

export type UpgradeProtocol = 'websocket' | 'SPDY/3.1'

const PROTOCOLS: ReadonlyMap<string, UpgradeProtocol> = new Map([
  ['websocket', 'websocket'],
  ['spdy/3.1', 'SPDY/3.1'],
])
export const WEBSOCKET_KEY = 'sec-websocket-key'

/**
 * The one protocol a request asks to switch to. It must have no body (kubectl sends
 * `Content-Length: 0`), no second protocol, and for a WebSocket exactly one key. @throws Refusal
 * 400
 */
export function requireUpgrade(method: string, lines: readonly HeaderLine[]): UpgradeProtocol {
  const [token, ...more] = lines.filter(({ key }) => key === 'upgrade')
  const protocol = PROTOCOLS.get(token?.value.trim().toLowerCase() ?? '')
  if (!protocol || more.length > 0)
    throw badRequest('only websocket and SPDY/3.1 can be switched to')
  if (!connectionOptions(lines).has('upgrade')) throw badRequest('Connection does not name Upgrade')
  requireNoBody(lines)
  if (protocol === 'websocket') requireWebSocket(method, lines)
  else if (method !== 'POST' && method !== 'GET') throw badRequest('SPDY/3.1 is asked for by POST')
  return protocol
}

function requireNoBody(lines: readonly HeaderLine[]): void {
  const lengths = lines.filter(({ key }) => key === 'content-length')
  const isEmpty = lengths.length <= 1 && lengths.every(({ value }) => value.trim() === '0')
  if (!isEmpty || lines.some(({ key }) => key === 'transfer-encoding'))
    throw badRequest('a switch of protocols has no body')
}

function requireWebSocket(method: string, lines: readonly HeaderLine[]): void {
  if (method !== 'GET') throw badRequest('a WebSocket is asked for by GET')
  if (valuesOf(lines, WEBSOCKET_KEY).length !== 1)
    throw badRequest('a WebSocket needs exactly one Sec-WebSocket-Key')
}
