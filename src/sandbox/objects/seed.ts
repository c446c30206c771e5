/** What a new sandbox holds: enough to look at, and to grant rights to. */
import type { World } from '../../world.ts'
import type { KubeObject } from '../json.ts'
import { rulesOf } from '../kinds/rules-of.ts'
import { uuid } from '../uuid.ts'
import { BOOTSTRAP_BINDINGS, BOOTSTRAP_ROLES } from './bootstrap-roles.ts'
import { groupVersionOf, resourceNamed } from './resources.ts'
import { NODE, type Put, seedWorkloads } from './seed-workloads.ts'
import type { Storage } from './storage.ts'

const NAMESPACES = ['default', 'kube-node-lease', 'kube-public', 'kube-system']
const RBAC_GROUP = 'rbac.authorization.k8s.io'
const RBAC_META = {
  labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
  annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
}

/** Fills an empty storage. */
export function seed(storage: Storage, world: World, kubernetesVersion: string): void {
  const put: Put = (name, metadata, rest = {}) => {
    const resource = resourceNamed(name)
    const creationTimestamp = `${world.now().toISOString().slice(0, 19)}Z`
    const generation = resource.hasGeneration ? { generation: 1 } : {}
    const identity = { uid: uuid(world), creationTimestamp, ...generation }
    const object = {
      kind: resource.kind,
      apiVersion: groupVersionOf(resource),
      metadata: { ...identity, ...metadata },
      ...rest,
    } as KubeObject
    return storage.put(resource, rulesOf(resource).withDefaults?.(object) ?? object)
  }
  seedNamespaces(put)
  seedRoles(put)
  seedNode(put, world, kubernetesVersion)
  seedWorkloads(put, world)
}

function seedNamespaces(put: Put): void {
  for (const name of NAMESPACES) {
    put(
      'namespaces',
      { name },
      { spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } },
    )
    put('serviceaccounts', { name: 'default', namespace: name })
  }
}

function seedRoles(put: Put): void {
  for (const [name, rules] of Object.entries(BOOTSTRAP_ROLES))
    put('clusterroles', { name, ...RBAC_META }, { rules })
  for (const [name, groups] of Object.entries(BOOTSTRAP_BINDINGS)) {
    const subjects = groups.map((group) => ({ kind: 'Group', apiGroup: RBAC_GROUP, name: group }))
    const roleRef = { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name }
    put('clusterrolebindings', { name, ...RBAC_META }, { subjects, roleRef })
  }
}

function seedNode(put: Put, world: World, kubernetesVersion: string): void {
  const time = world.now().toISOString().replace(/\.\d+/, '')
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'SandboxReady',
    message: 'the sandbox simulates containers',
    lastHeartbeatTime: time,
    lastTransitionTime: time,
  }
  const nodeInfo = {
    kubeletVersion: kubernetesVersion,
    osImage: 'mcm sandbox',
    operatingSystem: 'linux',
    containerRuntimeVersion: 'none://0',
  }
  const labels = { 'kubernetes.io/hostname': NODE, 'node-role.kubernetes.io/control-plane': '' }
  const addresses = [
    { type: 'InternalIP', address: '10.0.0.1' },
    { type: 'Hostname', address: NODE },
  ]
  const size = { cpu: '4', memory: '8Gi', pods: '110' }
  put(
    'nodes',
    { name: NODE, labels },
    {
      spec: { podCIDR: '10.244.0.0/24' },
      status: { capacity: size, allocatable: size, conditions: [ready], addresses, nodeInfo },
    },
  )
}
