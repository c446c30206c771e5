/**
 * Nobody grants what they do not have (kubernetes `pkg/registry/rbac/escalation_check.go`,
 * `pkg/registry/rbac/validation/rule.go`, component-helpers
 * `auth/rbac/validation/policy_comparator.go`), unless they may `escalate` the role or `bind` it.
 */
import { MASTERS, type UserInfo } from '../identity/user.ts'
import { isSameJson, type KubeObject, listAt, textAt } from '../json.ts'
import { forbidden, notFound, quote } from '../refusals.ts'
import { type Authorize, resourceAttributes } from './attributes.ts'
import type { RuleResolver } from './authorizer.ts'
import { type Rule, readRule, urlMatches } from './rules.ts'

export interface EscalationDeps {
  readonly authorize: Authorize
  readonly resolver: RuleResolver
}

const GROUP = 'rbac.authorization.k8s.io'
const EVERYTHING: readonly Rule[] = [
  rule({ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }),
  rule({ verbs: ['*'], nonResourceURLs: ['*'] }),
]

/**
 * Checks a role or binding about to be written; other objects pass.
 * @param requestName the name in the URL, which `escalate` is asked for ('' on create)
 * @throws Refusal 403
 */
export function refuseEscalation(
  deps: EscalationDeps,
  user: UserInfo,
  resource: string,
  object: KubeObject,
  old: KubeObject | undefined,
  requestName: string,
): void {
  if (user.groups.includes(MASTERS)) return
  if (old !== undefined && isOnlyForGarbageCollection(object, old)) return
  const { namespace = '' } = object.metadata
  if (resource === 'roles' || resource === 'clusterroles')
    refuseRole(deps, user, resource, object, old, requestName)
  else if (resource === 'rolebindings' || resource === 'clusterrolebindings')
    refuseBinding(deps, user, resource, object, namespace)
}

function refuseRole(
  deps: EscalationDeps,
  user: UserInfo,
  resource: string,
  object: KubeObject,
  old: KubeObject | undefined,
  requestName: string,
): void {
  const { namespace = '', name = '' } = object.metadata
  const asked = { verb: 'escalate', apiGroup: GROUP, resource, namespace, name: requestName }
  if (deps.authorize(resourceAttributes(user, asked)).isAllowed) return
  confirm(deps, user, resource, name, namespace, listAt(object, 'rules').map(readRule))
  const aggregates = [object, old].some(
    (one) => listAt(one, 'aggregationRule', 'clusterRoleSelectors').length > 0,
  )
  if (
    !aggregates ||
    missingRights(deps.resolver.rulesFor(user, namespace).rules, EVERYTHING).length === 0
  )
    return
  const why = 'must have cluster-admin privileges to use the aggregationRule'
  throw forbidden({ group: GROUP, resource }, name, why)
}

function refuseBinding(
  deps: EscalationDeps,
  user: UserInfo,
  resource: string,
  object: KubeObject,
  namespace: string,
): void {
  const roleRef = {
    kind: textAt(object, 'roleRef', 'kind'),
    name: textAt(object, 'roleRef', 'name'),
  }
  const roles = roleRef.kind === 'ClusterRole' ? 'clusterroles' : 'roles'
  const asked = { verb: 'bind', apiGroup: GROUP, resource: roles, namespace, name: roleRef.name }
  if (deps.authorize(resourceAttributes(user, asked)).isAllowed) return
  const rules = deps.resolver.rulesOfRole(roleRef, namespace)
  if (!rules) throw notFound({ group: GROUP, resource }, roleRef.name)
  confirm(deps, user, resource, object.metadata.name ?? '', namespace, rules)
}

function confirm(
  deps: EscalationDeps,
  user: UserInfo,
  resource: string,
  name: string,
  namespace: string,
  rules: readonly Rule[],
): void {
  const owned = deps.resolver.rulesFor(user, namespace)
  const missing = missingRights(owned.rules, rules)
  if (missing.length === 0) return
  const groups = quoteList(user.groups)
  const head = `user ${quote(user.name)} (groups=${groups}) is attempting to grant RBAC permissions not currently held:`
  const lines = [...new Set(compact(missing).map(describe))].sort()
  const errors = owned.errors.length > 0 ? `; resolution errors: [${owned.errors.join(' ')}]` : ''
  throw forbidden({ group: GROUP, resource }, name, `${head}\n${lines.join('\n')}${errors}`)
}

function missingRights(owned: readonly Rule[], wanted: readonly Rule[]): readonly Rule[] {
  return wanted.flatMap(breakDown).filter((one) => !owned.some((owner) => covers(owner, one)))
}

/** Rules of at most one verb, one resource and one name each. */
function breakDown(whole: Rule): Rule[] {
  const names = whole.resourceNames.length > 0 ? whole.resourceNames.map((name) => [name]) : [[]]
  const ofResources = whole.apiGroups.flatMap((group) =>
    whole.resources.flatMap((resource) =>
      whole.verbs.flatMap((verb) =>
        names.map((resourceNames) =>
          rule({ apiGroups: [group], resources: [resource], verbs: [verb], resourceNames }),
        ),
      ),
    ),
  )
  const ofUrls = whole.nonResourceURLs.flatMap((url) =>
    whole.verbs.map((verb) => rule({ nonResourceURLs: [url], verbs: [verb] })),
  )
  return [...ofResources, ...ofUrls]
}

function covers(owner: Rule, one: Rule): boolean {
  return (
    hasAll(owner.verbs, one.verbs) &&
    hasAll(owner.apiGroups, one.apiGroups) &&
    coversResources(owner.resources, one.resources) &&
    coversNames(owner.resourceNames, one.resourceNames) &&
    one.nonResourceURLs.every((url) => owner.nonResourceURLs.some((own) => urlMatches(own, url)))
  )
}

function hasAll(owned: readonly string[], wanted: readonly string[]): boolean {
  return owned.includes('*') || wanted.every((one) => owned.includes(one))
}

function coversResources(owned: readonly string[], wanted: readonly string[]): boolean {
  const covered = (one: string) =>
    owned.includes(one) || (one.includes('/') && owned.includes(`*${one.slice(one.indexOf('/'))}`))
  return owned.includes('*') || wanted.every(covered)
}

function coversNames(owned: readonly string[], wanted: readonly string[]): boolean {
  if (owned.length === 0) return true
  return wanted.length > 0 && wanted.every((one) => owned.includes(one))
}

/** Rules of the same resource and name, their verbs put together (`policy_compact.go`). */
function compact(rules: readonly Rule[]): readonly Rule[] {
  const merged = new Map<string, Rule>()
  for (const one of rules) {
    const { verbs, ...rest } = one
    const key = one.nonResourceURLs.length > 0 ? JSON.stringify(one) : JSON.stringify(rest)
    merged.set(key, { ...one, verbs: [...(merged.get(key)?.verbs ?? []), ...verbs] })
  }
  return [...merged.values()]
}

function describe(one: Rule): string {
  const parts = [
    ['APIGroups', one.apiGroups],
    ['Resources', one.resources],
    ['NonResourceURLs', one.nonResourceURLs],
    ['ResourceNames', one.resourceNames],
    ['Verbs', one.verbs],
  ] as const
  const shown = parts.filter(([, list]) => list.length > 0)
  return `{${shown.map(([key, list]) => `${key}:${quoteList(list)}`).join(', ')}}`
}

/** Go's `%q` of a list. */
function quoteList(list: readonly string[]): string {
  return `[${list.map(quote).join(' ')}]`
}

/** Whether nothing changes but what the garbage collector needs (`helpers.go`). */
function isOnlyForGarbageCollection(object: KubeObject, old: KubeObject): boolean {
  const [left, right] = [object, old].map((one) => {
    const { ownerReferences, finalizers, managedFields, resourceVersion, ...metadata } =
      one.metadata
    return { ...one, metadata }
  })
  return isSameJson(left, right)
}

function rule(parts: Partial<Rule> & { readonly verbs: readonly string[] }): Rule {
  return { apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: [], ...parts }
}
