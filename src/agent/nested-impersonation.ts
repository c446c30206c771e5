/**
 * `kubectl --as`: a caller who asks to be somebody else. Equal to the certificate is fine (the
 * local proxy says so on every request). Different is asked of the API server as the caller, every
 * time anew, and must be somebody the agent may speak for. Invariant: what was asked for is either
 * what is done, or refused by name; never dropped.
 */

import type { ImpersonatorList } from '../access/impersonator.ts'
import { AccessDeniedError } from '../errors.ts'
import {
  IMPERSONATE_EXTRA_PREFIX,
  IMPERSONATE_GROUP,
  IMPERSONATE_UID,
  IMPERSONATE_USER,
  type Impersonation,
  type ImpersonationRequest,
  isSameUserAndGroups,
  requireUser,
} from '../kube/impersonation.ts'
import { isReservedName } from '../kube/reserved-name.ts'
import type { Standing } from './authenticate.ts'

/** One question of SelfSubjectAccessReview (authorization.k8s.io/v1), asked as the caller. */
export interface ImpersonationQuestion {
  readonly verb: 'impersonate'
  readonly group: '' | 'authentication.k8s.io'
  readonly resource: 'users' | 'groups' | 'uids' | 'userextras'
  /** The key of an extra. */
  readonly subresource?: string
  readonly name: string
}

/**
 * Asks the API server as `caller`. True only for a plain yes. @throws UnreachableError no answer
 */
export type Review = (caller: Impersonation, question: ImpersonationQuestion) => Promise<boolean>

/**
 * As whom a request runs whose client sent impersonation headers.
 * @throws AccessDeniedError MCM_IMPERSONATION_REFUSED naming the header; UsageError groups, a uid or
 *   extras without a user
 */
export async function nestedImpersonation(
  standing: Standing,
  request: ImpersonationRequest,
  review: Review,
): Promise<Impersonation> {
  if (isOwnIdentity(standing, request)) return standing.impersonation
  if (asksForGroupsAlone(request)) requireUser(request)
  const asked = namesAsked(request)
  const unlisted = asked.find((name) => !isListed(name, standing.names))
  if (unlisted !== undefined) throw refused(unlisted.header, whyUnlisted(unlisted))
  const target = requireUser(request)
  for (const { header, question } of asked)
    if (!(await review(standing.impersonation, question).catch(refusedByFailure(header, question))))
      throw refused(header, `you may not impersonate ${told(question)}`)
  return target
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

/** `--as-group` without `--as`: a mistake, unless a group is one that nobody may ask for. */
function asksForGroupsAlone({ user, groups, uid, extras }: ImpersonationRequest): boolean {
  return (
    user === undefined && uid === undefined && extras.size === 0 && !groups.some(isReservedName)
  )
}

/** One name that was asked for, and the header it came in. */
interface NameAsked {
  readonly header: string
  readonly question: ImpersonationQuestion
}

/**
 * Facts of Kubernetes (apiserver `impersonation.go`): users and groups are of the core group, uids
 * and extras of authentication.k8s.io; the key of an extra is a subresource, its value the name.
 */
function namesAsked({ user, groups, uid, extras }: ImpersonationRequest): NameAsked[] {
  const verb = 'impersonate'
  const core = (header: string, resource: 'users' | 'groups', name: string) => {
    const question: ImpersonationQuestion = { verb, group: '', resource, name }
    return { header, question }
  }
  const group = 'authentication.k8s.io'
  const ofUid = (name: string): NameAsked => ({
    header: IMPERSONATE_UID,
    question: { verb, group, resource: 'uids', name },
  })
  const ofExtra = (subresource: string, name: string): NameAsked => ({
    header: IMPERSONATE_EXTRA_PREFIX + subresource,
    question: { verb, group, resource: 'userextras', subresource, name },
  })
  return [
    ...(user === undefined ? [] : [core(IMPERSONATE_USER, 'users', user)]),
    ...groups.map((name) => core(IMPERSONATE_GROUP, 'groups', name)),
    ...(uid === undefined ? [] : [ofUid(uid)]),
    ...[...extras].flatMap(([key, values]) => values.map((value) => ofExtra(key, value))),
  ]
}

/** Whether the impersonator could speak for it: the API server would refuse in words about ourselves. */
function isListed({ question }: NameAsked, names: ImpersonatorList): boolean {
  if (names.isUnrestricted) return true
  const { resource, subresource = '', name } = question
  const listed =
    resource === 'userextras' ? names.extras?.get(subresource) : (names[resource] ?? [])
  return listed?.includes(name) ?? false
}

function whyUnlisted({ question }: NameAsked): string {
  return `this cluster's agent does not speak for ${told(question)}`
}

function told({ resource, subresource, name }: ImpersonationQuestion): string {
  if (resource === 'uids') return `uid ${name}`
  return resource === 'userextras' ? `${subresource}=${name}` : name
}

function refusedByFailure(header: string, question: ImpersonationQuestion) {
  return (cause: unknown): never => {
    throw refused(header, `whether you may impersonate ${told(question)} could not be asked`, cause)
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
