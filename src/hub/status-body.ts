import { isMcmError } from '../errors.ts'
import { failureStatus, type Status, statusOf } from '../kube/status.ts'

/** The body of an error of the hub (docs/PROTOCOL.md §5): a Status, and the code it was thrown with. */
export interface HubStatus extends Status {
  readonly mcm?: { readonly code: string; readonly hint?: string }
}

export function hubStatusOf(error: unknown): HubStatus {
  if (!isMcmError(error)) return statusOf(error)
  const { code, hint, message, reason } = error
  const httpStatus = code === 'MCM_CONFLICT' ? 409 : error.httpStatus
  const status = failureStatus(
    httpStatus,
    code === 'MCM_CONFLICT' ? 'Conflict' : reason,
    message,
    code === 'MCM_CONFLICT' ? { head: error.cause } : undefined,
  )
  return { ...status, mcm: { code, ...(hint === undefined ? {} : { hint }) } }
}

const MAX_PHRASE = 300

/**
 * The same as reason phrase of HTTP/1.1 (RFC 9112 §4), which is all that kubectl shows of a refused
 * CONNECT: visible ASCII and spaces, one line.
 */
export function reasonPhrase(error: unknown): string {
  const text = isMcmError(error) ? error.message : 'internal error of the hub'
  return text
    .replace(/[‘’]/g, "'")
    .replace(/[^\x20-\x7e]+/g, '?')
    .slice(0, MAX_PHRASE)
}
