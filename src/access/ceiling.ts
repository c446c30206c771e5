/**
 * The ceiling of a cluster: what can be done through mcm at all, whatever anybody is granted. It is
 * ClusterRole `mcm-ceiling`, and the only copy of it: a kube-apiserver with constrained impersonation
 * (KEP-5284) enforces its rules, the agent reads the same rules and enforces them everywhere. It knows
 * rules, not requests on a wire. Invariant: it lists what is allowed, so what nobody thought of is not;
 * and never `create` on `serviceaccounts/token`, by which anybody could become any service account.
 */

import { UsageError } from '../errors.ts'
import type { ClusterRole, PolicyRule } from '../kube/rbac.ts'
import { RBAC_GROUP, RBAC_VERSION } from '../kube/rbac.ts'
import type { RequestInfo } from '../kube/request-info.ts'
import { MANAGED_BY_MCM } from './label.ts'

export const CEILING_NAME = 'mcm-ceiling'

/** The ceiling's name for people, on the ClusterRole. */
export const CEILING_ANNOTATION = 'mcm.dev/ceiling'

/** What a cluster has whose owner set nothing. */
export const NO_CEILING = 'none'

export interface Ceiling {
  /** `none`, `no-exec`, `read-only,no-secrets`, or what the owner called their own. */
  readonly name: string
  /** What is allowed, with the verbs of Kubernetes. */
  readonly rules: readonly PolicyRule[]
}

/** Of a request, as the API server names it; enough to judge it. */
export type JudgedRequest = Pick<
  RequestInfo,
  'isResourceRequest' | 'verb' | 'apiGroup' | 'resource' | 'subresource' | 'name' | 'path'
>

/** Every verb that a request for a resource can have (apiserver `requestinfo.go`). */
export const RESOURCE_VERBS = [
  'get',
  'list',
  'watch',
  'create',
  'update',
  'patch',
  'delete',
  'deletecollection',
] as const
/** Of other URLs the verb is the method. */
export const URL_VERBS = ['get', 'head', 'options', 'post', 'put', 'patch', 'delete'] as const

const ACT_ON = 'impersonate-on:user-info:'

/** The ClusterRole of a ceiling. @throws UsageError MCM_BAD_FILE a rule that would mint tokens or has no verb */
export function ceilingRole({ name, rules }: Ceiling): ClusterRole {
  const all = [...rules, ...ALWAYS].flatMap(writtenOut)
  const once = new Map(all.map((rule) => [JSON.stringify(rule), rule]))
  const actions = [...once.values()].map((rule) => ({
    ...rule,
    verbs: rule.verbs.map((verb) => ACT_ON + verb),
  }))
  return {
    apiVersion: RBAC_VERSION,
    kind: 'ClusterRole',
    metadata: {
      name: CEILING_NAME,
      labels: MANAGED_BY_MCM,
      annotations: { [CEILING_ANNOTATION]: name },
    },
    rules: actions,
  }
}

/** The ceiling that a ClusterRole is. Rules about anything else than acting as a person are left out. */
export function readCeiling(role: ClusterRole): Ceiling {
  const rules = (role.rules ?? []).flatMap((rule) => {
    const verbs = rule.verbs
      .filter((verb) => verb.startsWith(ACT_ON))
      .map((verb) => verb.slice(ACT_ON.length))
    return verbs.length === 0 ? [] : [{ ...rule, verbs }]
  })
  return { name: role.metadata.annotations?.[CEILING_ANNOTATION] ?? 'of its owner', rules }
}

/** Whether a request stays below the ceiling, by the rules of RBAC (`rbac/v1/evaluation_helpers.go`). */
export function isBelowCeiling({ rules }: Ceiling, request: JudgedRequest): boolean {
  if (makesToken(request)) return false
  return rules.some((rule) => rule.verbs.includes(request.verb) && covers(rule, request))
}

/**
 * Whether a request would change what the ceiling is made of. The owner does that with access of their
 * own: whoever could lift the ceiling from below would have none. Deleting a collection names nothing, and
 * takes the ceiling along.
 */
export function changesCeiling({ verb, apiGroup, resource, name }: JudgedRequest): boolean {
  if (apiGroup !== RBAC_GROUP || !/^clusterrole(binding)?s$/.test(resource)) return false
  if (verb === 'deletecollection') return true
  return name === CEILING_NAME && !['get', 'list', 'watch'].includes(verb)
}

/** Asking about oneself changes nothing; `kubectl auth` does it, and so does the agent for `--as`. */
const ALWAYS: readonly PolicyRule[] = [
  {
    apiGroups: ['authorization.k8s.io'],
    resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
    verbs: ['create'],
  },
  {
    apiGroups: ['authentication.k8s.io'],
    resources: ['selfsubjectreviews'],
    verbs: ['create'],
  },
]

function makesToken({ apiGroup, resource, subresource, verb }: JudgedRequest): boolean {
  const isToken = apiGroup === '' && resource === 'serviceaccounts' && subresource === 'token'
  return isToken && verb === 'create'
}

function covers(rule: PolicyRule, request: JudgedRequest): boolean {
  if (!request.isResourceRequest) return coversUrl(rule, request.path)
  const { apiGroup, resource, subresource, name } = request
  const { apiGroups = [], resources = [] } = rule
  const names = rule.resourceNames ?? []
  const whole = subresource === '' ? resource : `${resource}/${subresource}`
  const isOfSubresource = subresource !== '' && resources.includes(`*/${subresource}`)
  return (
    (apiGroups.includes('*') || apiGroups.includes(apiGroup)) &&
    (resources.includes('*') || resources.includes(whole) || isOfSubresource) &&
    (names.length === 0 || names.includes(name))
  )
}

function coversUrl({ nonResourceURLs = [] }: PolicyRule, path: string): boolean {
  return nonResourceURLs.some(
    (url) => url === path || (url.endsWith('*') && path.startsWith(url.replace(/\*+$/, ''))),
  )
}

/**
 * A rule as RBAC can hold it. `*` is no verb here: it would mean `impersonate`, too. And a wildcard that
 * reaches the core group would bring `serviceaccounts/token`: there `create` is written as what is made
 * without a name (a token is made of a named account), and the named subresources one by one.
 */
function writtenOut(rule: PolicyRule): PolicyRule[] {
  const verbs = plainVerbs(rule)
  const { resourceNames = [] } = rule
  const isNameless = resourceNames.length > 0 && resourceNames.every((name) => name === '')
  if (!verbs.includes('create') || isNameless || !reachesToken(rule)) return [{ ...rule, verbs }]
  if (resourceNames.length > 0 || !rule.resources?.includes('*')) throw wouldMint(rule)
  const others = verbs.filter((verb) => verb !== 'create')
  const { apiGroups = [] } = rule
  const groups = apiGroups.filter((group) => group !== '' && group !== '*')
  return [
    ...(others.length > 0 ? [{ ...rule, verbs: others }] : []),
    { ...rule, resourceNames: [''], verbs: ['create'] },
    { apiGroups: [''], resources: CREATED_BY_NAME, verbs: ['create'] },
    ...(groups.length > 0 ? [{ apiGroups: groups, resources: ['*'], verbs: ['create'] }] : []),
  ]
}

/** Subresources of the core group that are created, besides `serviceaccounts/token`. */
const CREATED_BY_NAME = [
  'nodes/proxy',
  'pods/attach',
  'pods/binding',
  'pods/eviction',
  'pods/exec',
  'pods/portforward',
  'pods/proxy',
  'services/proxy',
] as const

function plainVerbs(rule: PolicyRule): readonly string[] {
  const known: readonly string[] = rule.nonResourceURLs ? URL_VERBS : RESOURCE_VERBS
  if (rule.verbs.includes('*')) return known
  const unknown = rule.verbs.find((verb) => !known.includes(verb))
  if (unknown === undefined && rule.verbs.length > 0) return rule.verbs
  throw new UsageError('MCM_BAD_FILE', `a rule of the ceiling has the verb ${String(unknown)}`, {
    hint: `use ${known.join(', ')} or "*"`,
  })
}

function reachesToken({ apiGroups = [], resources = [] }: PolicyRule): boolean {
  const isOfCore = apiGroups.includes('') || apiGroups.includes('*')
  const tokens = ['*', '*/token', 'serviceaccounts/token']
  return isOfCore && resources.some((resource) => tokens.includes(resource))
}

function wouldMint(rule: PolicyRule): UsageError {
  const message = `a rule of the ceiling would make service account tokens: ${JSON.stringify(rule)}`
  return new UsageError('MCM_BAD_FILE', message, {
    hint: 'name the resources without serviceaccounts/token; tokens are made with direct access',
  })
}
