import { isMcmError } from '../errors.ts'

/** A Kubernetes `Status` of kind Failure (apimachinery `pkg/apis/meta/v1/types.go`). */
export interface Status {
  readonly kind: 'Status'
  readonly apiVersion: 'v1'
  readonly metadata: Record<string, never>
  readonly status: 'Failure'
  readonly message: string
  readonly reason: string
  readonly details?: Readonly<Record<string, unknown>>
  readonly code: number
}

/** The Status kubectl prints the message of. `reason` is one of apimachinery's StatusReason words. */
export function failureStatus(
  code: number,
  reason: string,
  message: string,
  details?: Readonly<Record<string, unknown>>,
): Status {
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure' } as const
  return { ...status, message, reason, ...(details ? { details } : {}), code }
}

/** What the caller of a proxy is told of any error: the family's sentence, or nothing of a bug. */
export function statusOf(error: unknown): Status {
  if (!isMcmError(error)) return failureStatus(500, 'InternalError', 'mcm: internal error')
  const sentence = error.hint ? `${error.message}; ${error.hint}` : error.message
  return failureStatus(error.httpStatus, error.reason, `mcm: ${sentence}`)
}

/**
 * The value of a `Warning` header with a Status's message (RFC 7234 §5.5, apimachinery
 * `pkg/util/net/http.go`), as the bytes that go onto the wire. kubectl prints it to stderr whatever the answer is;
 * without it the message of a refused discovery request, the first of nearly every command, is lost: client-go
 * puts "unknown" or a sentence of its own in its place.
 */
export function warningOf(status: Status): string {
  const text = status.message.replace(/[\u0000-\u001f\u007f]/g, ' ').replace(/["\\]/g, '\\$&')
  return `299 - "${Buffer.from(text, 'utf8').toString('latin1')}"`
}
