import { AGENT_NAMESPACE } from '../access/agent-rights.ts'
import { IMPERSONATOR_NAME } from '../access/impersonator.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { messageOf, UnreachableError } from '../errors.ts'
import { Secret } from '../secret.ts'
import type { World } from '../world.ts'

/**
 * The short-lived token of the service account that speaks for people (authentication.k8s.io/v1
 * TokenRequest). It is in this process's memory only.
 */
export interface TokenSource {
  /**
   * A token that is good now. @throws UnreachableError MCM_API_SERVER_UNREACHABLE when there is
   * none
   */
  current(): Promise<Secret<string>>
  /** For when the API server refused the present one: another token. @throws UnreachableError */
  reload(): Promise<Secret<string>>
}

export interface TokenOptions {
  /** `mcm-system` unless told. */
  readonly namespace?: string
  /** `mcm-impersonator` unless told. */
  readonly serviceAccount?: string
  /** Where the API server's audience is not the default one. */
  readonly audience?: string
  /**
   * A Secret of the same namespace: the token dies with it. (A pod can only bind the tokens of its
   * own service account; kubernetes pkg/registry/core/serviceaccount/storage/token.go.)
   */
  readonly boundTo?: { readonly name: string; readonly uid: string }
  /** An hour unless told; the API server allows no less than 600. */
  readonly lifetimeSeconds?: number
}

interface TokenRequest {
  readonly spec?: { readonly expirationSeconds?: number }
  readonly status?: { readonly token?: string }
}

interface HeldToken {
  readonly token: Secret<string>
  readonly obtainedAt: number
  readonly lifetimeMs: number
}

const LIFETIME_SECONDS = 3600
const RENEW_AT = 0.8
/**
 * Held tokens are not used in their last moments: the API server reads the clock later than we do.
 */
const USABLE_UNTIL = 0.95
/** However many requests were refused at once, one new token answers all of them. */
const MIN_RELOAD_MS = 5_000
const MIN_RETRY_MS = 1_000

/** Tokens of one service account, cached, renewed at 80 % of their life, one request at a time. */
export function tokenSource(api: KubernetesApi, options: TokenOptions, world: World): TokenSource {
  let held: HeldToken | undefined
  let pending: Promise<HeldToken> | undefined
  let failedAt = Number.NEGATIVE_INFINITY

  function obtain(): Promise<HeldToken> {
    pending ??= requestToken(api, options, world)
      .then((token) => {
        held = token
        return token
      })
      .catch((cause: unknown) => {
        failedAt = world.now().getTime()
        throw noToken(cause)
      })
      .finally(() => {
        pending = undefined
      })
    return pending
  }
  function ageMs(): number {
    return held === undefined ? 0 : world.now().getTime() - held.obtainedAt
  }
  function isWithin(share: number): boolean {
    const age = ageMs()
    // A negative age is a clock that was set back: nothing is known then.
    return held !== undefined && age >= 0 && age < held.lifetimeMs * share
  }
  return {
    async current() {
      if (held && isWithin(RENEW_AT)) return held.token
      if (!held || !isWithin(USABLE_UNTIL)) return (await obtain()).token
      // Nobody waits for a renewal while the present token is good.
      if (world.now().getTime() - failedAt >= MIN_RETRY_MS) obtain().catch(() => {})
      return held.token
    },
    async reload() {
      if (held && ageMs() >= 0 && ageMs() < MIN_RELOAD_MS) return held.token
      return (await obtain()).token
    },
  }
}

async function requestToken(
  api: KubernetesApi,
  options: TokenOptions,
  world: World,
): Promise<HeldToken> {
  const { namespace = AGENT_NAMESPACE, serviceAccount = IMPERSONATOR_NAME } = options
  const expirationSeconds = options.lifetimeSeconds ?? LIFETIME_SECONDS
  const obtainedAt = world.now().getTime()
  const answer = await api.create<TokenRequest>(
    `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`,
    tokenRequest(options, expirationSeconds),
  )
  const token = answer.status?.token
  if (!token) throw new Error('the answer holds no token')
  // How long the server says it lives, counted from our own clock: the two need not agree on the time.
  const seconds = answer.spec?.expirationSeconds ?? expirationSeconds
  return { token: new Secret(token), obtainedAt, lifetimeMs: seconds * 1000 }
}

function tokenRequest({ audience, boundTo }: TokenOptions, expirationSeconds: number): object {
  return {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {
      expirationSeconds,
      ...(audience === undefined ? {} : { audiences: [audience] }),
      ...(boundTo ? { boundObjectRef: { apiVersion: 'v1', kind: 'Secret', ...boundTo } } : {}),
    },
  }
}

function noToken(cause: unknown): UnreachableError {
  return new UnreachableError(
    'MCM_API_SERVER_UNREACHABLE',
    `the agent has no service account token: ${messageOf(cause)}`,
    { hint: 'look at the agent’s log and its rights (mcm register writes them)', cause },
  )
}
