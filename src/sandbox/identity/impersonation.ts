/**
 * Acting as somebody else, as kube-apiserver reads it (apiserver `pkg/endpoints/filters/impersonation/`).
 * From 1.36 on the constrained modes (`impersonate:user-info` with `impersonate-on:user-info:VERB`, and
 * their kin for service accounts and nodes) are tried before the legacy `impersonate`.
 * Like the real one it fails open: without a user, or with an empty one, and no other header of the
 * family, the request simply runs as its sender.
 */
import { nameProblems } from '../objects/names.ts'
import {
  type Attributes,
  type Authorize,
  forbiddenTo,
  resourceAttributes,
} from '../rbac/attributes.ts'
import { quote, Refusal } from '../refusals.ts'
import {
  ANONYMOUS,
  AUTHENTICATED,
  MASTERS,
  NODES,
  nodeOf,
  serviceAccountGroups,
  serviceAccountOf,
  UNAUTHENTICATED,
  type UserInfo,
} from './user.ts'

export interface Impersonated {
  readonly user: UserInfo
  /** The constrained verb that allowed it, for the audit; '' for the legacy one. */
  readonly constraint: string
}

const AUTHENTICATION_GROUP = 'authentication.k8s.io'

interface Mode {
  /** `user-info`, `serviceaccount`, …; '' is the legacy one. */
  readonly name: string
  applies(wanted: UserInfo, requestor: UserInfo): boolean
}

const MODES: readonly Mode[] = [
  {
    name: 'associated-node',
    applies: (wanted, requestor) =>
      isOnlyName(wanted) &&
      nodeOf(wanted.name) !== undefined &&
      nodeOf(wanted.name) === ownNode(requestor),
  },
  {
    name: 'arbitrary-node',
    applies: (wanted) => isOnlyName(wanted) && nodeOf(wanted.name) !== undefined,
  },
  {
    name: 'serviceaccount',
    applies: (wanted) => isOnlyName(wanted) && serviceAccountOf(wanted.name) !== undefined,
  },
  {
    name: 'user-info',
    applies: ({ name }) => nodeOf(name) === undefined && serviceAccountOf(name) === undefined,
  },
]
const LEGACY: Mode = { name: '', applies: () => true }

/**
 * The mode each requestor last succeeded with, by name: it is tried first the next time, and a refusal
 * speaks of it (`cache.go` modeIndexCache).
 */
export type ModeMemory = Map<string, string>

/**
 * The user a request runs as, when RBAC lets its sender act so.
 * @param asked what the sender wants to do, as the sender
 * @param isConstrained whether the constrained modes exist (Kubernetes 1.36 and later)
 * @throws Refusal 403 naming the first thing that is not allowed
 */
export function impersonate(
  authorize: Authorize,
  wanted: UserInfo,
  asked: Attributes,
  isConstrained: boolean,
  memory: ModeMemory,
): Impersonated {
  const modes = inOrder([...(isConstrained ? MODES : []), LEGACY], memory.get(asked.user.name))
  const refusals: Refusal[] = []
  for (const mode of modes) {
    if (!mode.applies(wanted, asked.user)) continue
    try {
      const impersonated = tryMode(authorize, mode.name, wanted, asked)
      memory.set(asked.user.name, mode.name)
      return impersonated
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      refusals.push(error)
    }
  }
  throw refusals[0]!
}

function inOrder(modes: readonly Mode[], remembered: string | undefined): readonly Mode[] {
  const first = modes.filter(({ name }) => name === remembered)
  return [...first, ...modes.filter((mode) => !first.includes(mode))]
}

function tryMode(
  authorize: Authorize,
  mode: string,
  wanted: UserInfo,
  asked: Attributes,
): Impersonated {
  const require = (attributes: Attributes) => requireAllowed(authorize, attributes)
  if (mode !== '') require({ ...asked, verb: `impersonate-on:${mode}:${asked.verb}` })
  const verb = mode === '' ? 'impersonate' : `impersonate:${mode}`
  for (const question of questionsAbout(wanted, asked.user, verb, mode)) require(question)
  return { user: withFixedGroups(wanted, mode), constraint: mode === '' ? '' : verb }
}

function requireAllowed(authorize: Authorize, attributes: Attributes): void {
  const { isAllowed, reason } = authorize(attributes)
  if (!isAllowed) throw forbiddenTo(attributes, reason)
}

/** One question for the name and each uid, group and extra value: all must be allowed. */
function* questionsAbout(
  wanted: UserInfo,
  requestor: UserInfo,
  verb: string,
  mode: string,
): Generator<Attributes> {
  const group = mode === '' ? '' : AUTHENTICATION_GROUP
  const ask = (apiGroup: string, resource: string, name: string, more: Partial<Attributes> = {}) =>
    resourceAttributes(requestor, { verb, apiGroup, resource, name, ...more })
  yield nameQuestion(wanted, mode, group, ask)
  if (wanted.uid) yield ask(AUTHENTICATION_GROUP, 'uids', wanted.uid)
  if (mode !== '') refuseDangerous(wanted, ask(group, 'groups', ''), ask(group, 'userextras', ''))
  for (const one of wanted.groups) yield ask(group, 'groups', one)
  for (const [key, values] of wanted.extra)
    for (const value of values)
      yield ask(AUTHENTICATION_GROUP, 'userextras', value, { subresource: key })
}

type Ask = (group: string, resource: string, name: string, more?: Partial<Attributes>) => Attributes

function nameQuestion(wanted: UserInfo, mode: string, group: string, ask: Ask): Attributes {
  if (mode === 'associated-node') return ask(group, 'nodes', '*')
  const node = mode === '' ? undefined : nodeOf(wanted.name)
  if (node !== undefined) return ask(group, 'nodes', node)
  const account = serviceAccountOf(wanted.name)
  if (account) return ask(group, 'serviceaccounts', account.name, { namespace: account.namespace })
  return ask(group, 'users', wanted.name)
}

/** What the constrained modes never allow, whatever RBAC says. */
function refuseDangerous(wanted: UserInfo, aboutGroups: Attributes, aboutExtras: Attributes): void {
  if (wanted.groups.includes(''))
    throw forbiddenTo(aboutGroups, 'impersonating the empty string group is not allowed')
  if (wanted.groups.includes(MASTERS))
    throw forbiddenTo(
      { ...aboutGroups, name: MASTERS },
      'impersonating the system:masters group is not allowed',
    )
  for (const [key, values] of wanted.extra) {
    const why = extraProblem(key, values)
    if (why !== '') throw forbiddenTo(aboutExtras, why)
  }
}

function extraProblem(key: string, values: readonly string[]): string {
  if (key === '') return 'impersonating the empty string key in extra is not allowed'
  const problem = pathProblem(key)
  if (problem !== '')
    return `impersonating an invalid key in extra is not allowed: extra.key: Invalid value: ${quote(key)}: ${problem}`
  return values.includes('') ? 'impersonating the empty string value in extra is not allowed' : ''
}

/** apimachinery `pkg/util/validation/validation.go` IsDomainPrefixedPath, its first complaint. */
function pathProblem(key: string): string {
  const [domain = '', ...path] = key.split('/')
  if (path.length === 0 || domain === '' || path.join('/') === '')
    return 'must be a domain-prefixed path (such as "acme.io/foo")'
  const [wrongDomain] = nameProblems(domain, 'subdomain')
  if (wrongDomain !== undefined) return wrongDomain
  const isPath = /^[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/.test(path.join('/'))
  return isPath
    ? ''
    : "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"
}

function withFixedGroups(wanted: UserInfo, mode: string): UserInfo {
  const account = serviceAccountOf(wanted.name)
  const isNode = mode !== '' && nodeOf(wanted.name) !== undefined
  const fixed = account ? serviceAccountGroups(account.namespace) : isNode ? [NODES] : []
  const groups = wanted.groups.length > 0 ? wanted.groups : fixed
  const added = wanted.name === ANONYMOUS ? UNAUTHENTICATED : AUTHENTICATED
  const isComplete = groups.includes(added) || groups.includes(UNAUTHENTICATED)
  return { ...wanted, groups: isComplete ? groups : [...groups, added] }
}

function isOnlyName(user: UserInfo): boolean {
  return !user.uid && user.groups.length === 0 && user.extra.size === 0
}

/** The node of the pod whose token the requestor holds. */
function ownNode(requestor: UserInfo): string | undefined {
  const values = requestor.extra.get('authentication.kubernetes.io/node-name') ?? []
  return serviceAccountOf(requestor.name) && values.length === 1 ? values[0] : undefined
}
