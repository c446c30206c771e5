/**
 * What happens to every request of a session: its form, who it is from, as whom it runs, and then
 * either the agent's own endpoints or the API server. Invariant: nothing is forwarded before all of
 * them have said yes, and every end is written down.
 */

import { SESSION_EXTRA } from '../access/identity.ts'
import { isMcmError, messageOf } from '../errors.ts'
import type { HeaderLine } from '../forward/headers.ts'
import { Refusal } from '../forward/refusal.ts'
import { requireMethod, requireOriginForm } from '../forward/target.ts'
import type { Upstream } from '../forward/upstream.ts'
import { type Impersonation, parseImpersonation } from '../kube/impersonation.ts'
import type { Log, World } from '../world.ts'
import { type AuditOutcome, type AuditSink, auditEvent } from './audit-event.ts'
import type { Authentication, Standing } from './authenticate.ts'
import type { CeilingHolder } from './ceiling-holder.ts'
import type { ImpersonatorToken } from './egress.ts'
import { nestedImpersonation, type Review, requireOwnIdentity } from './nested-impersonation.ts'
import type { OwnEndpointSources } from './own-endpoints.ts'
import { requireHost, requireLines, requireNoBearerProtocol } from './request-headers.ts'
import type { Live, Session } from './sessions.ts'
import type { UserLimits } from './user-limits.ts'

export interface TrafficSources {
  readonly world: World
  readonly log: Log
  /** The only host a session is for. */
  readonly host: string
  readonly authentication: Authentication
  readonly ceiling: Pick<CeilingHolder, 'current' | 'isFresh'>
  /** The API server as the impersonator reaches it: its own 401 never reaches a client. */
  readonly apiServer: Upstream
  /** The same towards a workload behind a `proxy` subresource, whose 401 is its own. */
  readonly workloads: Upstream
  readonly token: ImpersonatorToken
  readonly review: Review
  readonly own: OwnEndpointSources
  readonly limits: UserLimits
  readonly audit: AuditSink
}

/** A request whose form was judged. */
export interface RequestForm {
  readonly lines: readonly HeaderLine[]
  readonly method: string
  readonly target: string
  /** Without the query. */
  readonly path: string
}

interface UnjudgedRequest {
  readonly headers: readonly string[]
  readonly httpVersion: string
  readonly method: string
  readonly target: string | undefined
  readonly authority?: string | undefined
}

/** One request on its way: its ids, and what is written down of it. */
export class Passage {
  readonly sources: TrafficSources
  readonly session: Session
  readonly auditId: string
  readonly #request: UnjudgedRequest
  readonly #startedAt = performance.now()
  #impersonation: Impersonation | undefined
  #requests: readonly number[] = []

  constructor(sources: TrafficSources, session: Session, request: UnjudgedRequest) {
    this.sources = sources
    this.session = session
    this.#request = request
    this.auditId = uuid(sources.world.random(16))
  }

  /** @throws Refusal 400, 421, 431 */
  requireForm(): RequestForm {
    const { headers, httpVersion, authority } = this.#request
    const lines = requireLines(headers, httpVersion)
    const method = requireMethod(this.#request.method)
    const target = requireOriginForm(this.#request.target)
    requireHost(lines, authority, this.sources.host)
    requireNoBearerProtocol(lines)
    return { lines, method, target, path: target.split('?', 1)[0]! }
  }

  /** Who it is from, now. Counts the request in. */
  async enter(): Promise<{ standing: Standing; leave: () => void }> {
    const { authentication, limits } = this.sources
    const standing = await authentication.standingOf(this.session.certificate)
    this.#requests = standing.requests
    for (const group of standing.impersonation.groups) this.session.usedGroups.add(group)
    return { standing, leave: limits.enter(this.session.certificate.user) }
  }

  /**
   * As whom it runs, with the session's name for the API server's audit, and behind it the caller's
   * where that is somebody else.
   */
  async impersonate(standing: Standing, lines: readonly HeaderLine[]): Promise<Impersonation> {
    const asked = impersonationAsked(lines)
    this.#impersonation =
      asked === undefined
        ? standing.impersonation
        : await nestedImpersonation(standing, asked, this.sources.review)
    const { extras = [] } = this.#impersonation
    const isNested = this.#impersonation !== standing.impersonation
    const names = isNested ? [this.session.id, standing.impersonation.user] : [this.session.id]
    return { ...this.#impersonation, extras: new Map([...extras, [SESSION_EXTRA, names]]) }
  }

  /** For what is done as oneself only. @throws AccessDeniedError MCM_IMPERSONATION_REFUSED */
  requireOneself(standing: Standing, lines: readonly HeaderLine[]): void {
    const asked = impersonationAsked(lines)
    if (asked !== undefined) requireOwnIdentity(standing, asked)
  }

  /** Waits for something that can be cut with its session. */
  async follow<T>(live: Live & { readonly done: Promise<T> }): Promise<T> {
    this.session.live.add(live)
    try {
      return await live.done
    } finally {
      this.session.live.delete(live)
    }
  }

  noteBegin(): void {
    this.#audit({ stage: 'began', code: 0, ended: '', bytes: 0 })
  }

  noteEnd(outcome: {
    status: number
    ended: string
    bytes: number
    bytesFromClient?: number
  }): void {
    const { status, ended, ...rest } = outcome
    const why = ended === 'cut' ? (this.session.wasCut?.ended ?? ended) : ended
    this.#audit({ stage: 'ended', code: status, ended: why, ...rest })
  }

  /** Bugs of ours are for the log as well. */
  noteRefusal(error: unknown, code: number): void {
    const isKnown = isMcmError(error) || error instanceof Refusal
    if (!isKnown) {
      const reason = error instanceof Error ? (error.stack ?? error.message) : messageOf(error)
      this.sources.log.error('request_failed', { auditId: this.auditId, reason })
    }
    const refusal = isMcmError(error) ? error.code : isKnown ? 'MCM_BAD_REQUEST' : 'bug'
    this.#audit({ stage: 'ended', code, ended: 'refused', refusal, bytes: 0 })
  }

  #audit(outcome: Omit<AuditOutcome, 'durationMs'>): void {
    const { auditId, session } = this
    const { method, target = '' } = this.#request
    const durationMs = Math.round((performance.now() - this.#startedAt) * 1000) / 1000
    const [impersonation, requests] = [this.#impersonation, this.#requests]
    const subject = { auditId, session, method, target, impersonation, requests }
    this.sources.audit(auditEvent(subject, { ...outcome, durationMs }))
  }
}

function impersonationAsked(lines: readonly HeaderLine[]) {
  return parseImpersonation(lines.map(({ name, value }) => [name, value] as const))
}

/** RFC 9562 version 4. */
export function uuid(random: Uint8Array): string {
  const bytes = Buffer.from(random)
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)]
  return `${parts.join('-')}-${hex.slice(20, 32)}`
}
