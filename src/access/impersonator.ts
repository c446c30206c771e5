/**
 * The ClusterRole of the service account that speaks for people. It lists every user and group by
 * name: whoever steals that token can act as those and nobody else. Invariant: there is never a rule
 * for users or groups without names, because such a rule would allow all of them.
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

export const NO_NAMES: ImpersonatorNames = { users: [], groups: [] }

/** What stands in a role: its names, and whether it allows more than names (the owner's opt-out). */
export interface ImpersonatorList extends ImpersonatorNames {
  readonly isUnrestricted: boolean
  /** Uids that the owner added to the role by hand, for `--as-uid`; mcm adds none. */
  readonly uids?: readonly string[]
  /** The same for `--as-user-extra`: values by key, in lower case. */
  readonly extras?: ReadonlyMap<string, readonly string[]>
}

/** The ClusterRole that may impersonate exactly these. @throws UsageError MCM_BAD_NAME a `system:`/`kube:` or empty name */
export function impersonatorRole(names: ImpersonatorNames): ClusterRole {
  const users = sortedNames(names.users)
  const groups = sortedNames(names.groups)
  return {
    ...roleHead(),
    rules: [...namedRule('users', users), ...namedRule('groups', groups), sessionRule()],
  }
}

/**
 * The owner's opt-out `--impersonate any`: any user, so whoever holds the token is cluster-admin by
 * another name. Say so wherever the cluster is shown.
 */
export function unrestrictedImpersonatorRole(): ClusterRole {
  const anybody = { apiGroups: [''], resources: ['users', 'groups'], verbs: ['impersonate'] }
  return { ...roleHead(), rules: [anybody, sessionRule()] }
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
    ...(uids.length > 0 ? { uids } : {}),
    ...(extras.size > 0 ? { extras } : {}),
  } satisfies ImpersonatorList
}

/** Rules of a role that are the owner's own: about anything but users, groups and our session extra. */
export function rulesBesides(role: { readonly rules?: readonly PolicyRule[] | null }) {
  const ours = ['users', 'groups', SESSION_RESOURCE]
  const isOurs = (rule: PolicyRule) => (rule.resources ?? []).every((each) => ours.includes(each))
  return (role.rules ?? []).filter((rule) => !isOurs(rule))
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

function namedRule(resource: 'users' | 'groups', names: readonly string[]): PolicyRule[] {
  if (names.length === 0) return []
  return [{ apiGroups: [''], resources: [resource], resourceNames: names, verbs: ['impersonate'] }]
}

const EXTRAS = 'userextras/'
const SESSION_RESOURCE = EXTRAS + SESSION_EXTRA

/** The session extra carries no rights, and its value is new every time: the key alone is listed. */
function sessionRule(): PolicyRule {
  return {
    apiGroups: ['authentication.k8s.io'],
    resources: [SESSION_RESOURCE],
    verbs: ['impersonate'],
  }
}

function mayImpersonate(rule: PolicyRule): boolean {
  return rule.verbs.some((verb) => verb === '*' || verb.startsWith('impersonate'))
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
