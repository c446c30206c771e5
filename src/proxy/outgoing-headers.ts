import type { HeaderLine } from '../forward/headers.ts'
import { toRawHeaders, valuesOf, withoutHopByHop } from '../forward/headers.ts'
import { badRequest } from '../forward/refusal.ts'
import { impersonationHeaders, isImpersonationHeader } from '../kube/impersonation.ts'
import type { Credential } from './cluster.ts'

/** What leaves for the agent in place of a client's own header lines. */

/** Framing is made anew; credentials and browser state of this machine stay on it. */
const LEFT_BEHIND: ReadonlySet<string> = new Set([
  'authorization',
  'content-length',
  'cookie',
  'cookie2',
  'expect',
  'forwarded',
  'host',
  'sec-fetch-mode',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
])

/** apiserver `pkg/authentication/request/websocket/protocol.go`: a bearer token among the subprotocols. */
const TOKEN_SUBPROTOCOL = 'base64url.bearer.authorization.k8s.io.'

/**
 * The end-to-end lines of a request, raw. Impersonation headers stay whatever `Connection` says of them: one that is
 * dropped would give the caller more power than they asked for.
 * @throws Refusal 400 for a token among the WebSocket subprotocols
 */
export function outgoingHeaders(lines: readonly HeaderLine[]): string[] {
  refuseTokenSubprotocol(lines)
  const impersonating = lines.filter(({ name }) => isImpersonationHeader(name))
  const others = lines.filter(({ name }) => !isImpersonationHeader(name))
  const kept = withoutHopByHop(others).filter(({ key }) => !LEFT_BEHIND.has(key))
  return toRawHeaders([...kept, ...impersonating])
}

/**
 * The lines with our identity on them, unless the client asks for another itself (`kubectl --as`): then its own stay
 * as they are, and the agent decides.
 */
export function withIdentity(headers: readonly string[], credential: Credential): string[] {
  const isName = (index: number) => index % 2 === 0
  if (headers.some((text, index) => isName(index) && isImpersonationHeader(text)))
    return [...headers]
  return [...headers, ...impersonationHeaders(credential).flat()]
}

/** The length of the body, when the client told it. */
export function contentLength(lines: readonly HeaderLine[]): number | undefined {
  const [value, ...more] = valuesOf(lines, 'content-length')
  if (value === undefined) return undefined
  if (more.length > 0 || !/^\d{1,15}$/.test(value))
    throw badRequest('its Content-Length is not a number')
  return Number(value)
}

function refuseTokenSubprotocol(lines: readonly HeaderLine[]): void {
  for (const { key, value } of lines)
    if (key === 'sec-websocket-protocol' && value.toLowerCase().includes(TOKEN_SUBPROTOCOL))
      throw badRequest('it carries a token as WebSocket subprotocol')
}
