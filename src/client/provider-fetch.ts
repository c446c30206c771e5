import { X509Certificate } from 'node:crypto'
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici'
import { messageOf, UnreachableError } from '../errors.ts'

/**
 * HTTPS to an identity provider: never a redirect, never plain HTTP, never much. Its certificate is one of the
 * public CAs, or of the one CA that admins have signed for it.
 */

export interface ProviderPlace {
  /** DER of the only CA to believe; the system's unless given. */
  readonly caDer?: Buffer | undefined
  /** The forward proxy for a URL, if the environment names one. */
  proxyFor(target: URL): string | undefined
}

/** The part of `fetch` that OAuth libraries use. */
export type ProviderFetch = (url: string | URL, init: ProviderRequest) => Promise<Response>

export interface ProviderRequest {
  readonly method?: string | undefined
  readonly headers?: ConstructorParameters<typeof Headers>[0]
  readonly body?: unknown
  readonly signal?: AbortSignal | null | undefined
}

const TIMEOUT_MS = 5_000
const MAX_BYTES = 1 << 20

/** @throws UnreachableError when the provider cannot be reached or does not answer within 5 s */
export function providerFetch(place: ProviderPlace): ProviderFetch {
  return async (target, { method = 'GET', headers, body, signal }) => {
    const url = new URL(target)
    if (url.protocol !== 'https:') throw unreachable(url, 'only https is spoken to a provider')
    const limit = AbortSignal.timeout(TIMEOUT_MS)
    let dispatcher: Dispatcher | undefined
    try {
      dispatcher = dispatcherTo(url, place)
      const answer = await request(url, {
        dispatcher,
        method: method as Dispatcher.HttpMethod,
        headers: Object.fromEntries(new Headers(headers)),
        body: body === undefined || body === null ? null : String(body),
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
      })
      const text = await answer.body.text()
      const { statusCode: status } = answer
      const hasBody = status !== 204 && status !== 304
      return new Response(hasBody ? text : null, { status, headers: plain(answer.headers) })
    } catch (cause) {
      throw unreachable(url, messageOf(cause), cause)
    } finally {
      void dispatcher?.destroy()
    }
  }
}

/** For one exchange: logins are rare, and a provider that was unreachable is asked afresh. */
function dispatcherTo(url: URL, { caDer, proxyFor }: ProviderPlace): Dispatcher {
  const ca = caDer === undefined ? {} : { ca: new X509Certificate(caDer).toString() }
  const tls = { timeout: TIMEOUT_MS, rejectUnauthorized: true, ...ca }
  const proxy = proxyFor(url)
  const limits = { maxResponseSize: MAX_BYTES, allowH2: false }
  if (proxy === undefined) return new Agent({ ...limits, connect: tls })
  return new ProxyAgent({ ...limits, uri: proxy, requestTls: tls })
}

function plain(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): [string, string][] {
  return Object.entries(headers).flatMap(([name, value]) =>
    [value ?? []].flat().map((each): [string, string] => [name, each]),
  )
}

function unreachable(url: URL, why: string, cause?: unknown): UnreachableError {
  return new UnreachableError(
    'MCM_PROVIDER_UNREACHABLE',
    `the identity provider ${url.host} cannot be asked: ${why}`,
    { hint: 'try again; behind a corporate proxy set HTTPS_PROXY', cause },
  )
}
