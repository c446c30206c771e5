/**
 * The only way out to the API server. It adds the impersonator's token and looks at the final lines
 * once more before anything is written: without exactly one `Impersonate-User` the API server would
 * run a request as our own service account. Invariant: what does not pass this check is not
 * written.
 */

import { isMcmError, messageOf } from '../errors.ts'
import type { RawHeaders } from '../forward/headers.ts'
import { Refusal } from '../forward/refusal.ts'
import type {
  UpgradeHead,
  Upstream,
  UpstreamCall,
  UpstreamEvents,
  UpstreamRequest,
} from '../forward/upstream.ts'
import {
  IMPERSONATE_EXTRA_PREFIX,
  IMPERSONATE_GROUP,
  IMPERSONATE_UID,
  IMPERSONATE_USER,
} from '../kube/impersonation.ts'
import { isReservedName } from '../kube/reserved-name.ts'
import { failureStatus, statusOf } from '../kube/status.ts'
import type { Secret } from '../secret.ts'
import type { Log } from '../world.ts'

/** The token of the service account that speaks for people. */
export interface ImpersonatorToken {
  current(): Promise<Secret<string>>
  reload(): Promise<Secret<string>>
}

/**
 * Refuses lines that would reach the API server as anybody but one named person of ours.
 * @throws Error a bug of ours: nothing was written
 */
export function assertEgress(headers: RawHeaders): void {
  let [users, tokens] = [0, 0]
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index]!
    const value = headers[index + 1]!
    const key = name.toLowerCase().replaceAll('_', '-')
    if (key.startsWith('impersonate')) users += impersonationLine(name, value)
    else if (key === 'authorization' && /^Bearer \S+$/.test(value)) tokens += 1
    else if (FORBIDDEN.has(key) || key.startsWith('x-remote-'))
      throw new Error(`egress: ${key} must not be sent`)
  }
  if (users !== 1) throw new Error(`egress: ${users} Impersonate-User lines instead of one`)
  if (tokens !== 1) throw new Error(`egress: ${tokens} credentials instead of one`)
}

const FORBIDDEN: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'cookie'])

/** 1 for a user line, 0 for a group, a uid or an extra. */
function impersonationLine(name: string, value: string): 0 | 1 {
  const isEmpty = value.trim() === '' || value !== value.trim()
  if (isEmpty || isReservedName(Buffer.from(value, 'latin1').toString('utf8')))
    throw new Error(`egress: ${name} has a value that must not be sent`)
  if (name === IMPERSONATE_USER) return 1
  if (name === IMPERSONATE_GROUP || name === IMPERSONATE_UID) return 0
  if (name.startsWith(IMPERSONATE_EXTRA_PREFIX)) return 0
  throw new Error(`egress: ${name} is no header of ours`)
}

/**
 * The API server as the impersonator reaches it. A 401 of its own is about our token, never about
 * the caller: another token is tried once, then it is 503. With `passesUnauthorized` a workload
 * answers, and a 401 is the workload's.
 */
export function impersonatorUpstream(
  upstream: Upstream,
  token: ImpersonatorToken,
  log: Log,
  passesUnauthorized: boolean,
): Upstream {
  const way: Way = { upstream, token, log, passesUnauthorized }
  return { ...upstream, send: (request, events) => new EgressCall(way, request, events) }
}

/**
 * The head of a switch of protocols with its token, checked. @throws Refusal 503 when there is no
 * token
 */
export async function upgradeHeadWithToken(
  head: UpgradeHead,
  obtain: () => Promise<Secret<string>>,
): Promise<UpgradeHead> {
  const headers = withToken(head.headers, await obtain().catch(noToken))
  assertEgress(headers)
  return { ...head, headers }
}

interface Way {
  readonly upstream: Upstream
  readonly token: ImpersonatorToken
  readonly log: Log
  readonly passesUnauthorized: boolean
}

class EgressCall implements UpstreamCall {
  readonly #way: Way
  readonly #request: UpstreamRequest
  readonly #events: UpstreamEvents
  #call: UpstreamCall | undefined
  #isAborted = false

  constructor(way: Way, request: UpstreamRequest, events: UpstreamEvents) {
    this.#way = way
    this.#request = request
    this.#events = events
    void this.#send(() => way.token.current(), true)
  }

  resume(): void {
    this.#call?.resume()
  }

  abort(): void {
    this.#isAborted = true
    this.#call?.abort()
  }

  async #send(obtain: () => Promise<Secret<string>>, mayRepeat: boolean): Promise<void> {
    try {
      const token = await obtain().catch(noToken)
      if (this.#isAborted) return
      const headers = withToken(this.#request.headers, token)
      assertEgress(headers)
      this.#call = this.#way.upstream.send({ ...this.#request, headers }, this.#listen(mayRepeat))
    } catch (error) {
      if (!(error instanceof Refusal))
        this.#way.log.error('egress_refused', { reason: messageOf(error) })
      this.#events.onError(asRefusal(error))
    }
  }

  #listen(mayRepeat: boolean): UpstreamEvents {
    const events = this.#events
    let isOver = false
    return {
      onResponse: (status, headers) => {
        if (status !== 401) events.onResponse(status, headers)
        else if (this.#way.passesUnauthorized) {
          // It may have been the API server's after all: then the next request has a good token.
          this.#way.token.reload().catch(() => {})
          events.onResponse(status, headers)
        } else {
          isOver = true
          this.#call?.abort()
          this.#onUnauthorized(mayRepeat)
        }
      },
      onData: (chunk) => isOver || events.onData(chunk),
      onEnd: () => isOver || events.onEnd(),
      onError: (error) => isOver || events.onError(error),
    }
  }

  /** A body that is being streamed is gone; one that is whole, or none, can be sent again. */
  #onUnauthorized(mayRepeat: boolean): void {
    const { body } = this.#request
    this.#way.log.warn('impersonator_unauthorized', { again: mayRepeat })
    if (mayRepeat && (body === undefined || Buffer.isBuffer(body)))
      void this.#send(() => this.#way.token.reload(), false)
    else {
      if (mayRepeat) this.#way.token.reload().catch(() => {})
      this.#events.onError(new Refusal(tokenRefused()))
    }
  }
}

function withToken(headers: readonly string[], token: Secret<string>): string[] {
  return [...headers, 'Authorization', `Bearer ${token.reveal()}`]
}

/** What the caller hears when the API server does not accept the impersonator's token. */
export function tokenRefused() {
  const message = 'mcm: the API server does not accept the agent at present; try again in a moment'
  return failureStatus(503, 'ServiceUnavailable', message)
}

function noToken(error: unknown): never {
  if (isMcmError(error)) throw new Refusal(statusOf(error))
  throw error
}

function asRefusal(error: unknown): Refusal {
  return error instanceof Refusal ? error : new Refusal(statusOf(error))
}
