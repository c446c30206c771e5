import { describe, expect, it } from 'vitest'
import type { ManifestOptions } from '../../src/access/manifest.ts'
import { agentManifest } from '../../src/access/manifest.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'
import { Secret } from '../../src/secret.ts'

const OPTIONS: ManifestOptions = {
  cluster: 'c-aaaaaaaaaa',
  hub: { endpoints: ['hub.example.org:8443'], pin: 'p'.repeat(43) },
  fleet: 'f'.repeat(43),
  joinToken: new Secret('join'),
  pairingSecret: new Secret('pairing'),
  prefix: 'mcm:',
  owner: 'alice',
  workload: { image: 'docker.io/library/mcm-agent:1' },
}

// biome-ignore lint/suspicious/noExplicitAny: objects are compared by path here, as kubectl would show them
function find(objects: readonly KubernetesObject[], kind: string, name: string): any {
  const found = objects.filter((object) => object.kind === kind && object.metadata.name === name)
  expect(found, `${kind} ${name}`).toHaveLength(1)
  return found[0]
}

describe('agentManifest', () => {
  const objects = agentManifest(OPTIONS)

  it('is in an order in which it can be created', () => {
    const kinds = objects.map((object) => object.kind)
    expect(kinds[0]).toBe('Namespace')
    expect(kinds.indexOf('ServiceAccount')).toBeLessThan(kinds.indexOf('RoleBinding'))
    expect(kinds.at(-3)).toBe('Deployment')
  })

  it('marks everything as kept by mcm', () => {
    for (const { metadata } of objects)
      expect(metadata.labels?.['app.kubernetes.io/managed-by']).toBe('mcm')
  })

  it('touches no namespace but its own', () => {
    const namespaces = objects.flatMap(({ metadata }) => metadata.namespace ?? [])
    expect(new Set(namespaces)).toEqual(new Set(['mcm-system']))
  })

  it('gives the configuration to the agent as a Secret', () => {
    const { data } = find(objects, 'Secret', 'mcm-agent')
    const texts = Object.entries<string>(data).map(([key, value]) => [key, atob(value)])
    expect(Object.fromEntries(texts)).toEqual({
      'hub.json': JSON.stringify(OPTIONS.hub),
      cluster: 'c-aaaaaaaaaa',
      fleet: 'f'.repeat(43),
      joinToken: 'join',
      pairingSecret: 'pairing',
      prefix: 'mcm:',
    })
  })

  it('carries no secret anywhere else, not even hashed', () => {
    const rest = objects.filter((object) => object.kind !== 'Secret')
    expect(JSON.stringify(rest)).not.toMatch(/join|pairing/)
    const otherToken = agentManifest({ ...OPTIONS, joinToken: new Secret('other') })
    expect(otherToken.filter((object) => object.kind !== 'Secret')).toEqual(rest)
  })

  it('lists the owner for the impersonator and binds them to mcm:admin', () => {
    const { rules } = find(objects, 'ClusterRole', 'mcm-impersonator')
    expect(rules[0]).toMatchObject({ resources: ['users'], resourceNames: ['mcm:alice'] })
    const binding = objects.find(
      ({ kind, metadata }) => kind === 'ClusterRoleBinding' && metadata.name.includes('alice'),
    )
    expect(binding).toMatchObject({
      roleRef: { name: 'mcm:admin' },
      subjects: [{ kind: 'User', name: 'mcm:alice' }],
    })
  })

  it('forgets nobody when a cluster is registered again', () => {
    const listed = { users: ['mcm:bob'], groups: ['mcm:dev'] }
    const again = agentManifest({ ...OPTIONS, listed })
    const { rules } = find(again, 'ClusterRole', 'mcm-impersonator')
    expect(rules[0].resourceNames).toEqual(['mcm:alice', 'mcm:bob'])
    expect(rules[1].resourceNames).toEqual(['mcm:dev'])
  })

  it('lets the agent neither impersonate nor delete, and mint one account’s tokens only', () => {
    const { rules } = find(objects, 'Role', 'mcm-agent')
    const verbs = rules.flatMap((rule: { verbs: string[] }) => rule.verbs)
    expect(verbs).not.toContain('impersonate')
    expect(verbs).not.toContain('delete')
    expect(rules).toContainEqual({
      apiGroups: [''],
      resources: ['serviceaccounts/token'],
      resourceNames: ['mcm-impersonator'],
      verbs: ['create'],
    })
  })

  it('refuses a name or prefix of Kubernetes', () => {
    expect(() => agentManifest({ ...OPTIONS, owner: 'system:admin' })).toThrow('cannot be used')
    expect(() => agentManifest({ ...OPTIONS, prefix: 'system:' })).toThrow('cannot be used')
  })
})

describe('the agent’s pod', () => {
  const { spec } = find(agentManifest(OPTIONS), 'Deployment', 'mcm-agent')
  const pod = spec.template.spec
  const [container] = pod.containers

  it('passes the Pod Security Standard restricted', () => {
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    expect(pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC).toBeUndefined()
  })

  it('gets a short-lived token by projection and none by itself', () => {
    expect(pod.automountServiceAccountToken).toBe(false)
    const [token] = pod.volumes.find(({ name }: { name: string }) => name === 'token').projected
      .sources
    expect(token).toEqual({ serviceAccountToken: { path: 'token', expirationSeconds: 3600 } })
  })

  it('asks for the API server’s own audience where it is told one', () => {
    const workload = { image: 'i', apiAudience: 'https://api.example.org' }
    const told = find(agentManifest({ ...OPTIONS, workload }), 'Deployment', 'mcm-agent')
    expect(JSON.stringify(told)).toContain('"audience":"https://api.example.org"')
  })

  it('runs twice, apart, and one of them stays through a drain', () => {
    expect(spec.replicas).toBe(2)
    expect(pod.topologySpreadConstraints[0].topologyKey).toBe('kubernetes.io/hostname')
    const budget = find(agentManifest(OPTIONS), 'PodDisruptionBudget', 'mcm-agent')
    expect(budget.spec.minAvailable).toBe(1)
  })

  it('cannot be dialled', () => {
    const { spec: policy } = find(agentManifest(OPTIONS), 'NetworkPolicy', 'mcm-agent')
    expect(policy.policyTypes).toEqual(['Ingress'])
    expect(policy).not.toHaveProperty('ingress')
  })

  it('is replaced when the hub’s endpoints change', () => {
    const hub = { ...OPTIONS.hub, endpoints: ['other.example.org:8443'] }
    const moved = find(agentManifest({ ...OPTIONS, hub }), 'Deployment', 'mcm-agent')
    expect(moved.spec.template.metadata.annotations).not.toEqual(spec.template.metadata.annotations)
  })
})

it('hands the maximum age of the directory to the agent, beside its other arguments', () => {
  const workload = { ...OPTIONS.workload!, directoryMaximumAge: '7d' }
  const { spec } = find(agentManifest({ ...OPTIONS, workload }), 'Deployment', 'mcm-agent')
  expect(spec.template.spec.containers[0].args).toEqual(['--directory-max-age=7d'])
})

describe('the direct address', () => {
  const direct = { service: 'LoadBalancer', sessions: 443, enrolment: 8443 } as const
  const workload = { ...OPTIONS.workload!, direct }
  const objects = agentManifest({ ...OPTIONS, workload })

  it('is listened on in the pod, by its two ports', () => {
    const { spec } = find(objects, 'Deployment', 'mcm-agent')
    const [container] = spec.template.spec.containers
    expect(container.args).toEqual(['--direct-listen=:9443,9444'])
    expect(container.ports).toEqual([
      { name: 'health', containerPort: 8081 },
      { name: 'sessions', containerPort: 9443, protocol: 'TCP' },
      { name: 'enrolment', containerPort: 9444, protocol: 'TCP' },
    ])
  })

  it('lets in what goes to these two ports and nothing else', () => {
    const { spec } = find(objects, 'NetworkPolicy', 'mcm-agent')
    expect(spec.policyTypes).toEqual(['Ingress'])
    expect(spec.ingress).toEqual([
      {
        ports: [
          { protocol: 'TCP', port: 9443 },
          { protocol: 'TCP', port: 9444 },
        ],
      },
    ])
  })

  it('has a Service that also leads to agents that are not ready, as without a hub they all are', () => {
    const { spec } = find(objects, 'Service', 'mcm-agent')
    expect(spec).toEqual({
      type: 'LoadBalancer',
      selector: { 'app.kubernetes.io/name': 'mcm-agent' },
      publishNotReadyAddresses: true,
      externalTrafficPolicy: 'Local',
      ports: [
        { name: 'sessions', protocol: 'TCP', port: 443, targetPort: 'sessions' },
        { name: 'enrolment', protocol: 'TCP', port: 8443, targetPort: 'enrolment' },
      ],
    })
  })

  it('is at the nodes’ own ports where a node port was asked for', () => {
    const nodePort = { service: 'NodePort', sessions: 30443, enrolment: 30444 } as const
    const other = agentManifest({ ...OPTIONS, workload: { ...workload, direct: nodePort } })
    const { spec } = find(other, 'Service', 'mcm-agent')
    expect(spec).not.toHaveProperty('externalTrafficPolicy')
    expect(spec.ports.map((port: { nodePort: number }) => port.nodePort)).toEqual([30443, 30444])
  })

  it('is nowhere in a manifest without one', () => {
    const plain = agentManifest(OPTIONS)
    expect(plain.some(({ kind }) => kind === 'Service')).toBe(false)
    expect(JSON.stringify(plain)).not.toContain('direct')
  })
})

describe('variants', () => {
  it('an agent outside the cluster has everything but the workload', () => {
    const { workload: _, ...outside } = OPTIONS
    const kinds = agentManifest(outside).map(({ kind }) => kind)
    expect(kinds).toEqual(
      agentManifest(OPTIONS)
        .map(({ kind }) => kind)
        .slice(0, -3),
    )
  })

  it('with issuer local the user CA’s certificate goes in, and no key', () => {
    const objects = agentManifest({ ...OPTIONS, userCaPem: '-----BEGIN CERTIFICATE-----' })
    expect(atob(find(objects, 'Secret', 'mcm-agent').data.userCa)).toContain('CERTIFICATE')
  })

  it('impersonating anybody has to be asked for', () => {
    const objects = agentManifest({ ...OPTIONS, impersonateAny: true })
    const [rule] = find(objects, 'ClusterRole', 'mcm-impersonator').rules
    expect(rule).not.toHaveProperty('resourceNames')
  })
})
