/**
 * Every failure a person can act on. A family fixes the exit code, the HTTP status and the reason of
 * a Kubernetes Status, so that the command line, the proxy and the hub speak alike. Within a family
 * the codes are closed: match on `code`, not on the class. Any other error is a bug of ours (exit 1).
 */

export type ErrorCode =
  // usage
  | 'MCM_USAGE'
  | 'MCM_BAD_NAME'
  | 'MCM_BAD_FILE'
  | 'MCM_BAD_LINK'
  | 'MCM_UNSUPPORTED_RUNTIME'
  | 'MCM_BAD_REQUEST'
  // not found
  | 'MCM_CLUSTER_UNKNOWN'
  | 'MCM_USER_UNKNOWN'
  | 'MCM_ROLE_UNKNOWN'
  | 'MCM_CONTEXT_UNKNOWN'
  | 'MCM_PROGRAM_UNKNOWN'
  | 'MCM_NOT_FOUND'
  // identity
  | 'MCM_NOT_LOGGED_IN'
  | 'MCM_INVITE_EXPIRED'
  | 'MCM_INVITE_USED'
  | 'MCM_CERTIFICATE_EXPIRED'
  | 'MCM_CERTIFICATE_UNKNOWN'
  | 'MCM_DEVICE_UNKNOWN'
  | 'MCM_OWNER_SIGNS'
  | 'MCM_TOKEN_REFUSED'
  | 'MCM_LOGIN_ENDED'
  // access
  | 'MCM_REVOKED'
  | 'MCM_NO_GRANT'
  | 'MCM_FORBIDDEN'
  | 'MCM_IMPERSONATION_REFUSED'
  // unreachable
  | 'MCM_HUB_UNREACHABLE'
  | 'MCM_AGENT_UNREACHABLE'
  | 'MCM_API_SERVER_UNREACHABLE'
  | 'MCM_PROVIDER_UNREACHABLE'
  | 'MCM_TIMEOUT'
  | 'MCM_CHECK_FAILED'
  | 'MCM_PORT_TAKEN'
  | 'MCM_CONFLICT'
  | 'MCM_LIMIT'
  | 'MCM_DIRECTORY_OLD'
  // trust
  | 'MCM_PIN_MISMATCH'
  | 'MCM_DIRECTORY_INVALID'
  | 'MCM_DIRECTORY_ROLLED_BACK'
  | 'MCM_CERTIFICATE_UNTRUSTED'
  | 'MCM_PAIRING_MISMATCH'
  | 'MCM_CLOCK_SKEW'
  // state
  | 'MCM_STATE_DAMAGED'
  | 'MCM_STATE_LOCKED'
  | 'MCM_STATE_NEWER'
  | 'MCM_STATE_UNWRITABLE'
  | 'MCM_KEYCHAIN_UNAVAILABLE'

export interface ErrorDetails {
  /** The exact next step, as a sentence or a command. */
  readonly hint?: string
  readonly cause?: unknown
}

/** Somebody can act on this one. Message: what failed, with the value, and why; no full stop. */
export abstract class McmError extends Error {
  abstract readonly exitCode: number
  abstract readonly httpStatus: number
  abstract readonly reason: string
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = code
    this.hint = details.hint
  }
}

/** The command line, a file or a request is wrong. */
export class UsageError extends McmError {
  readonly exitCode = 2
  readonly httpStatus = 400
  readonly reason = 'BadRequest'
}

/** No such cluster, user, role or grant. */
export class NotFoundError extends McmError {
  readonly exitCode = 3
  readonly httpStatus = 404
  readonly reason = 'NotFound'
}

/** No, expired or unknown credential: new ones would help. */
export class IdentityError extends McmError {
  readonly exitCode = 4
  readonly httpStatus = 401
  readonly reason = 'Unauthorized'
}

/** Known, and not allowed. */
export class AccessDeniedError extends McmError {
  readonly exitCode = 5
  readonly httpStatus = 403
  readonly reason = 'Forbidden'
}

/** Hub, agent or API server did not answer, or not in time. */
export class UnreachableError extends McmError {
  readonly exitCode = 6
  readonly httpStatus = 503
  readonly reason = 'ServiceUnavailable'
}

/** A pin, a fingerprint or a signature does not match. Never retried, never bypassed. */
export class TrustError extends McmError {
  readonly exitCode = 7
  readonly httpStatus = 502
  readonly reason = 'InternalError'
}

/** Stored files are damaged, locked, not writable, or newer than this mcm. */
export class StateError extends McmError {
  readonly exitCode = 8
  readonly httpStatus = 500
  readonly reason = 'InternalError'
}

export const EXIT_INTERRUPTED = 130
/** Of a comparison that found a difference, as `diff` has it; a bug of ours is never taken for no difference. */
export const EXIT_DIFFERENT = 1
/** Of a command that ran on many clusters: some of them failed, or every one. */
export const EXIT_SOME_FAILED = 9
export const EXIT_ALL_FAILED = 10

/** Whether a value is one of ours, also across two copies of this module. */
export function isMcmError(value: unknown): value is McmError {
  return value instanceof Error && typeof (value as Partial<McmError>).exitCode === 'number'
}

/** The exit code of any thrown value: the family's, or 1 for a bug. */
export function exitCodeOf(value: unknown): number {
  return isMcmError(value) ? value.exitCode : 1
}

/** The message of any thrown value, for composing a sentence. */
export function messageOf(value: unknown): string {
  return value instanceof Error ? value.message : String(value)
}
