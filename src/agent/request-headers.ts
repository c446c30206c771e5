/**
 * The headers of a request to the API server: an allow-list of the client's, then ours. One parsed
 * list is filtered and sent. Nothing that says who somebody is survives, in any spelling; what is
 * not known is left out.
 */

import {
  type HeaderLine,
  readHeaderLines,
  toRawHeaders,
  valuesOf,
  withoutHopByHop,
} from '../forward/headers.ts'
import { badRequest, Refusal } from '../forward/refusal.ts'
import { type Impersonation, impersonationHeaders } from '../kube/impersonation.ts'
import { failureStatus } from '../kube/status.ts'

/** What clients of Kubernetes say that the API server shall hear, in lower case. */
const ALLOWED: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-encoding',
  'content-language',
  'content-length',
  'content-type',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'kubectl-command',
  'kubectl-session',
  'pragma',
  'prefer',
  'range',
  'traceparent',
  'tracestate',
  'user-agent',
])

/** Only on a switch of protocols. */
const ALLOWED_ON_UPGRADE: ReadonlySet<string> = new Set([
  'origin',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-protocol',
  'sec-websocket-version',
  'x-stream-protocol-version',
])

/**
 * Never, not even towards a workload behind a `proxy` subresource; `key` has `_` read as `-`. The
 * API server takes its own meaning from them, or passes them on.
 */
const DENIED: ReadonlySet<string> = new Set([
  'audit-id',
  'authorization',
  'client-ip',
  'cookie',
  'expect',
  'forwarded',
  'host',
  'mcm-forwarded-for',
  'proxy-authorization',
  'true-client-ip',
  'via',
  'x-client-ip',
  'x-kubernetes-peer-proxied',
  'x-real-ip',
])
const DENIED_PREFIXES = [
  'impersonate',
  'x-remote-',
  'x-auth-',
  'x-forwarded',
  'x-original-',
  'sec-',
]

export interface RequestFacts {
  readonly lines: readonly HeaderLine[]
  readonly impersonation: Impersonation
  readonly auditId: string
  /** The client's address as the hub told it. */
  readonly clientAddress: string | undefined
  readonly isUpgrade: boolean
  /** A `proxy` subresource: a workload is behind it, whose own headers nobody can list. */
  readonly isProxied: boolean
}

/**
 * The final lines, raw, without credentials. Ours come last, after everything of the client's was
 * judged.
 */
export function outgoingHeaders(facts: RequestFacts): string[] {
  const kept = withoutHopByHop(facts.lines).filter((line) => isAllowed(line, facts))
  const raw = toRawHeaders(kept)
  raw.push('Audit-ID', facts.auditId)
  if (facts.clientAddress !== undefined) raw.push('X-Forwarded-For', facts.clientAddress)
  for (const [name, value] of impersonationHeaders(facts.impersonation)) raw.push(name, value)
  return raw
}

function isAllowed({ name, key }: HeaderLine, facts: RequestFacts): boolean {
  const lower = name.toLowerCase()
  if (facts.isUpgrade && ALLOWED_ON_UPGRADE.has(lower)) return true
  if (DENIED.has(key) || DENIED_PREFIXES.some((prefix) => key.startsWith(prefix))) return false
  if (facts.isUpgrade && lower === 'content-length') return false
  if (ALLOWED.has(lower)) return true
  // `Content_Length` is a length to some workloads, and was none to us.
  return facts.isProxied && !ALLOWED.has(key)
}

/** The lines of a request whose form is right. @throws Refusal 400, 431 */
export function requireLines(raw: readonly string[], httpVersion: string): HeaderLine[] {
  if (httpVersion === '1.0') throw badRequest('HTTP/1.0 is not spoken here')
  const lines = readHeaderLines(raw)
  requireFraming(lines)
  return lines
}

/**
 * The one host this connection is for, in `Host` or `:authority`.
 * @throws Refusal 400 none or several, 421 another (RFC 9110 §15.5.20)
 */
export function requireHost(
  lines: readonly HeaderLine[],
  authority: string | undefined,
  expected: string,
): void {
  const hosts = lines.filter(({ key }) => key === 'host').map(({ value }) => value)
  if (authority !== undefined) hosts.push(authority)
  if (hosts.length === 0) throw badRequest('it names no host')
  if (hosts.length > (authority === undefined ? 1 : 2)) throw badRequest('it names several hosts')
  if (hosts.every((host) => isSameHost(host, expected))) return
  throw new Refusal(
    failureStatus(421, 'BadRequest', `mcm: this connection is for ${expected} only`),
    true,
  )
}

/**
 * A credential in the place of a subprotocol (apiserver `websocket/protocol.go`) would be tried by
 * the API server.
 */
export function requireNoBearerProtocol(lines: readonly HeaderLine[]): void {
  const isCredential = lines.some(
    ({ key, value }) =>
      key === 'sec-websocket-protocol' && /base64url\.bearer\.authorization/i.test(value),
  )
  if (isCredential) throw badRequest('a bearer token as WebSocket protocol is not accepted')
}

/**
 * Of the body, as the client told it. @throws Refusal 400 more than one length, or one that is no
 * number
 */
export function contentLengthOf(lines: readonly HeaderLine[]): number | undefined {
  const [length, ...more] = valuesOf(lines, 'content-length')
  if (length === undefined) return undefined
  if (more.length > 0 || !/^\d{1,15}$/.test(length)) throw badRequest('its length is not clear')
  return Number(length)
}

/** Node has refused what is ambiguous; `gzip, chunked` is left, which would be sent on as plain. */
function requireFraming(lines: readonly HeaderLine[]): void {
  const codings = lines.filter(({ key }) => key === 'transfer-encoding')
  const isPlain = codings.every(
    ({ name, value }) => !name.includes('_') && /^chunked$/i.test(value),
  )
  if (codings.length > 1 || !isPlain) throw badRequest('its transfer coding is not plain chunked')
  if (codings.length > 0 && contentLengthOf(lines) !== undefined)
    throw badRequest('it has a length and a transfer coding')
}

function isSameHost(host: string, expected: string): boolean {
  const lower = host.toLowerCase()
  return lower === expected || lower === `${expected}:443`
}
