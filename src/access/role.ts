/**
 * The preset roles: ClusterRoles that a grant may name. `admin`, `ops`, `dev` and `ro` are for all
 * namespaces, `ns-dev` and `ns-ro` for one. Invariant: no preset allows `nodes/proxy` or
 * `serviceaccounts/token`, none allows `get` on `pods/exec` without `create`, and only `admin` may
 * write RBAC. Who needs more is granted another ClusterRole, such as Kubernetes' `cluster-admin`.
 */

import { UsageError } from '../errors.ts'
import type { ClusterRole, PolicyRule } from '../kube/rbac.ts'
import { RBAC_VERSION } from '../kube/rbac.ts'
import { isReservedName } from '../kube/reserved-name.ts'
import {
  DESCRIPTION_ANNOTATION,
  labelValue,
  MANAGED_BY_LABEL,
  MANAGED_BY_MCM,
  ROLE_LABEL,
} from './label.ts'
import { administrationRules, operationRules, readRules, workRules } from './preset-rules.ts'

const PRESET_PREFIX = 'mcm:'

/** Short names, widest first. As ClusterRoles they are called `mcm:<name>`. */
export const PRESETS = ['admin', 'ops', 'dev', 'ro', 'ns-dev', 'ns-ro'] as const
export type Preset = (typeof PRESETS)[number]

/** One sentence for each, for people. */
export const PRESET_DESCRIPTIONS: Readonly<Record<Preset, string>> = {
  admin: 'everything in all namespaces, nodes, volumes, namespaces, quotas, users and permissions',
  ops: 'read and write workloads in all namespaces, nodes, volumes, namespaces and quotas',
  dev: 'read and write workloads in all namespaces',
  ro: 'read workloads in all namespaces, without Secrets',
  'ns-dev': 'read and write workloads in one namespace',
  'ns-ro': 'read workloads in one namespace, without Secrets',
}

/** Whether a role, short or whole, is a preset. */
export function presetOf(role: string): Preset | undefined {
  const short = role.startsWith(PRESET_PREFIX) ? role.slice(PRESET_PREFIX.length) : role
  return PRESETS.find((preset) => preset === short)
}

/** Whether a preset is meant for one namespace and must not be bound for all of them. */
export function isNamespacePreset(role: string): boolean {
  return presetOf(role)?.startsWith('ns-') ?? false
}

/**
 * The name of the ClusterRole: `mcm:dev` for `dev`, any other name as it is.
 * @throws UsageError MCM_BAD_NAME a name that cannot be a ClusterRole's, or a preset that does not exist
 */
export function clusterRoleName(role: string): string {
  const preset = presetOf(role)
  if (preset) return PRESET_PREFIX + preset
  const isOurs = role.startsWith(PRESET_PREFIX)
  const isPathSegment = !['', '.', '..'].includes(role) && !/[/%\s\u0000-\u001f]/.test(role)
  if (!isOurs && isPathSegment && role.length <= 253) return role
  throw new UsageError('MCM_BAD_NAME', `role ${JSON.stringify(role)} cannot be used`, {
    hint: `use one of ${PRESETS.join(', ')}, or the name of a ClusterRole of the cluster`,
  })
}

/** The ClusterRoles of all presets. `customGroups`: API groups of the cluster's custom resources, for `mcm:admin`. */
export function presetRoles(customGroups: readonly string[] = []): ClusterRole[] {
  return PRESETS.map((preset) => presetRole(preset, customGroups))
}

/** The ClusterRole of one preset. */
export function presetRole(preset: Preset, customGroups: readonly string[] = []): ClusterRole {
  return {
    apiVersion: RBAC_VERSION,
    kind: 'ClusterRole',
    metadata: {
      name: PRESET_PREFIX + preset,
      labels: { ...MANAGED_BY_MCM, [ROLE_LABEL]: preset },
      annotations: { [DESCRIPTION_ANNOTATION]: PRESET_DESCRIPTIONS[preset] },
    },
    rules: rulesOf(preset, customGroups),
  }
}

/** Whether a name may be that of a role of the owner's own: neither a preset's, the agent's nor Kubernetes' own. */
export function isOwnRoleName(name: string): boolean {
  const isTaken = presetOf(name) !== undefined || OF_AGENT.test(name) || OF_KUBERNETES.has(name)
  return OWN_ROLE_NAME.test(name) && !isTaken && !isReservedName(name)
}

/** Whether it is one that the agent lives by: whoever had it could act as everybody who is listed. */
export function isAgentRole(name: string): boolean {
  return OF_AGENT.test(name)
}

/** What the agent lives by (agent-rights.ts, fence.ts), and what will be called alike. */
const OF_AGENT = /^mcm-(agent|impersonator|ceiling)/
/** Those that Kubernetes makes without a prefix; `admin` is a preset's name anyway. */
const OF_KUBERNETES: ReadonlySet<string> = new Set(['cluster-admin', 'admin', 'edit', 'view'])
const BOOTSTRAPPING_LABEL = 'kubernetes.io/bootstrapping'

/** A letter or digit first, so that no shell and no path takes it for anything else. */
const OWN_ROLE_NAME = /^(?!mcm:)[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$/

/** A role of the owner's own, as the ClusterRole of that name. */
export function ownRole(
  name: string,
  rules: readonly PolicyRule[],
  description?: string,
): ClusterRole {
  const labels = { ...MANAGED_BY_MCM, [ROLE_LABEL]: labelValue(name) }
  const annotations =
    description === undefined ? {} : { annotations: { [DESCRIPTION_ANNOTATION]: description } }
  const metadata = { name, labels, ...annotations }
  return { apiVersion: RBAC_VERSION, kind: 'ClusterRole', metadata, rules }
}

/**
 * Whether a ClusterRole is such a role, so that mcm may change and delete it. Labels alone prove nothing: who may
 * patch a role may give it any, so it must have a name as well that mcm would have made it by.
 */
export function isOwnRole({ metadata }: Pick<ClusterRole, 'metadata'>): boolean {
  const { name, labels } = metadata
  const isOurs = labels?.[MANAGED_BY_LABEL] === MANAGED_BY_MCM[MANAGED_BY_LABEL]
  const isOfKubernetes = labels?.[BOOTSTRAPPING_LABEL] !== undefined
  return isOurs && labels?.[ROLE_LABEL] !== undefined && !isOfKubernetes && isOwnRoleName(name)
}

function rulesOf(preset: Preset, customGroups: readonly string[]): PolicyRule[] {
  switch (preset) {
    case 'admin':
      return [...workRules(), ...operationRules(), ...administrationRules(customGroups)]
    case 'ops':
      return [...workRules(), ...operationRules()]
    case 'dev':
    case 'ns-dev':
      return workRules()
    case 'ro':
    case 'ns-ro':
      return readRules()
  }
}
