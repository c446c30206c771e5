import type { ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding } from '../kube/rbac.ts'
import { GRANT_ANNOTATION, NICKNAME_ANNOTATION } from './label.ts'

/** Whether an object in a cluster is as mcm would write it: by the fields that mcm writes, and no others. */

export type Binding = RoleBinding | ClusterRoleBinding

/** What differs of a binding, in the words of its fields. */
export function bindingDiffers(wanted: Binding, found: Binding): string[] {
  const annotation = (binding: Binding, name: string) => binding.metadata.annotations?.[name]
  const differs = (name: string) => annotation(wanted, name) !== annotation(found, name)
  return [
    ...(isSame(wanted.roleRef, found.roleRef) ? [] : ['roleRef']),
    ...(isSame(wanted.subjects, found.subjects ?? []) ? [] : ['subjects']),
    ...labelsDiffer(wanted.metadata.labels, found.metadata.labels),
    ...(differs(GRANT_ANNOTATION) || differs(NICKNAME_ANNOTATION) ? ['annotations'] : []),
  ]
}

/** The same of a role. */
export function roleDiffers(wanted: ClusterRole, found: ClusterRole): string[] {
  const annotations = Object.entries(wanted.metadata.annotations ?? {})
  const isDescribed = annotations.every(
    ([key, value]) => found.metadata.annotations?.[key] === value,
  )
  return [
    ...(isSame(canonical(wanted.rules), canonical(found.rules ?? [])) ? [] : ['rules']),
    ...labelsDiffer(wanted.metadata.labels, found.metadata.labels),
    ...(isDescribed ? [] : ['annotations']),
  ]
}

function labelsDiffer(
  wanted: Readonly<Record<string, string>> = {},
  found: Readonly<Record<string, string>> = {},
): string[] {
  return Object.entries(wanted).every(([key, value]) => found[key] === value) ? [] : ['labels']
}

/** Within a rule no order means anything. */
function canonical(rules: readonly PolicyRule[]): unknown[] {
  const list = (words: readonly string[] | undefined | null) => [...(words ?? [])].sort()
  return rules.map((rule) => [
    list(rule.apiGroups),
    list(rule.resources),
    list(rule.resourceNames),
    list(rule.nonResourceURLs),
    list(rule.verbs),
  ])
}

/** Members in whatever order the API server sends them. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b) || sortedJson(a) === sortedJson(b)
}

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([x], [y]) => (x < y ? -1 : 1)))
      : each,
  )
}
