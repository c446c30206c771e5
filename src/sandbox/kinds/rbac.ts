/** Roles and bindings (kubernetes `pkg/apis/rbac/validation/validation.go`, `v1/defaults.go`). */
import {
  isSameJson,
  type Json,
  type JsonObject,
  type KubeObject,
  listAt,
  textAt,
  textsAt,
} from '../json.ts'
import { invalidValue, nameProblems, notSupported, requiredValue } from '../objects/names.ts'
import type { Cause } from '../refusals.ts'
import type { KindRules } from './kind-rules.ts'

const GROUP = 'rbac.authorization.k8s.io'

export const roleRules: KindRules = {
  isCreatedByUpdate: true,
  withDefaults: (role) => ({ ...role, rules: role.rules ?? null }),
  problems: (role) =>
    listAt(role, 'rules').flatMap((one, index) =>
      ruleProblems(one, `rules[${index}]`, role.metadata.namespace !== undefined),
    ),
}

export const bindingRules: KindRules = {
  isCreatedByUpdate: true,
  withDefaults: (binding) => {
    const subjects = listAt(binding, 'subjects').map(subjectDefaults)
    const roleRef = { apiGroup: GROUP, ...((binding.roleRef ?? {}) as JsonObject) }
    return { ...binding, ...(subjects.length > 0 && { subjects }), roleRef }
  },
  problems: (binding) => [...roleRefProblems(binding), ...subjectProblems(binding)],
  updateProblems: (binding, old) =>
    isSameJson(binding.roleRef, old.roleRef)
      ? []
      : [invalidValue('roleRef', goRoleRef(binding), 'cannot change roleRef')],
}

/** As Go prints the internal type. */
function goRoleRef(binding: KubeObject): JsonObject {
  const text = (key: string) => textAt(binding, 'roleRef', key)
  return { APIGroup: text('apiGroup'), Kind: text('kind'), Name: text('name') }
}

function subjectDefaults(value: Json): JsonObject {
  const subject = value as JsonObject
  const isAccount = subject.kind === 'ServiceAccount'
  return isAccount || textAt(subject, 'apiGroup') !== '' ? subject : { ...subject, apiGroup: GROUP }
}

function ruleProblems(rule: Json, path: string, isNamespaced: boolean): readonly Cause[] {
  const has = (key: string) => textsAt(rule, key).length > 0
  const verbs = has('verbs')
    ? []
    : [requiredValue(`${path}.verbs`, 'verbs must contain at least one value')]
  if (has('nonResourceURLs')) return [...verbs, ...urlProblems(rule, path, isNamespaced)]
  const groups = has('apiGroups')
    ? []
    : [requiredValue(`${path}.apiGroups`, 'resource rules must supply at least one api group')]
  const resources = has('resources')
    ? []
    : [requiredValue(`${path}.resources`, 'resource rules must supply at least one resource')]
  return [...verbs, ...groups, ...resources]
}

function urlProblems(rule: Json, path: string, isNamespaced: boolean): readonly Cause[] {
  const urls = textsAt(rule, 'nonResourceURLs')
  const at = (problem: string) => invalidValue(`${path}.nonResourceURLs`, urls, problem)
  const mixed = ['apiGroups', 'resources', 'resourceNames'].some(
    (key) => textsAt(rule, key).length > 0,
  )
  return [
    ...(isNamespaced ? [at('namespaced rules cannot apply to non-resource URLs')] : []),
    ...(mixed ? [at('rules cannot apply to both regular resources and non-resource URLs')] : []),
  ]
}

function roleRefProblems(binding: KubeObject): readonly Cause[] {
  const [group, kind, name] = ['apiGroup', 'kind', 'name'].map((key) =>
    textAt(binding, 'roleRef', key),
  )
  const kinds = binding.kind === 'RoleBinding' ? ['Role', 'ClusterRole'] : ['ClusterRole']
  return [
    ...(group === GROUP ? [] : [notSupported('roleRef.apiGroup', group, [GROUP])]),
    ...(kinds.includes(kind!) ? [] : [notSupported('roleRef.kind', kind, kinds)]),
    ...(name === ''
      ? [requiredValue('roleRef.name')]
      : nameProblems(name!, 'pathSegment').map((problem) =>
          invalidValue('roleRef.name', name, problem),
        )),
  ]
}

function subjectProblems(binding: KubeObject): readonly Cause[] {
  const isNamespaced = binding.kind === 'RoleBinding'
  return listAt(binding, 'subjects').flatMap((one, index) =>
    problemsOfSubject(one, `subjects[${index}]`, isNamespaced),
  )
}

function problemsOfSubject(subject: Json, path: string, isNamespaced: boolean): readonly Cause[] {
  const [kind, name, group] = ['kind', 'name', 'apiGroup'].map((key) => textAt(subject, key))
  if (name === '') return [requiredValue(`${path}.name`)]
  const hasNamespace = textAt(subject, 'namespace') !== ''
  switch (kind) {
    case 'ServiceAccount':
      return [
        ...nameProblems(name!, 'subdomain').map((problem) =>
          invalidValue(`${path}.name`, name, problem),
        ),
        ...(group === '' ? [] : [notSupported(`${path}.apiGroup`, group, [''])]),
        ...(isNamespaced || hasNamespace ? [] : [requiredValue(`${path}.namespace`)]),
      ]
    case 'User':
    case 'Group':
      return group === GROUP ? [] : [notSupported(`${path}.apiGroup`, group, [GROUP])]
    default:
      return [notSupported(`${path}.kind`, kind, ['ServiceAccount', 'User', 'Group'])]
  }
}
