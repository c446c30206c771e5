import type { UpgradeExchange } from './exchange.ts'
import { connectionOptions, type HeaderLine, valuesOf } from './headers.ts'
import { badRequest } from './refusal.ts'
import { WEBSOCKET_KEY } from './upgrade-client.ts'

export type UpgradeProtocol = 'websocket' | 'SPDY/3.1'

const PROTOCOLS: ReadonlyMap<string, UpgradeProtocol> = new Map([
  ['websocket', 'websocket'],
  ['spdy/3.1', 'SPDY/3.1'],
])
const METHODS = { websocket: 'GET', 'SPDY/3.1': 'POST' } as const

/** The method that an extended CONNECT stands for; itself when its protocol is none of ours. */
export function methodOfConnect(protocol: string): string {
  const known = PROTOCOLS.get(protocol.toLowerCase())
  return known ? METHODS[known] : 'CONNECT'
}

/**
 * The one protocol a request asks to switch to. It must have no body (kubectl sends
 * `Content-Length: 0`), no second protocol, and a WebSocket over HTTP/1.1 exactly one key. @throws
 * Refusal 400
 */
export function requireUpgrade(
  { method, protocol }: Pick<UpgradeExchange<unknown>, 'method' | 'protocol'>,
  lines: readonly HeaderLine[],
): UpgradeProtocol {
  return protocol === undefined
    ? requireHttp1Upgrade(method, lines)
    : requireExtendedConnect(protocol, lines)
}

function requireHttp1Upgrade(method: string, lines: readonly HeaderLine[]): UpgradeProtocol {
  const [token, ...more] = lines.filter(({ key }) => key === 'upgrade')
  const protocol = requireProtocol(token?.value.trim())
  if (more.length > 0) throw unknownProtocol()
  if (!connectionOptions(lines).has('upgrade')) throw badRequest('Connection does not name Upgrade')
  requireNoBody(lines)
  if (protocol === 'websocket') requireWebSocket(method, lines)
  else if (method !== 'POST' && method !== 'GET') throw badRequest('SPDY/3.1 is asked for by POST')
  return protocol
}

/** RFC 8441 §4 and §5: the key of a WebSocket is not used. */
function requireExtendedConnect(asked: string, lines: readonly HeaderLine[]): UpgradeProtocol {
  const protocol = requireProtocol(asked)
  const extra = lines.find(({ key }) => FOREIGN_TO_CONNECT.has(key))
  if (extra) throw badRequest(`an extended CONNECT has no ${extra.name}`)
  return protocol
}

const FOREIGN_TO_CONNECT: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  WEBSOCKET_KEY,
  'transfer-encoding',
  'upgrade',
])

function requireProtocol(token: string | undefined): UpgradeProtocol {
  const protocol = PROTOCOLS.get(token?.toLowerCase() ?? '')
  if (!protocol) throw unknownProtocol()
  return protocol
}

function unknownProtocol() {
  return badRequest('only websocket and SPDY/3.1 can be switched to')
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
