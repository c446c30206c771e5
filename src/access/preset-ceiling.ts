import { UsageError } from '../errors.ts'
import type { PolicyRule } from '../kube/rbac.ts'
import { type Ceiling, NO_CEILING } from './ceiling.ts'
import { groupsBesidesCore } from './preset-rules.ts'

/**
 * The ceilings that have a name. RBAC cannot say "everything but": where something of the core group is
 * left out, the rest of it is written resource by resource, and other API groups one by one.
 */

export const CEILINGS = ['read-only', 'no-exec', 'no-secrets'] as const
export type CeilingName = (typeof CEILINGS)[number]

/** One sentence for each, for people. */
export const CEILING_DESCRIPTIONS: Readonly<Record<CeilingName, string>> = {
  'read-only': 'nothing is changed, and nobody goes into a running container',
  'no-exec':
    'nobody goes into a running container or through it: exec, attach, port-forward, proxy',
  'no-secrets': 'nobody reads or writes Secrets',
}

/**
 * What is allowed below all of these at once; without any, everything but tokens of service accounts.
 * @param customGroups API groups of the cluster's custom resources; below a ceiling with a name those that
 *   come later are not allowed until it is set anew
 */
export function presetCeiling(
  names: readonly CeilingName[],
  customGroups: readonly string[] = [],
): Ceiling {
  const groups = groupsBesidesCore(customGroups)
  if (names.length === 0) return { name: NO_CEILING, rules: everything(groups) }
  const isReadOnly = names.includes('read-only')
  const without = new Set<string>([
    ...TOKENS,
    ...(isReadOnly || names.includes('no-exec') ? INTO_CONTAINERS : []),
    ...(names.includes('no-secrets') ? SECRETS : []),
  ])
  const verbs = isReadOnly ? ['get', 'list', 'watch'] : ['*']
  return {
    name: CEILINGS.filter((name) => names.includes(name)).join(','),
    rules: [
      { apiGroups: [''], resources: CORE_RESOURCES.filter((each) => !without.has(each)), verbs },
      { apiGroups: groups, resources: ['*'], verbs },
      { nonResourceURLs: ['*'], verbs: isReadOnly ? ['get', 'head', 'options'] : ['*'] },
    ],
  }
}

/** The names in a list such as `read-only,no-secrets`; undefined when it is none. `none` is an empty list. */
export function ceilingNames(text: string): CeilingName[] | undefined {
  if (text === NO_CEILING) return []
  const names = text.split(',')
  return names.every(isCeilingName) ? names : undefined
}

function isCeilingName(name: string): name is CeilingName {
  return CEILINGS.some((known) => known === name)
}

function everything(groups: readonly string[]): PolicyRule[] {
  return [
    { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
    // Subresources that are created by name exist outside the core group, too.
    { apiGroups: groups, resources: ['*'], verbs: ['create'] },
    { nonResourceURLs: ['*'], verbs: ['*'] },
  ]
}

/** A ceiling from rules that its owner wrote. @throws UsageError MCM_BAD_FILE it allows nothing */
export function ownCeiling(name: string, rules: readonly PolicyRule[]): Ceiling {
  if (rules.length > 0) return { name, rules }
  throw new UsageError('MCM_BAD_FILE', `the ceiling ${name} has no rules, so it allows nothing`)
}

const TOKENS = ['serviceaccounts/token'] as const
/** A GET of a node's proxy reads what its kubelet reads. */
const SECRETS = ['nodes/proxy', 'secrets'] as const
/** Streams by WebSocket are a GET, so reading is not enough of a limit. */
const INTO_CONTAINERS = [
  'nodes/proxy',
  'pods/attach',
  'pods/ephemeralcontainers',
  'pods/exec',
  'pods/portforward',
  'pods/proxy',
  'services/proxy',
] as const

/** All of the core group (Kubernetes 1.33–1.36; a test compares it with what real servers have). */
export const CORE_RESOURCES = [
  'bindings',
  'componentstatuses',
  'configmaps',
  'endpoints',
  'events',
  'limitranges',
  'namespaces',
  'namespaces/finalize',
  'namespaces/status',
  'nodes',
  'nodes/proxy',
  'nodes/status',
  'persistentvolumeclaims',
  'persistentvolumeclaims/status',
  'persistentvolumes',
  'persistentvolumes/status',
  'pods',
  'pods/attach',
  'pods/binding',
  'pods/ephemeralcontainers',
  'pods/eviction',
  'pods/exec',
  'pods/log',
  'pods/portforward',
  'pods/proxy',
  'pods/resize',
  'pods/status',
  'podtemplates',
  'replicationcontrollers',
  'replicationcontrollers/scale',
  'replicationcontrollers/status',
  'resourcequotas',
  'resourcequotas/status',
  'secrets',
  'serviceaccounts',
  'serviceaccounts/token',
  'services',
  'services/proxy',
  'services/status',
] as const
