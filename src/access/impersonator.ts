/**
 * The ClusterRole of the service account that speaks for people. It lists every user and group by
 * name: whoever steals that token can act as those and nobody else. Written for one of two forms of
 * impersonation, never for both: with both the wider, legacy one would be taken. Invariant: there is
 * never a rule for users or groups without names, because such a rule would allow all of them.
 */

import { UsageError } from '../errors.ts'
import type { ClusterRole, PolicyRule } from '../kube/rbac.ts'
import { RBAC_VERSION } from '../kube/rbac.ts'
import { isReservedName } from '../kube/reserved-name.ts'
import { SESSION_EXTRA } from './identity.ts'
import { MANAGED_BY_MCM } from './label.ts'

export const IMPERSONATOR_NAME = 'mcm-impersonator'

/** Prefixed names, as the API server knows them. */
export interface ImpersonatorNames {
  readonly users: readonly string[]
  readonly groups: readonly string[]
}

/**
 * `legacy`: the verb `impersonate`, and whoever is impersonated may do all they may do. `constrained`
 * (KEP-5284, on by default from Kubernetes 1.36): `impersonate:user-info`, and besides only what
 * ClusterRole `mcm-ceiling` allows.
 */
export type ImpersonationForm = 'legacy' | 'constrained'

const AUTHENTICATION_GROUP = 'authentication.k8s.io'

/** Where users and groups are of, and with which verb they are impersonated. */
const FORMS = {
  legacy: { apiGroups: [''], verbs: ['impersonate'] },
  constrained: { apiGroups: [AUTHENTICATION_GROUP], verbs: ['impersonate:user-info'] },
} as const satisfies Readonly<Record<ImpersonationForm, Pick<PolicyRule, 'apiGroups' | 'verbs'>>>

export const NO_NAMES: ImpersonatorNames = { users: [], groups: [] }

/** What stands in a role: its names, and whether it allows more than names (the owner's opt-out). */
export interface ImpersonatorList extends ImpersonatorNames {
  readonly isUnrestricted: boolean
  /** The role is of the constrained form, and of no other. */
  readonly isConstrained?: true
  /** Uids that the owner added to the role by hand, for `--as-uid`; mcm adds none. */
  readonly uids?: readonly string[]
  /** The same for `--as-user-extra`: values by key, in lower case. */
  readonly extras?: ReadonlyMap<string, readonly string[]>
}

/** The ClusterRole that may impersonate exactly these. @throws UsageError MCM_BAD_NAME a `system:`/`kube:` or empty name */
export function impersonatorRole(
  names: ImpersonatorNames,
  form: ImpersonationForm = 'legacy',
): ClusterRole {
  const users = sortedNames(names.users)
  const groups = sortedNames(names.groups)
  const named = [...namedRule('users', users, form), ...namedRule('groups', groups, form)]
  return { ...roleHead(), rules: [...named, sessionRule(form)] }
}

/**
 * The owner's opt-out `--impersonate any`: any user, so whoever holds the token is cluster-admin by
 * another name. Say so wherever the cluster is shown.
 */
export function unrestrictedImpersonatorRole(form: ImpersonationForm = 'legacy'): ClusterRole {
  const anybody = { ...FORMS[form], resources: ['users', 'groups'] }
  return { ...roleHead(), rules: [anybody, sessionRule(form)] }
}

/** What a role read from the API server lists. Any rule that is wider than names counts as unrestricted. */
export function readImpersonator(role: { readonly rules?: readonly PolicyRule[] | null }) {
  const rules = (role.rules ?? []).filter(mayImpersonate)
  const names = (resource: string) =>
    sorted(
      rules.filter((rule) => covers(rule, resource)).flatMap((rule) => rule.resourceNames ?? []),
    )
  const isWide = (rule: PolicyRule) => isWider(rule)
  const [uids, extras] = [names('uids'), extraValues(rules)]
  return {
    users: names('users'),
    groups: names('groups'),
    isUnrestricted: rules.some(isWide),
    ...(formOf(role) === 'constrained' ? { isConstrained: true } : {}),
    ...(uids.length > 0 ? { uids } : {}),
    ...(extras.size > 0 ? { extras } : {}),
  } satisfies ImpersonatorList
}

/** Of which form a role is. One that allows the legacy verb is legacy, whatever else it allows. */
export function formOf(role: { readonly rules?: readonly PolicyRule[] | null }): ImpersonationForm {
  const verbs = (role.rules ?? []).filter((rule) => covers(rule, 'users')).flatMap(verbsOf)
  const isLegacy = verbs.some((verb) => verb === 'impersonate' || verb === '*')
  return !isLegacy && verbs.includes('impersonate:user-info') ? 'constrained' : 'legacy'
}

/**
 * The role as it is, with other names or in another form: the rules for users, groups and our extra are
 * written anew, the owner's own rules stay and follow the form. The owner's opt-out stays one.
 * @throws UsageError MCM_BAD_NAME
 */
export function rewrittenRules(
  role: { readonly rules?: readonly PolicyRule[] | null },
  names: ImpersonatorNames,
  form: ImpersonationForm = formOf(role),
): PolicyRule[] {
  const isAny = readImpersonator(role).isUnrestricted
  if (isAny && form === formOf(role)) return [...(role.rules ?? [])]
  const written = isAny ? unrestrictedImpersonatorRole(form) : impersonatorRole(names, form)
  return [...written.rules, ...rulesBesides(role).map((rule) => inForm(rule, form))]
}

/**
 * The rules with one user more, at the end of the list and with everything else as it was: what the fence
 * (fence.ts) lets the agent write. Undefined where there is no list of users to put it into.
 */
export function withUserAppended(
  role: { readonly rules?: readonly PolicyRule[] | null },
  user: string,
): PolicyRule[] | undefined {
  const rules = role.rules ?? []
  const { verbs } = FORMS[formOf(role)]
  const index = rules.findIndex(
    (rule) =>
      rule.resources?.join() === 'users' &&
      rule.verbs.join() === verbs.join() &&
      (rule.resourceNames ?? []).length > 0,
  )
  const list = rules[index]
  if (list === undefined || isReservedName(user)) return undefined
  return rules.with(index, { ...list, resourceNames: [...(list.resourceNames ?? []), user] })
}

/** Rules of a role that are the owner's own: about anything but users, groups and our session extra. */
export function rulesBesides(role: { readonly rules?: readonly PolicyRule[] | null }) {
  const ours = ['users', 'groups', SESSION_RESOURCE]
  const isOurs = (rule: PolicyRule) => (rule.resources ?? []).every((each) => ours.includes(each))
  return (role.rules ?? []).filter((rule) => !isOurs(rule))
}

/** What the owner added for `--as-uid` and `--as-user-extra` has to speak the verb of the names. */
function inForm(rule: PolicyRule, form: ImpersonationForm): PolicyRule {
  const [verb] = FORMS[form].verbs
  const isOfEither = (each: string) => each === 'impersonate' || each === 'impersonate:user-info'
  if (!rule.verbs.some(isOfEither)) return rule
  const verbs = rule.verbs.map((each) => (isOfEither(each) ? verb : each))
  return { ...rule, verbs: [...new Set(verbs)] }
}

/** Both lists together, each name once, sorted. */
export function withNames(list: ImpersonatorNames, more: ImpersonatorNames): ImpersonatorNames {
  return {
    users: sortedNames([...list.users, ...more.users]),
    groups: sortedNames([...list.groups, ...more.groups]),
  }
}

/** The first list without the names of the second. */
export function withoutNames(list: ImpersonatorNames, gone: ImpersonatorNames): ImpersonatorNames {
  const without = (all: readonly string[], removed: readonly string[]) =>
    sorted(all.filter((name) => !removed.includes(name)))
  return { users: without(list.users, gone.users), groups: without(list.groups, gone.groups) }
}

function roleHead() {
  return {
    apiVersion: RBAC_VERSION,
    kind: 'ClusterRole',
    metadata: { name: IMPERSONATOR_NAME, labels: MANAGED_BY_MCM },
  } as const
}

function namedRule(
  resource: 'users' | 'groups',
  names: readonly string[],
  form: ImpersonationForm,
): PolicyRule[] {
  if (names.length === 0) return []
  const { apiGroups, verbs } = FORMS[form]
  return [{ apiGroups, resources: [resource], resourceNames: names, verbs }]
}

const EXTRAS = 'userextras/'
const SESSION_RESOURCE = EXTRAS + SESSION_EXTRA

/** The session extra carries no rights, and its value is new every time: the key alone is listed. */
function sessionRule(form: ImpersonationForm): PolicyRule {
  const { verbs } = FORMS[form]
  return { apiGroups: [AUTHENTICATION_GROUP], resources: [SESSION_RESOURCE], verbs }
}

/** `impersonate-on:…` names no identity: what may be done as one is the ceiling's matter. */
function mayImpersonate(rule: PolicyRule): boolean {
  return rule.verbs.some(
    (verb) =>
      verb === '*' || (verb.startsWith('impersonate') && !verb.startsWith('impersonate-on')),
  )
}

function verbsOf(rule: PolicyRule): readonly string[] {
  return rule.verbs
}

function covers(rule: PolicyRule, resource: string): boolean {
  return (rule.resources ?? []).some((covered) => covered === resource || covered === '*')
}

/** By key; a rule without names lists no value, so that nothing is allowed by leaving something out. */
function extraValues(rules: readonly PolicyRule[]): Map<string, readonly string[]> {
  const values = new Map<string, readonly string[]>()
  for (const { resources = [], resourceNames = [] } of rules)
    for (const resource of resources ?? []) {
      if (!resource.startsWith(EXTRAS) || resourceNames.length === 0) continue
      const key = resource.slice(EXTRAS.length)
      values.set(key, sorted([...(values.get(key) ?? []), ...resourceNames]))
    }
  return values
}

function isWider(rule: PolicyRule): boolean {
  const isOfExtras = rule.resources?.every((resource) => resource.startsWith(EXTRAS))
  if (isOfExtras) return false
  const isNamed = (rule.resourceNames ?? []).length > 0
  const isPlain = rule.resources?.every((resource) => NAMED.has(resource))
  return !isNamed || !isPlain
}

const NAMED: ReadonlySet<string> = new Set(['users', 'groups', 'uids'])

function sortedNames(names: readonly string[]): string[] {
  const bad = names.find((name) => name.trim() === '' || isReservedName(name))
  if (bad === undefined) return sorted(names)
  throw new UsageError('MCM_BAD_NAME', `${JSON.stringify(bad)} may not be impersonated`, {
    hint: 'name people and groups of mcm; system: and kube: names are Kubernetes’ own',
  })
}

function sorted(names: readonly string[]): string[] {
  return [...new Set(names)].sort()
}
