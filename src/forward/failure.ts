import { failureStatus, type Status } from '../kube/status.ts'
import { Refusal } from './refusal.ts'
import { UpstreamProtocolError } from './upstream.ts'

const TIMEOUT_CODES: ReadonlySet<string> = new Set([
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
])
const IDENTITY_CODES = /^(ERR_TLS_CERT|ERR_SSL)|CERT|SIGNATURE|ISSUER/
const PROTOCOL_CODES = /^(HPE_|UND_ERR_HEADERS_OVERFLOW|ERR_HTTP2_ERROR|EPROTO)/
/** Node or undici refuse to write it: a character in a value that HTTP does not know. */
const UNSENDABLE_CODES =
  /^(UND_ERR_INVALID_ARG|ERR_INVALID_(CHAR|HTTP_TOKEN|ARG_VALUE)|ERR_HTTP2_(INVALID_(HEADER|CONNECTION)|HEADER))/

/**
 * What the client is told when the upstream failed: 502 not to be trusted, 504 too late, else 503.
 */
export function statusOfFailure(upstream: string, error: Error): Status {
  if (error instanceof Refusal) return error.status
  const code = String((error as { code?: unknown }).code ?? '')
  if (UNSENDABLE_CODES.test(code))
    return failureStatus(400, 'BadRequest', 'mcm: the request is refused: it cannot be sent on')
  if (TIMEOUT_CODES.has(code))
    return failureStatus(504, 'Timeout', `mcm: ${upstream} did not answer in time`)
  if (IDENTITY_CODES.test(code))
    return failureStatus(
      502,
      'InternalError',
      `mcm: ${upstream} showed a certificate that is not its own`,
    )
  if (error instanceof UpstreamProtocolError || PROTOCOL_CODES.test(code))
    return failureStatus(
      502,
      'InternalError',
      `mcm: ${upstream} gave an answer that cannot be used`,
    )
  return failureStatus(503, 'ServiceUnavailable', `mcm: ${upstream} cannot be reached`)
}
