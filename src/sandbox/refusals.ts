/**
 * Every way the API server says no, word for word (apimachinery `pkg/api/errors/errors.go`, apiserver
 * `pkg/endpoints/handlers/responsewriters/errors.go`).
 */
import { failureStatus, type Status } from '../kube/status.ts'

/** Thrown anywhere below the pipeline; answered as its Status. */
export class Refusal extends Error {
  readonly status: Status
  /** Seconds for a Retry-After header. */
  readonly retryAfter: number | undefined

  constructor(status: Status, retryAfter?: number) {
    super(status.message)
    this.name = 'Refusal'
    this.status = status
    this.retryAfter = retryAfter
  }
}

/** A resource as messages name it: `pods`, `deployments.apps`. */
export interface GroupResource {
  readonly group: string
  readonly resource: string
}

export interface Cause {
  readonly reason: string
  readonly message: string
  readonly field: string
}

/** `deployments.apps`; bare in the core group. */
export function qualified(group: string, name: string): string {
  return group === '' ? name : `${name}.${group}`
}

/** @param of the resource, or another word that the message shall use */
export function notFound(of: GroupResource, name: string): Refusal {
  const message = `${qualified(of.group, of.resource)} ${quote(name)} not found`
  return refuse(404, 'NotFound', message, detailsOf(of, name))
}

/** Of a path within a served group version. */
export function noSuchResource(): Refusal {
  return refuse(404, 'NotFound', 'the server could not find the requested resource', {})
}

export function alreadyExists(of: GroupResource, name: string): Refusal {
  const message = `${qualified(of.group, of.resource)} ${quote(name)} already exists`
  return refuse(409, 'AlreadyExists', message, detailsOf(of, name))
}

export const STALE =
  'the object has been modified; please apply your changes to the latest version and try again'

export function conflict(of: GroupResource, name: string, why: string): Refusal {
  const what = `${qualified(of.group, of.resource)} ${quote(name)}`
  const message = `Operation cannot be fulfilled on ${what}: ${why}`
  return refuse(409, 'Conflict', message, detailsOf(of, name))
}

export function forbidden(of: GroupResource, name: string, why: string): Refusal {
  const resource = qualified(of.group, of.resource)
  const what =
    resource === ''
      ? 'forbidden'
      : `${resource} ${name === '' ? '' : `${quote(name)} `}is forbidden`
  return refuse(403, 'Forbidden', `${what}: ${why}`, detailsOf(of, name))
}

/** @param kind the kind, or where the real one says so the resource; '' in reviews */
export function invalid(
  group: string,
  kind: string,
  name: string,
  causes: readonly Cause[],
): Refusal {
  const lines = [...new Set(causes.map((cause) => `${cause.field}: ${cause.message}`))]
  const list = lines.length === 1 ? lines[0]! : `[${lines.join(', ')}]`
  const message = `${qualified(group, kind)} ${quote(name)} is invalid: ${list}`
  return refuse(422, 'Invalid', message, { ...details(group, kind, name), causes })
}

export function badRequest(message: string): Refusal {
  return refuse(400, 'BadRequest', message)
}

/** An error nobody gave a reason to: the server's own, as far as clients can tell. */
export function internal(message: string): Refusal {
  const { reason: _, ...status } = failureStatus(500, '', message)
  return new Refusal(status as Status)
}

export function unauthorized(): Refusal {
  return refuse(401, 'Unauthorized', 'Unauthorized')
}

export function methodNotAllowed(): Refusal {
  const message = 'the server does not allow this method on the requested resource'
  return refuse(405, 'MethodNotAllowed', message, {})
}

export function notAcceptable(accepted: readonly string[]): Refusal {
  const message = `only the following media types are accepted: ${accepted.join(', ')}`
  return refuse(406, 'NotAcceptable', message)
}

export function unsupportedMediaType(accepted: readonly string[]): Refusal {
  const list = accepted.join(', ')
  const message = `the body of the request was in an unknown format - accepted media types include: ${list}`
  return refuse(415, 'UnsupportedMediaType', message)
}

export function tooLarge(limit: number): Refusal {
  const message = `Request entity too large: limit is ${limit}`
  return refuse(413, 'RequestEntityTooLarge', message)
}

export function expired(message: string): Refusal {
  return refuse(410, 'Expired', message)
}

export function tooLargeResourceVersion(asked: number, current: number): Refusal {
  const message = `Timeout: Too large resource version: ${asked}, current: ${current}`
  const causes = [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }]
  const failure = failureStatus(504, 'Timeout', message, { causes, retryAfterSeconds: 1 })
  return new Refusal(failure, 1)
}

/** What a real server does and the sandbox has nothing to do it with. */
export function notImplemented(message: string): Refusal {
  return refuse(501, 'NotImplemented', message)
}

/** A Go `%q`, near enough for names: JSON quotes the same way. */
export function quote(text: string): string {
  return JSON.stringify(text)
}

function refuse(
  code: number,
  reason: string,
  message: string,
  about?: Readonly<Record<string, unknown>>,
): Refusal {
  return new Refusal(failureStatus(code, reason, message, about))
}

function detailsOf(of: GroupResource, name: string): Record<string, unknown> {
  return details(of.group, of.resource, name)
}

function details(group: string, kind: string, name: string): Record<string, unknown> {
  return { ...(name && { name }), ...(group && { group }), ...(kind && { kind }) }
}
