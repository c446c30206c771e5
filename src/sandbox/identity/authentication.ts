/**
 * Who sent a request: a bearer token, or nobody. As with an AuthenticationConfiguration whose `anonymous`
 * names four paths: without a token only those are served, to `system:anonymous`.
 */
import { timingSafeEqual } from 'node:crypto'
import type { Headers } from '../headers.ts'
import { unauthorized } from '../refusals.ts'
import { readToken, type TokenDeps } from './service-account-tokens.ts'
import { ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED, type UserInfo } from './user.ts'

const ANONYMOUS_PATHS = new Set(['/version', '/version/', '/healthz', '/livez', '/readyz'])

/** Who holds the admin token. */
export const ADMIN: UserInfo = { name: 'sandbox-admin', groups: [MASTERS], extra: new Map() }

export interface AuthenticationDeps extends TokenDeps {
  readonly adminToken: string
}

/** @throws Refusal 401 no token where one is needed, or one that does not hold */
export function authenticate(deps: AuthenticationDeps, headers: Headers, path: string): UserInfo {
  const authorization = headers.first('authorization').trim()
  if (authorization === '') return anonymous(path)
  const [scheme = '', token = ''] = authorization.split(/\s+/, 2)
  if (scheme.toLowerCase() !== 'bearer' || token === '') throw unauthorized()
  const user = userOfToken(deps, token)
  if (!user) throw unauthorized()
  return user
}

/** The user of a bearer token, undefined when it does not hold. */
export function userOfToken(
  deps: AuthenticationDeps,
  token: string,
  audience?: string,
): UserInfo | undefined {
  const user = isSame(token, deps.adminToken) ? ADMIN : readToken(deps, token, audience)
  return user && { ...user, groups: [...user.groups, AUTHENTICATED] }
}

function anonymous(path: string): UserInfo {
  if (!ANONYMOUS_PATHS.has(path)) throw unauthorized()
  return { name: ANONYMOUS, groups: [UNAUTHENTICATED], extra: new Map() }
}

function isSame(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}
