/**
 * Logging a person in at an identity provider: the authorization code flow with PKCE on a loopback address
 * (RFC 8252, RFC 7636), the device flow (RFC 8628), and refreshing. What comes is text: who holds it, and for
 * which key, is judged where it counts (provider-token.ts).
 */

import type { AddressInfo } from 'node:net'
import {
  authorizationCodeGrant,
  buildAuthorizationUrl,
  ClientSecretPost,
  type Configuration,
  calculatePKCECodeChallenge,
  customFetch,
  type DeviceAuthorizationResponse,
  discovery,
  initiateDeviceAuthorization,
  None,
  pollDeviceAuthorizationGrant,
  randomPKCECodeVerifier,
  randomState,
  refreshTokenGrant,
} from 'openid-client'
import { IdentityError, isMcmError, messageOf, UnreachableError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { waitForRedirect } from './loopback-redirect.ts'
import { type ProviderFetch, type ProviderPlace, providerFetch } from './provider-fetch.ts'

export interface ProviderClient extends ProviderPlace {
  readonly issuer: string
  readonly clientId: string
  /** Where the provider wants one of a program that everybody has; no secret (RFC 8252 §8.5). */
  readonly clientSecret?: string | undefined
  readonly scopes: readonly string[]
}

export interface ProviderTokens {
  readonly idToken: Secret<string>
  /** Where the provider gives one. */
  readonly refreshToken?: Secret<string>
}

export interface CodeFlow {
  /** What the token must carry. */
  readonly nonce: string
  readonly signal: AbortSignal
  /** Shows the provider's page to the person. */
  show(url: URL): Promise<void>
}

export interface DeviceFlow {
  readonly nonce: string
  readonly signal: AbortSignal
  /** How long a person may take, whatever the provider allows; 15 minutes unless told. */
  readonly patienceMs?: number
  /** Tells the person where to type which code; `complete` has it in it already. */
  tell(page: { readonly uri: string; readonly code: string; readonly complete?: string }): void
}

/** How long a person may take, who has the page before them. */
const PATIENCE_MS = 5 * 60_000
/** The same on another machine, whatever the provider allows. */
const DEVICE_PATIENCE_MS = 15 * 60_000

/** @throws IdentityError MCM_TOKEN_REFUSED when the provider or the person says no, UnreachableError */
export async function logInByBrowser(
  client: ProviderClient,
  { nonce, signal, show }: CodeFlow,
): Promise<ProviderTokens> {
  const configuration = await configure(client)
  const state = randomState()
  const verifier = randomPKCECodeVerifier()
  const challenge = await calculatePKCECodeChallenge(verifier)
  const wait = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)])
  return waitForRedirect(state, wait, {
    listening: ({ port }: AddressInfo) =>
      show(
        buildAuthorizationUrl(configuration, {
          redirect_uri: `http://127.0.0.1:${port}/callback`,
          scope: scopeOf(client),
          state,
          nonce,
          code_challenge: challenge,
          code_challenge_method: 'S256',
          ...(client.scopes.includes('offline_access') ? { prompt: 'consent' } : {}),
        }),
      ),
    redirected: (url: URL) =>
      asked(async () => {
        const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce }
        return tokensOf(
          await authorizationCodeGrant(configuration, url, { ...checks, idTokenExpected: true }),
        )
      }),
  }).catch((error: unknown) => {
    if (wait.aborted && !signal.aborted) throw tooLate('in the browser in 5 minutes')
    throw error
  })
}

/** The same for a machine without a browser. @throws as logInByBrowser */
export async function logInByDeviceCode(
  client: ProviderClient,
  { nonce, signal, tell, patienceMs = DEVICE_PATIENCE_MS }: DeviceFlow,
): Promise<ProviderTokens> {
  const configuration = await configure(client)
  const wait = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)])
  return asked(async () => {
    const scope = scopeOf(client)
    const started = await initiateDeviceAuthorization(configuration, { scope, nonce })
    tell(pageOf(started))
    const options = { signal: wait }
    return tokensOf(await pollDeviceAuthorizationGrant(configuration, started, undefined, options))
  }).catch((error: unknown) => {
    if (wait.aborted && !signal.aborted) throw tooLate('with the code in time')
    throw error
  })
}

/** RFC 8628 §3.2: what a person is told to type and to open, and nothing else. */
function pageOf(started: DeviceAuthorizationResponse) {
  const { user_code: code, verification_uri: uri, verification_uri_complete: complete } = started
  if (!/^[\x21-\x7e]([\x20-\x7e]{0,62}[\x21-\x7e])?$/.test(code))
    throw refused('its code cannot be typed')
  return {
    uri: webPage(uri),
    code,
    ...(complete === undefined ? {} : { complete: webPage(complete) }),
  }
}

function webPage(uri: string): string {
  const url = URL.canParse(uri) ? new URL(uri) : undefined
  if (url?.protocol === 'https:') return url.href
  throw refused('the page it sends people to is no https URL')
}

/** New tokens without anybody. @throws as logInByBrowser */
export async function refreshTokens(
  client: ProviderClient,
  refreshToken: Secret<string>,
): Promise<ProviderTokens> {
  const configuration = await configure(client)
  const tokens = await asked(async () =>
    tokensOf(await refreshTokenGrant(configuration, refreshToken.reveal())),
  )
  // A provider that does not rotate them means the one it gave to stay.
  return { refreshToken, ...tokens }
}

async function configure(client: ProviderClient): Promise<Configuration> {
  const { issuer, clientId, clientSecret: secret } = client
  const fetch = providerFetch(client)
  const method = secret === undefined ? 'none' : 'client_secret_post'
  const metadata = { token_endpoint_auth_method: method }
  const authentication = secret === undefined ? None() : ClientSecretPost(secret)
  return asked(() =>
    discovery(new URL(issuer), clientId, metadata, authentication, {
      [customFetch]: adapted(fetch),
    }),
  )
}

function adapted(fetch: ProviderFetch) {
  return (url: string, { method, headers, body, signal }: Parameters<ProviderFetch>[1]) =>
    fetch(url, { method, headers, body, signal })
}

function scopeOf({ scopes }: ProviderClient): string {
  return [...new Set(['openid', ...scopes])].join(' ')
}

function tokensOf(answer: { id_token?: string; refresh_token?: string }): ProviderTokens {
  const { id_token: idToken, refresh_token: refreshToken } = answer
  if (idToken === undefined) throw refused('it gave no ID token')
  return {
    idToken: new Secret(idToken),
    ...(refreshToken === undefined ? {} : { refreshToken: new Secret(refreshToken) }),
  }
}

/** What the library throws has no family of ours; what our own `fetch` threw below it has. */
async function asked<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    if (isMcmError(error)) throw error
    if (isMcmError(cause)) throw cause
    if (error instanceof Error && error.name === 'AbortError') throw error
    throw refused(describe(error), error)
  }
}

/** An OAuth error (RFC 6749 §5.2) in the provider's own words. */
function describe(error: unknown): string {
  const { error: code, error_description: text } = error as Record<string, unknown>
  const own = [code, text].filter((each) => typeof each === 'string').join(': ')
  return (own || messageOf(error)).replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, ' ').slice(0, 300)
}

function refused(why: string, cause?: unknown): IdentityError {
  return new IdentityError('MCM_TOKEN_REFUSED', `the identity provider says no: ${why}`, {
    hint: 'log in again: mcm login; if it stays so, ask an administrator',
    cause,
  })
}

function tooLate(where: string): UnreachableError {
  return new UnreachableError('MCM_TIMEOUT', `nobody has logged in ${where}`, {
    hint: 'try again; on a machine without a browser: mcm login --device-code',
  })
}
