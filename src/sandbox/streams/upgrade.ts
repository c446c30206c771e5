/**
 * Switches of protocols: what a request asks for, and the handshakes of golang.org/x/net/websocket and of
 * k8s.io/streaming `pkg/httpstream`, whose refusals are bare text and no Status.
 */
import type { Duplex } from 'node:stream'
import type { Headers } from '../headers.ts'
import { acceptOf } from './websocket.ts'

/** The connection under a request that asks to switch protocols. */
export interface Upgrade {
  /** `other` is asked for and not known here. */
  readonly to: 'websocket' | 'spdy' | 'other'
  /** Answers 101 with these headers; from then on the bytes are the caller's. */
  switch(headers: Readonly<Record<string, string>>): Switched
  /** Resolves when that has happened. */
  readonly switched: Promise<void>
  readonly hasSwitched: boolean
}

/** What a handshake looks at. */
export interface UpgradeRequest {
  readonly method: string
  readonly headers: Headers
  readonly upgrade: Upgrade | undefined
}

export interface Switched {
  readonly socket: Duplex
  /** What came behind the request. */
  readonly head: Buffer
}

/** Thrown in place of a Status where the real server answers with text alone. */
export class PlainRefusal extends Error {
  readonly code: number

  constructor(code: number, text: string) {
    super(text)
    this.name = 'PlainRefusal'
    this.code = code
  }
}

/** What a request's headers ask to switch to; undefined without `Connection: Upgrade`. */
export function askedUpgrade(headers: Headers): Upgrade['to'] | undefined {
  const isAsked = headers.all('connection').some((value) => /upgrade/i.test(value))
  if (!isAsked) return undefined
  const wanted = headers.first('upgrade').toLowerCase()
  if (wanted === 'websocket') return 'websocket'
  return wanted.includes('spdy/3.1') ? 'spdy' : 'other'
}

export const SPDY_HANDSHAKE = { Connection: 'Upgrade', Upgrade: 'SPDY/3.1' } as const

/**
 * The first of the client's stream protocols that is known here.
 * @throws PlainRefusal 400, 403
 */
export function negotiateSpdy(
  headers: Headers,
  known: readonly string[],
  asked: readonly string[] = headers.all('x-stream-protocol-version'),
): string {
  const name = 'X-Stream-Protocol-Version'
  const wanted = asked.flatMap(commaSeparated)
  if (wanted.length === 0)
    throw new PlainRefusal(400, `unable to upgrade: header ${name} does not exist in request`)
  const chosen = wanted.find((protocol) => known.includes(protocol))
  if (chosen !== undefined) return chosen
  const lists = `client supports [${wanted.join(' ')}], server accepts [${known.join(' ')}]`
  throw new PlainRefusal(403, `unable to upgrade: unable to negotiate protocol: ${lists}`)
}

/** The subprotocols a WebSocket request offers, in its order. */
export function offeredProtocols(headers: Headers): readonly string[] {
  return headers.all('sec-websocket-protocol').flatMap(commaSeparated)
}

/**
 * Switches to a WebSocket.
 * @param known subprotocols in use here; '' stands for none at all
 * @throws PlainRefusal 400, 403, 405
 */
export function switchToWebSocket(
  { headers, method, upgrade }: UpgradeRequest,
  known: readonly string[],
): Switched & { readonly protocol: string } {
  const key = headers.first('sec-websocket-key')
  if (method !== 'GET') throw new PlainRefusal(405, 'bad method')
  if (key === '') throw new PlainRefusal(400, 'mismatch challenge/response')
  if (headers.first('sec-websocket-version') !== '13')
    throw new PlainRefusal(400, 'missing or bad WebSocket Version')
  const offered = offeredProtocols(headers)
  const protocol = (offered.length === 0 ? [''] : offered).find((one) => known.includes(one))
  if (protocol === undefined || !upgrade) throw new PlainRefusal(403, '')
  const switched = upgrade.switch({
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Accept': acceptOf(key),
    ...(protocol && { 'Sec-WebSocket-Protocol': protocol }),
  })
  return { ...switched, protocol }
}

function commaSeparated(value: string): string[] {
  return value
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')
}
