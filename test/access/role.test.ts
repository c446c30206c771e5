import { describe, expect, it } from 'vitest'
import {
  clusterRoleName,
  isNamespacePreset,
  isOwnRole,
  isOwnRoleName,
  ownRole,
  PRESETS,
  presetRole,
  presetRoles,
} from '../../src/access/role.ts'
import type { PolicyRule } from '../../src/kube/rbac.ts'

/** RBAC's own rule (kubernetes `pkg/apis/rbac/v1/evaluation_helpers.go`), for one resource request. */
function allows(rules: readonly PolicyRule[], verb: string, group: string, resource: string) {
  const [, subresource] = resource.split('/')
  return rules.some(
    (rule) =>
      [verb, '*'].some((wanted) => rule.verbs.includes(wanted)) &&
      [group, '*'].some((wanted) => rule.apiGroups?.includes(wanted)) &&
      [resource, '*', `*/${subresource ?? ''}`].some((wanted) => rule.resources?.includes(wanted)),
  )
}

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection']

describe.each(PRESETS)('preset %s', (preset) => {
  const { rules, metadata } = presetRole(preset, ['example.org'])

  it('is found by its labels', () => {
    expect(metadata.name).toBe(`mcm:${preset}`)
    expect(metadata.labels).toEqual({
      'app.kubernetes.io/managed-by': 'mcm',
      'mcm.dev/role': preset,
    })
  })

  it('opens no way around RBAC: no nodes/proxy, no tokens of service accounts, no impersonation', () => {
    for (const verb of VERBS) {
      expect(allows(rules, verb, '', 'nodes/proxy')).toBe(false)
      expect(allows(rules, verb, '', 'serviceaccounts/token')).toBe(false)
    }
    for (const resource of ['users', 'groups', 'serviceaccounts']) {
      expect(allows(rules, 'impersonate', '', resource)).toBe(false)
      expect(allows(rules, 'impersonate:user-info', 'authentication.k8s.io', resource)).toBe(false)
    }
  })

  it('never allows to get a stream of a pod without creating it', () => {
    for (const stream of ['pods/exec', 'pods/attach', 'pods/portforward'])
      expect(allows(rules, 'get', '', stream)).toBe(allows(rules, 'create', '', stream))
  })

  it('writes RBAC, binds and escalates only as admin', () => {
    const isAdmin = preset === 'admin'
    for (const resource of ['roles', 'clusterroles']) {
      expect(allows(rules, 'bind', 'rbac.authorization.k8s.io', resource)).toBe(isAdmin)
      expect(allows(rules, 'escalate', 'rbac.authorization.k8s.io', resource)).toBe(isAdmin)
    }
    for (const resource of ['rolebindings', 'clusterrolebindings', 'roles', 'clusterroles'])
      for (const verb of ['create', 'update', 'patch', 'delete'])
        expect(allows(rules, verb, 'rbac.authorization.k8s.io', resource)).toBe(isAdmin)
  })

  it('has no wildcard for verbs or API groups', () => {
    expect(rules.filter((rule) => rule.verbs.includes('*'))).toEqual([])
    expect(rules.filter((rule) => rule.apiGroups?.includes('*'))).toEqual([])
  })
})

describe('what presets are for', () => {
  const rulesOf = (preset: (typeof PRESETS)[number]) => presetRole(preset).rules

  it.each(['ro', 'ns-ro'] as const)('%s only reads, and no Secrets', (preset) => {
    const verbs = new Set(rulesOf(preset).flatMap((rule) => rule.verbs))
    expect([...verbs].sort()).toEqual(['get', 'list', 'watch'])
    expect(allows(rulesOf(preset), 'get', '', 'secrets')).toBe(false)
    expect(allows(rulesOf(preset), 'get', '', 'pods/log')).toBe(true)
    expect(allows(rulesOf(preset), 'list', 'apps', 'deployments')).toBe(true)
  })

  it.each(['dev', 'ns-dev'] as const)('%s works with workloads, not with nodes', (preset) => {
    expect(allows(rulesOf(preset), 'create', 'apps', 'deployments')).toBe(true)
    expect(allows(rulesOf(preset), 'create', '', 'pods/exec')).toBe(true)
    expect(allows(rulesOf(preset), 'update', '', 'resourcequotas')).toBe(false)
    expect(allows(rulesOf(preset), 'get', '', 'nodes')).toBe(false)
  })

  it('ops operates nodes, volumes, namespaces and quotas', () => {
    for (const resource of ['nodes', 'persistentvolumes', 'namespaces', 'resourcequotas'])
      expect(allows(rulesOf('ops'), 'patch', '', resource)).toBe(true)
    expect(allows(rulesOf('ops'), 'create', '', 'pods/eviction')).toBe(true)
  })

  it('admin has the custom resources it is told of, and a wildcard cannot come in that way', () => {
    const { rules } = presetRole('admin', ['example.org', '*', '', 'core', 'a.b/../c'])
    expect(allows(rules, 'create', 'example.org', 'widgets')).toBe(true)
    expect(allows(rules, 'create', 'elsewhere.org', 'widgets')).toBe(false)
    expect(rules.some((rule) => rule.apiGroups?.includes('*'))).toBe(false)
    const wildcards = rules.filter((rule) => rule.resources?.includes('*'))
    expect(wildcards.some((rule) => rule.apiGroups?.includes(''))).toBe(false)
  })

  it('there is one ClusterRole for each', () => {
    const names = PRESETS.map((preset) => `mcm:${preset}`)
    expect(presetRoles().map((role) => role.metadata.name)).toEqual(names)
  })
})

describe('clusterRoleName', () => {
  it('knows presets by short and whole name, and passes the owner’s own roles', () => {
    expect(clusterRoleName('ns-dev')).toBe('mcm:ns-dev')
    expect(clusterRoleName('mcm:ns-dev')).toBe('mcm:ns-dev')
    expect(clusterRoleName('cluster-admin')).toBe('cluster-admin')
    expect(clusterRoleName('system:aggregate-to-view')).toBe('system:aggregate-to-view')
  })

  it.each(['', '.', '..', 'a/b', 'a%b', 'mcm:nothing', 'a b'])('refuses %j', (role) => {
    expect(() => clusterRoleName(role)).toThrow('cannot be used')
  })

  it('tells presets for one namespace from the others', () => {
    expect(isNamespacePreset('mcm:ns-ro')).toBe(true)
    expect(isNamespacePreset('ro')).toBe(false)
    expect(isNamespacePreset('ns-own')).toBe(false)
  })
})

describe('isOwnRole', () => {
  const labelled = (name: string, more = {}) => {
    const role = ownRole(name, [])
    return { ...role, metadata: { ...role.metadata, labels: { ...role.metadata.labels, ...more } } }
  }

  it('is one that mcm made of a declared role', () => {
    expect(isOwnRole(labelled('pod-dev'))).toBe(true)
    expect(isOwnRole({ metadata: { name: 'pod-dev' } })).toBe(false)
  })

  it.each([
    ...['cluster-admin', 'view', 'edit', 'system:discovery', 'mcm:dev'],
    ...['mcm-impersonator', 'mcm-ceiling', 'mcm-agent', 'mcm-agent-impersonator-reader'],
    'mcm-agent-names',
  ])('is not %s, whoever labelled it, and nobody declares a role of that name', (name) => {
    expect(isOwnRole(labelled(name))).toBe(false)
    expect(isOwnRoleName(name)).toBe(false)
  })

  it('is not what Kubernetes brought', () => {
    const bootstrapped = { 'kubernetes.io/bootstrapping': 'rbac-defaults' }
    expect(isOwnRole(labelled('anything', bootstrapped))).toBe(false)
  })
})
