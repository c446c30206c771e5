import { z } from 'zod'
import {
  AccessDeniedError,
  type ErrorCode,
  type ErrorDetails,
  IdentityError,
  type McmError,
  NotFoundError,
  StateError,
  TrustError,
  UnreachableError,
  UsageError,
} from '../errors.ts'

/** The error of a hub's or an agent's own answer (docs/PROTOCOL.md §5): the one that was thrown there. */

const statusSchema = z.object({
  message: z.string().max(4096).optional(),
  mcm: z
    .object({ code: z.string().regex(/^MCM_[A-Z_]{1,60}$/), hint: z.string().max(4096).optional() })
    .optional(),
})

type Family = new (code: ErrorCode, message: string, details: ErrorDetails) => McmError

const FAMILIES: Readonly<Record<number, readonly [Family, ErrorCode]>> = {
  400: [UsageError, 'MCM_BAD_REQUEST'],
  401: [IdentityError, 'MCM_CERTIFICATE_UNKNOWN'],
  403: [AccessDeniedError, 'MCM_FORBIDDEN'],
  404: [NotFoundError, 'MCM_NOT_FOUND'],
  409: [UnreachableError, 'MCM_CONFLICT'],
  500: [StateError, 'MCM_STATE_DAMAGED'],
  502: [TrustError, 'MCM_CERTIFICATE_UNTRUSTED'],
  504: [UnreachableError, 'MCM_TIMEOUT'],
}

/** `what` names who answered, such as `the hub`; `body` is the JSON of the answer, if it was any. */
export function errorOfAnswer(what: string, httpStatus: number, body: unknown): McmError {
  const parsed = statusSchema.safeParse(body)
  const status = parsed.success ? parsed.data : {}
  const [family, code] = FAMILIES[httpStatus] ?? [UnreachableError, 'MCM_HUB_UNREACHABLE']
  const message = printable(status.message ?? '').replace(/^mcm: /, '')
  const hint = status.mcm?.hint
  return new family(
    (status.mcm?.code as ErrorCode | undefined) ?? code,
    message || `${what} answered ${httpStatus}`,
    { ...(hint === undefined ? {} : { hint: printable(hint) }), cause: body },
  )
}

/** Text of others goes to a terminal: no control characters, no bidirectional overrides. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim()
}
