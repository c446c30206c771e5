import type { Impersonation } from '../kube/impersonation.ts'
import { requestInfo } from '../kube/request-info.ts'
import { addressFields, type Session } from './sessions.ts'

/**
 * One line for every request, and one more when something long begins. Nothing in it is a secret.
 */
export interface AuditEvent {
  readonly stage: 'began' | 'ended'
  /** The API server's own audit has the same id. */
  readonly auditId: string
  readonly session: string
  readonly user: string
  readonly device: string
  /** Fingerprint. */
  readonly certificate: string
  /** Groups as the certificate says. */
  readonly groups: readonly string[]
  /** As whom the API server saw it; absent where it never got there. */
  readonly as?: {
    readonly user: string
    readonly groups: readonly string[]
    /** Only where `--as-uid` was allowed. */
    readonly uid?: string
  }
  /** Numbers of the access requests (PROTOCOL §3.7) whose groups its user had; absent where there are none. */
  readonly requests?: readonly number[]
  /** The client's address as the hub claims it. */
  readonly addressByHub?: string
  /** The client's address, seen here: it came by the direct address. */
  readonly address?: string
  readonly method: string
  /** Without the query: that may hold what somebody typed. */
  readonly path: string
  readonly verb: string
  readonly apiGroup: string
  readonly resource: string
  readonly subresource: string
  readonly namespace: string
  readonly name: string
  /** The HTTP status the client was told; 0 when it went away before. */
  readonly code: number
  /**
   * How it ended: `complete`; `client` or `upstream`, who went away first before all was said and heard; `refused`; or
   * why the agent cut it: `revoked`, `expired`, `denied` (no member, no grant, another ceiling), `overfull` (more waited
   * to be taken than one user may have), `stopped`.
   */
  readonly ended: string
  /** Why it was refused, where the agent did. */
  readonly refusal?: string
  /** Body bytes towards the client. */
  readonly bytes: number
  readonly bytesFromClient?: number
  readonly durationMs: number
}

/** Whether the request was let in: a refusal is the agent's own. */
export function wasLetIn({ refusal }: AuditEvent): boolean {
  return refusal === undefined
}

/** Where audit events go. It must not throw, and not wait. */
export type AuditSink = (event: AuditEvent) => void

export interface AuditSubject {
  readonly auditId: string
  readonly session: Session
  readonly method: string
  readonly target: string
  readonly impersonation: Impersonation | undefined
  readonly requests: readonly number[]
}

export interface AuditOutcome {
  readonly stage: 'began' | 'ended'
  readonly code: number
  readonly ended: string
  readonly refusal?: string
  readonly bytes: number
  readonly bytesFromClient?: number
  readonly durationMs: number
}

const MAX_PATH_LENGTH = 1024

export function auditEvent(subject: AuditSubject, outcome: AuditOutcome): AuditEvent {
  const { auditId, session, method, target, impersonation, requests } = subject
  const { user, groups, device, fingerprint } = session.certificate
  const { verb, apiGroup, resource, subresource, namespace, name } = requestInfo(method, target)
  return {
    auditId,
    session: session.id,
    user,
    device,
    certificate: fingerprint,
    groups,
    ...(impersonation && { as: asWhom(impersonation) }),
    ...(requests.length > 0 && { requests }),
    ...addressFields(session),
    method,
    path: target.split('?', 1)[0]!.slice(0, MAX_PATH_LENGTH),
    verb,
    apiGroup,
    resource,
    subresource,
    namespace,
    name,
    ...outcome,
  }
}

function asWhom({ user, groups, uid }: Impersonation) {
  return { user, groups, ...(uid === undefined ? {} : { uid }) }
}
