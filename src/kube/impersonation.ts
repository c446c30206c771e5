/**
 * Impersonation headers (apiserver `pkg/endpoints/filters/impersonation`): reading a client's and
 * writing ours. It knows spelling, not rights. Invariant: what is written holds exactly one
 * non-empty `Impersonate-User`, because without it the API server runs the request as our own
 * service account.
 */

import { AccessDeniedError, UsageError } from '../errors.ts'
import { decodePercent, encodeToken } from './percent.ts'
import { isReservedName } from './reserved-name.ts'

export const IMPERSONATE_USER = 'Impersonate-User'
export const IMPERSONATE_GROUP = 'Impersonate-Group'
export const IMPERSONATE_UID = 'Impersonate-Uid'
export const IMPERSONATE_EXTRA_PREFIX = 'Impersonate-Extra-'

/** Extras under this domain are the agent's to set; no client may. */
export const RESERVED_EXTRA_DOMAIN = 'mcm.dev/'

/** A header line as it stands on the wire: name in any case, value as bytes (latin1). */
export type HeaderPair = readonly [name: string, value: string]

/** Whom a request shall run as. Extra keys are lower case. */
export interface Impersonation {
  readonly user: string
  readonly groups: readonly string[]
  readonly uid?: string
  readonly extras?: ReadonlyMap<string, readonly string[]>
}

/** What a client asked for (`kubectl --as`, `--as-group`, …), in order; not judged yet. */
export interface ImpersonationRequest {
  readonly user?: string
  readonly groups: readonly string[]
  readonly uid?: string
  readonly extras: ReadonlyMap<string, readonly string[]>
  /** The header names as they were sent, for the audit and the sentence of a refusal. */
  readonly headerNames: readonly string[]
}

/** Whether a header speaks of impersonation, in any spelling and however it goes on (`Impersonate_User`). */
export function isImpersonationHeader(name: string): boolean {
  return /^impersonate/i.test(name)
}

/**
 * Reads the impersonation headers of a client, undefined when there are none.
 * @param headers raw pairs, every line by itself; never Node's merged view
 * @throws AccessDeniedError MCM_IMPERSONATION_REFUSED an unknown or misspelt header, a second or empty user or
 *   uid, an empty group, a `system:`/`kube:` name, an extra of ours
 * @throws UsageError MCM_BAD_REQUEST a value that is no UTF-8
 */
export function parseImpersonation(
  headers: Iterable<HeaderPair>,
): ImpersonationRequest | undefined {
  const lines = Array.from(headers).filter(([name]) => isImpersonationHeader(name))
  if (lines.length === 0) return undefined
  const request: Draft = { groups: [], extras: new Map(), headerNames: lines.map(([n]) => n) }
  for (const [name, value] of lines) addLine(request, name, decodeValue(name, value))
  return request
}

/**
 * What a request asks for, where it could be done at all: with a user.
 * @throws UsageError MCM_BAD_REQUEST groups, a uid or extras without a user, as the API server would
 */
export function requireUser(request: ImpersonationRequest): Impersonation {
  const { user, groups, uid, extras } = request
  if (user !== undefined)
    return {
      user,
      groups,
      ...(uid === undefined ? {} : { uid }),
      ...(extras.size > 0 ? { extras } : {}),
    }
  const asked = groups.length > 0 ? 'groups were' : uid === undefined ? 'extras were' : 'a uid was'
  throw new UsageError('MCM_BAD_REQUEST', `${asked} requested without impersonating a user`, {
    hint: 'add --as USER',
  })
}

/** Whether two impersonations name the same user and the same set of groups. */
export function isSameUserAndGroups(left: Impersonation, right: Impersonation): boolean {
  const groups = new Set(left.groups)
  const others = new Set(right.groups)
  const isSameSet = groups.size === others.size && right.groups.every((group) => groups.has(group))
  return left.user === right.user && isSameSet
}

/**
 * Our own header lines: the user, one line per group, extras with percent-encoded keys; values as the
 * latin1 reading of their UTF-8 bytes, which is what Node puts on the wire unchanged.
 * @throws Error (a bug, so 500) a name that is empty, has white space around it or a control character
 */
export function impersonationHeaders(impersonation: Impersonation): HeaderPair[] {
  const { user, groups, uid, extras = new Map<string, readonly string[]>() } = impersonation
  const lines: [string, string][] = [[IMPERSONATE_USER, user]]
  for (const group of groups) lines.push([IMPERSONATE_GROUP, group])
  if (uid !== undefined) lines.push([IMPERSONATE_UID, uid])
  for (const [key, values] of extras) {
    const name = IMPERSONATE_EXTRA_PREFIX + encodeToken(key.toLowerCase())
    for (const value of values) lines.push([name, value])
  }
  return lines.map(([name, value]) => [name, encodeValue(name, value)])
}

interface Draft {
  user?: string
  groups: string[]
  uid?: string
  extras: Map<string, string[]>
  headerNames: string[]
}

function addLine(request: Draft, name: string, value: string): void {
  const spelling = name.toLowerCase()
  if (spelling === 'impersonate-user') request.user = onlyOne(name, request.user, value)
  else if (spelling === 'impersonate-group') request.groups.push(requireName(name, value))
  else if (spelling === 'impersonate-uid') request.uid = onlyOne(name, request.uid, value)
  else if (spelling.startsWith('impersonate-extra-')) addExtra(request.extras, name, value)
  else throw refused(name, 'it is no impersonation header that mcm knows')
}

function onlyOne(header: string, present: string | undefined, value: string): string {
  if (present !== undefined) throw refused(header, 'it was sent twice')
  return requireName(header, value)
}

function requireName(header: string, value: string): string {
  if (value.trim() === '') throw refused(header, 'it is empty')
  if (isReservedName(value)) throw refused(header, `${JSON.stringify(value)} is Kubernetes' own`)
  return value
}

function addExtra(extras: Map<string, string[]>, header: string, value: string): void {
  const encodedKey = header.slice(IMPERSONATE_EXTRA_PREFIX.length).toLowerCase()
  const key = decodePercent(encodedKey) ?? encodedKey
  if (key === '') throw refused(header, 'it names no extra')
  if (key.toLowerCase().startsWith(RESERVED_EXTRA_DOMAIN))
    throw refused(header, 'extras of mcm.dev are set by the agent alone')
  extras.set(key, [...(extras.get(key) ?? []), requireName(header, value)])
}

function refused(header: string, why: string): AccessDeniedError {
  const shown = JSON.stringify(header)
  return new AccessDeniedError('MCM_IMPERSONATION_REFUSED', `header ${shown} is refused: ${why}`, {
    hint: 'run kubectl without --as, or as a user and groups that were granted on this cluster',
  })
}

function decodeValue(header: string, value: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(value, 'latin1'))
  } catch (cause) {
    const problem = `header ${JSON.stringify(header)} has a value that is no UTF-8`
    throw new UsageError('MCM_BAD_REQUEST', problem, { cause })
  }
}

function encodeValue(header: string, value: string): string {
  if (typeof value !== 'string' || value === '' || value !== value.trim() || hasControl(value))
    throw new Error(`${header} would not arrive as it is meant: ${JSON.stringify(value)}`)
  return Buffer.from(value, 'utf8').toString('latin1')
}

function hasControl(value: string): boolean {
  return /[\u0000-\u001f\u007f]/.test(value)
}
