import {
  logInByBrowser,
  logInByDeviceCode,
  type ProviderClient,
  type ProviderTokens,
  refreshTokens,
} from '../client/provider-login.ts'
import { type JudgedToken, type TrustedProvider, tokenJudge } from '../client/provider-token.ts'
import { unverifiedAudiences } from '../client/token-end.ts'
import type { SigningKey } from '../directory/signing-key.ts'
import type { ProviderRecord } from '../directory/state.ts'
import { AccessDeniedError, IdentityError, UsageError } from '../errors.ts'
import {
  newTokenSalt,
  saltOfKey,
  tokenBinding,
  workloadAudience,
} from '../protocol/token-binding.ts'
import { Secret } from '../secret.ts'
import type { Device } from './device.ts'
import { ID_TOKEN, REFRESH_TOKEN } from './home.ts'

/** Getting a token of an identity provider for this device's key (PROTOCOL §11.2), and judging it as agents will. */

/** Where a token comes from. */
export type TokenSource =
  /** A person, in the browser; by a code where there is none. */
  | { readonly kind: 'person' }
  | { readonly kind: 'device-code' }
  /** The person, but only where a browser can be shown without their having asked for it. */
  | { readonly kind: 'browser' }
  | { readonly kind: 'refresh'; readonly refreshToken: Secret<string>; readonly salt: string }
  /** A program: a command that prints a token for the audience in MCM_AUDIENCE. */
  | CommandSource

/** `isAudienceFixed`: it prints what the CI system has made beforehand, for the audience of the key that stays here. */
export interface CommandSource {
  readonly kind: 'command'
  readonly command: string
  readonly isAudienceFixed?: boolean
}

export interface FreshToken {
  readonly token: Secret<string>
  readonly refreshToken?: Secret<string>
  readonly salt: string
  readonly judged: JudgedToken
}

type Provider = TrustedProvider & Pick<ProviderRecord, 'people'>

/** @throws IdentityError MCM_TOKEN_REFUSED MCM_LOGIN_ENDED, AccessDeniedError, UnreachableError, UsageError */
export async function obtainToken(
  device: Device,
  { fleet, key }: { readonly fleet: string; readonly key: SigningKey },
  provider: Provider,
  source: TokenSource,
): Promise<FreshToken> {
  const salt = saltFor(device, key, source)
  const binding = tokenBinding(fleet, key.id, salt)
  const { idToken: token, refreshToken } =
    source.kind === 'command'
      ? await tokenOfCommand(device, source, workloadAudience(fleet, binding))
      : await tokensOfPerson(device, clientOf(device, provider), source, binding)
  const judge = tokenJudge({
    now: () => device.world.now(),
    proxyFor: (url) => device.proxyFor(url),
  })
  const holder = { fleet, device: key.id, token: token.reveal(), salt }
  const judged = await judge.judge([provider], holder)
  return { token, salt, judged, ...(refreshToken ? { refreshToken } : {}) }
}

function saltFor({ world }: Device, key: SigningKey, source: TokenSource): string {
  if (source.kind === 'refresh') return source.salt
  if (source.kind === 'command' && source.isAudienceFixed) return saltOfKey(key.id)
  return newTokenSalt((count) => world.random(count))
}

/** The tokens go where the keys are, and the old refresh token with the old login. */
export async function keepTokens(device: Device, fresh: FreshToken): Promise<void> {
  await device.secrets.set(ID_TOKEN, fresh.token)
  if (fresh.refreshToken) await device.secrets.set(REFRESH_TOKEN, fresh.refreshToken)
  else await device.secrets.delete(REFRESH_TOKEN)
}

function clientOf(device: Device, { name, issuer, caDer, people }: Provider): ProviderClient {
  if (!people)
    throw new AccessDeniedError('MCM_FORBIDDEN', `provider ${name} lets in programs only`, {
      hint: 'a program logs in with --token-command',
    })
  const { clientId, clientSecret, scopes } = people
  return { issuer, clientId, clientSecret, scopes, caDer, proxyFor: (url) => device.proxyFor(url) }
}

async function tokensOfPerson(
  device: Device,
  client: ProviderClient,
  source: Exclude<TokenSource, { kind: 'command' }>,
  nonce: string,
): Promise<ProviderTokens> {
  const { signal, progress, openBrowser } = device
  if (source.kind === 'refresh') return refreshed(device, client, source.refreshToken)
  if (source.kind !== 'device-code' && openBrowser) {
    return logInByBrowser(client, {
      nonce,
      signal,
      show: async (url) => {
        progress.say(`log in in the browser; if it does not open: ${url.href}`)
        await openBrowser(url)
      },
    })
  }
  if (source.kind === 'browser') throw loginEnded('this machine has no browser to log in with')
  return logInByDeviceCode(client, {
    nonce,
    signal,
    tell: ({ uri, code, complete }) =>
      progress.say(`to log in open ${complete ?? uri} on any device; the code is ${code}`),
  })
}

/**
 * A provider may take the old one back with the answer (RFC 9700 §4.14.2), so the next one is kept before anybody
 * judges the rest: a hub that is away must not cost the login.
 */
async function refreshed(
  { secrets }: Device,
  client: ProviderClient,
  refreshToken: Secret<string>,
): Promise<ProviderTokens> {
  const tokens = await refreshTokens(client, refreshToken)
  if (tokens.refreshToken) await secrets.set(REFRESH_TOKEN, tokens.refreshToken)
  return tokens
}

const MAX_TOKEN_CHARACTERS = 16_384

async function tokenOfCommand(
  { runCommand }: Device,
  { command, isAudienceFixed }: CommandSource,
  audience: string,
): Promise<ProviderTokens> {
  if (!runCommand) throw loginEnded('nothing can be run here to get a token')
  const text = (await runCommand(command, { MCM_AUDIENCE: audience })).trim()
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text) && text.length <= MAX_TOKEN_CHARACTERS) {
    if (isAudienceFixed) requireAudience(unverifiedAudiences(text), audience)
    return { idToken: new Secret(text) }
  }
  throw new UsageError('MCM_USAGE', 'the token command printed no token', {
    hint: 'it has to print one JWT whose only audience is the value of MCM_AUDIENCE',
  })
}

/** Said here, where the audience is known, and not by a hub that would only say no. */
function requireAudience(audiences: readonly string[], wanted: string): void {
  if (audiences.length === 1 && audiences[0] === wanted) return
  throw new UsageError('MCM_USAGE', 'the token is not for the key of this machine', {
    hint: `have the CI system make it for audience ${wanted} and no other, and keep this machine’s key (MCM_HOME)`,
  })
}

/** The login is over, and nobody can be asked from here. */
export function loginEnded(why: string, hint = 'run mcm login'): IdentityError {
  return new IdentityError('MCM_LOGIN_ENDED', `the login of this device has ended: ${why}`, {
    hint,
  })
}
