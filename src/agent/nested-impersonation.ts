/**
 * `kubectl --as`: a caller who asks to be somebody else. Equal to the certificate is fine (the
 * local proxy says so on every request). Different is asked of the API server as the caller, every
 * time anew, and must be somebody the agent may speak for. Invariant: what was asked for is either
 * what is done, or refused by name; never dropped.
 */

import type { ImpersonatorList } from '../access/impersonator.ts'
import { AccessDeniedError } from '../errors.ts'
import {
  type Impersonation,
  type ImpersonationRequest,
  isSameUserAndGroups,
  requireUserAndGroups,
} from '../kube/impersonation.ts'
import type { Standing } from './authenticate.ts'

/** One question of SelfSubjectAccessReview (authorization.k8s.io/v1), asked as the caller. */
export interface ImpersonationQuestion {
  readonly verb: 'impersonate'
  readonly group: string
  readonly resource: 'users' | 'groups'
  readonly name: string
}

/**
 * Asks the API server as `caller`. True only for a plain yes. @throws UnreachableError no answer
 */
export type Review = (caller: Impersonation, question: ImpersonationQuestion) => Promise<boolean>

/**
 * As whom a request runs whose client sent impersonation headers.
 * @throws AccessDeniedError MCM_IMPERSONATION_REFUSED naming the header; UsageError groups without
 *   a user
 */
export async function nestedImpersonation(
  standing: Standing,
  request: ImpersonationRequest,
  review: Review,
): Promise<Impersonation> {
  if (isOwnIdentity(standing, request)) return standing.impersonation
  const target = requireUserAndGroups(request)
  requireListed(target, standing.names)
  for (const question of questionsFor(target))
    if (!(await review(standing.impersonation, question).catch(refusedByFailure(question))))
      throw refused(headerOf(question), `you may not impersonate ${question.name}`)
  return { user: target.user, groups: target.groups }
}

/**
 * Where nobody can be anybody else: headers that ask for it are refused, for without them a request
 * would have more power than was asked for. @throws AccessDeniedError MCM_IMPERSONATION_REFUSED
 */
export function requireOwnIdentity(standing: Standing, request: ImpersonationRequest): void {
  if (isOwnIdentity(standing, request)) return
  throw refused(request.headerNames[0]!, 'the agent’s own endpoints are for oneself only')
}

/** The certificate's own names, bare as they stand in it or as the API server knows them. */
function isOwnIdentity({ identity, impersonation }: Standing, request: ImpersonationRequest) {
  const { user, groups, uid, extras } = request
  if (user === undefined || uid !== undefined || extras.size > 0) return false
  const asked = { user, groups }
  const isBare = isSameUserAndGroups(asked, { user: identity.user, groups: identity.groups })
  return isBare || isSameUserAndGroups(asked, impersonation)
}

/** Facts of Kubernetes: users and groups are of the core group (apiserver `impersonation.go`). */
function questionsFor({ user, groups }: Impersonation): ImpersonationQuestion[] {
  const ask = (resource: 'users' | 'groups') => (name: string) =>
    ({ verb: 'impersonate', group: '', resource, name }) as const
  return [ask('users')(user), ...groups.map(ask('groups'))]
}

function requireListed(target: Impersonation, names: ImpersonatorList): void {
  if (names.isUnrestricted) return
  if (!names.users.includes(target.user))
    throw refused('Impersonate-User', `this cluster's agent does not speak for ${target.user}`)
  const group = target.groups.find((name) => !names.groups.includes(name))
  if (group !== undefined)
    throw refused('Impersonate-Group', `this cluster's agent does not speak for ${group}`)
}

function headerOf({ resource }: ImpersonationQuestion): string {
  return resource === 'users' ? 'Impersonate-User' : 'Impersonate-Group'
}

function refusedByFailure(question: ImpersonationQuestion) {
  return (cause: unknown): never => {
    const why = `whether you may impersonate ${question.name} could not be asked`
    throw refused(headerOf(question), why, cause)
  }
}

function refused(header: string, why: string, cause?: unknown): AccessDeniedError {
  return new AccessDeniedError(
    'MCM_IMPERSONATION_REFUSED',
    `header ${JSON.stringify(header)} is refused: ${why}`,
    {
      hint: 'run kubectl without --as, or as a user (with its prefix, as in mcm:bob) and groups granted here',
      cause,
    },
  )
}
