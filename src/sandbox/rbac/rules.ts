/** Policy rules: what one allows (kubernetes `pkg/apis/rbac/v1/evaluation_helpers.go`). */
import { type Json, textsAt } from '../json.ts'
import type { Attributes } from './attributes.ts'

export interface Rule {
  readonly verbs: readonly string[]
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames: readonly string[]
  readonly nonResourceURLs: readonly string[]
}

export function readRule(value: Json): Rule {
  const list = (key: string) => textsAt(value, key)
  return {
    verbs: list('verbs'),
    apiGroups: list('apiGroups'),
    resources: list('resources'),
    resourceNames: list('resourceNames'),
    nonResourceURLs: list('nonResourceURLs'),
  }
}

export function ruleAllows(rule: Rule, asked: Attributes): boolean {
  if (!hasOrAll(rule.verbs, asked.verb)) return false
  if (!asked.isResourceRequest)
    return rule.nonResourceURLs.some((url) => urlMatches(url, asked.path))
  return (
    hasOrAll(rule.apiGroups, asked.apiGroup) &&
    resourceMatches(rule.resources, asked.resource, asked.subresource) &&
    (rule.resourceNames.length === 0 || rule.resourceNames.includes(asked.name))
  )
}

/** Exact, `*`, or a prefix before a last `*`. */
export function urlMatches(pattern: string, path: string): boolean {
  if (pattern === '*' || pattern === path) return true
  return pattern.endsWith('*') && path.startsWith(pattern.replace(/\*+$/, ''))
}

function hasOrAll(list: readonly string[], wanted: string): boolean {
  return list.includes('*') || list.includes(wanted)
}

/** `*`, the resource with its subresource, or `*` + `/subresource`; never `resource/*`. */
function resourceMatches(list: readonly string[], resource: string, subresource: string): boolean {
  const whole = subresource === '' ? resource : `${resource}/${subresource}`
  if (hasOrAll(list, whole)) return true
  return subresource !== '' && list.includes(`*/${subresource}`)
}
