/**
 * Judging tokens of identity providers (PROTOCOL §11.2), the same for every agent and the hub. It knows JOSE,
 * discovery and keys that rotate; nothing of who asks, or what a name may do. Invariant: an answer comes only
 * from claims that the provider has signed for this very device key of this very fleet.
 */

import {
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  errors,
  type JWTPayload,
  jwtVerify,
  type RemoteJWKSet,
} from 'jose'
import { z } from 'zod'
import {
  type PeopleRule,
  type ProvidedIdentity,
  type ProvidedNames,
  personOf,
  workloadOf,
} from '../access/provided-identity.ts'
import { IdentityError, isMcmError, messageOf, UnreachableError } from '../errors.ts'
import { sha256 } from '../protocol/keys.ts'
import { isTokenSalt, tokenBinding, workloadAudience } from '../protocol/token-binding.ts'
import { providerFetch } from './provider-fetch.ts'

/** What an `oidc` statement says, with its number. */
export interface TrustedProvider extends ProvidedNames {
  readonly seq: number
  readonly issuer: string
  readonly caDer?: Buffer | undefined
  /** Seconds. */
  readonly maximumAge: number
  readonly people?: (PeopleRule & { readonly clientId: string }) | undefined
}

/** Whose token it has to be. */
export interface TokenHolder {
  readonly fleet: string
  /** Key id of the device that asks. */
  readonly device: string
  readonly token: string
  readonly salt: string
}

export interface JudgedToken {
  /** Number of the statement. */
  readonly provider: number
  readonly identity: ProvidedIdentity
  readonly tokenHash: string
  readonly tokenTime: Date
  readonly until: Date
}

export interface TokenJudge {
  /**
   * Who holds it, by the first of the providers that it is from.
   * @throws IdentityError MCM_TOKEN_REFUSED, AccessDeniedError MCM_FORBIDDEN, UnreachableError
   */
  judge(providers: Iterable<TrustedProvider>, holder: TokenHolder): Promise<JudgedToken>
}

export interface TokenJudgeOptions {
  now(): Date
  proxyFor(target: URL): string | undefined
  /** How long after its keys were read an unknown key does not make them be read again; 30 s. */
  readonly cooldownMs?: number
}

const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]
const GRACE_SECONDS = 60
const MAX_TOKEN_CHARACTERS = 16_384
const COOLDOWN_MS = 30_000
/** How long discovery is believed: a provider may move its keys. */
const DISCOVERY_MS = 3_600_000

export function tokenJudge(options: TokenJudgeOptions): TokenJudge {
  const keysOf = providerKeys(options)
  return {
    async judge(providers, holder) {
      const claimed = decoded(holder.token)
      const { provider, isPerson } = providerFor([...providers], claimed)
      const binding = bindingOf(holder)
      const expected = isPerson
        ? provider.people!.clientId
        : workloadAudience(holder.fleet, binding)
      // Before anything is fetched: whoever shows another's token costs the provider nothing.
      requireBound(claimed, isPerson, binding, expected)
      const claims = await verified(await keysOf(provider), holder.token, {
        issuer: provider.issuer,
        audience: expected,
        currentDate: options.now(),
      })
      requireBound(claims, isPerson, binding, expected)
      const identity = isPerson ? personOf(provider, claims) : workloadOf(provider, claims)
      const { tokenTime, until } = timesOf(provider, claims, options.now())
      const tokenHash = sha256(holder.token)
      return { provider: provider.seq, identity, tokenHash, tokenTime, until }
    },
  }
}

function decoded(token: string): JWTPayload {
  try {
    if (token.length > MAX_TOKEN_CHARACTERS) throw new Error('it is too long')
    return decodeJwt(token)
  } catch (error) {
    throw refused(messageOf(error))
  }
}

function providerFor(providers: readonly TrustedProvider[], { iss, aud }: JWTPayload) {
  const audiences = [aud ?? []].flat()
  const isPerson = !audiences.some((each) => each.startsWith('mcm:'))
  const provider = providers.find(
    ({ issuer, people, workloads }) =>
      issuer === iss &&
      (isPerson ? people && audiences.includes(people.clientId) : workloads.length > 0),
  )
  if (provider) return { provider, isPerson }
  throw refused(`the fleet takes none of ${String(iss)} for ${audiences.join(', ') || 'nobody'}`)
}

function bindingOf({ fleet, device, salt }: TokenHolder): string {
  if (!isTokenSalt(salt)) throw refused('its salt is damaged')
  return tokenBinding(fleet, device, salt)
}

/** OpenID Connect Core §3.1.3.7 for the audience, and the key that asks. */
function requireBound(claims: JWTPayload, isPerson: boolean, binding: string, expected: string) {
  const audiences = [claims.aud ?? []].flat()
  if (!isPerson && (audiences.length !== 1 || audiences[0] !== expected))
    throw refused('it is for another device')
  if (!isPerson) return
  if (claims['nonce'] === undefined)
    throw refused('it has no nonce, so anybody could use it: log in in a browser')
  if (claims['nonce'] !== binding) throw refused('it is for another device')
  const { azp } = claims as { azp?: unknown }
  if (azp !== undefined ? azp === expected : audiences.length === 1) return
  throw refused('it was given to another client')
}

async function verified(
  keys: RemoteJWKSet,
  token: string,
  expected: { issuer: string; audience: string; currentDate: Date },
): Promise<JWTPayload> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      ...expected,
      algorithms: ALGORITHMS,
      clockTolerance: GRACE_SECONDS,
      requiredClaims: ['sub', 'iat', 'exp'],
    })
    const { typ } = protectedHeader
    if (typ !== undefined && typ.toLowerCase() !== 'jwt') throw new Error(`it is a ${typ}`)
    return payload
  } catch (error) {
    if (isMcmError(error)) throw error
    if (error instanceof errors.JWKSTimeout) throw unreachable('its keys do not come', error)
    if (error instanceof errors.JWKSNoMatchingKey) throw unknownKey(error)
    throw refused(messageOf(error), error)
  }
}

function timesOf({ maximumAge }: TrustedProvider, { iat }: JWTPayload, now: Date) {
  const tokenTime = new Date(iat! * 1000)
  if (tokenTime.getTime() > now.getTime() + GRACE_SECONDS * 1000)
    throw refused('it was made in the future: compare the clocks')
  const until = new Date(tokenTime.getTime() + maximumAge * 1000)
  if (until > now) return { tokenTime, until }
  throw refused(`it is older than ${maximumAge} s`)
}

const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.url({ protocol: /^https$/ }) })

/** The keys of each provider, found by discovery once in an hour; a failure is not remembered. */
function providerKeys({ now, proxyFor, cooldownMs = COOLDOWN_MS }: TokenJudgeOptions) {
  const found = new Map<string, { keys: Promise<RemoteJWKSet>; untilMs: number }>()
  async function discover({ issuer, caDer }: TrustedProvider): Promise<RemoteJWKSet> {
    const fetch = providerFetch({ caDer, proxyFor })
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
    const answer = await fetch(url, { headers: { accept: 'application/json' } })
    const parsed = discoverySchema.safeParse(await answer.json().catch(() => undefined))
    if (answer.status !== 200 || !parsed.success)
      throw unreachable(`${issuer} says nothing of its keys (${answer.status})`)
    if (parsed.data.issuer !== issuer) throw refused(`${issuer} calls itself ${parsed.data.issuer}`)
    return createRemoteJWKSet(new URL(parsed.data.jwks_uri), {
      cooldownDuration: cooldownMs,
      [customFetch]: (target, init) => fetch(target, init),
    })
  }
  return (provider: TrustedProvider): Promise<RemoteJWKSet> => {
    const name = `${provider.seq} ${provider.issuer}`
    const known = found.get(name)
    const nowMs = now().getTime()
    if (known && nowMs < known.untilMs) return known.keys
    const keys = discover(provider)
    const entry = { keys, untilMs: nowMs + DISCOVERY_MS }
    // Statements that were replaced leave theirs behind; there are never many.
    found.set(name, entry)
    keys.catch(() => found.get(name) === entry && found.delete(name))
    return keys
  }
}

function refused(why: string, cause?: unknown): IdentityError {
  return new IdentityError('MCM_TOKEN_REFUSED', `the token is refused: ${why}`, {
    hint: 'log in again: mcm login',
    cause,
  })
}

/** Keys are not read again at once (PROTOCOL §11.2). */
function unknownKey(cause: unknown): IdentityError {
  return new IdentityError('MCM_TOKEN_REFUSED', 'the token is refused: its key is not known', {
    hint: 'if the provider has just changed its keys, try again in half a minute; otherwise log in again: mcm login',
    cause,
  })
}

function unreachable(why: string, cause?: unknown): UnreachableError {
  return new UnreachableError('MCM_PROVIDER_UNREACHABLE', `the identity provider: ${why}`, {
    hint: 'try again in a moment',
    cause,
  })
}
