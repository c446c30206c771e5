/** What a new sandbox holds: enough to look at, and to grant rights to. */
import type { World } from '../../world.ts'
import type { JsonObject, KubeObject, StringMap } from '../json.ts'
import { podSpecDefaults } from '../kinds/pod.ts'
import { rulesOf } from '../kinds/rules-of.ts'
import { uuid } from '../uuid.ts'
import { BOOTSTRAP_BINDINGS, BOOTSTRAP_ROLES } from './bootstrap-roles.ts'
import { groupVersionOf, resourceNamed } from './resources.ts'
import type { Storage } from './storage.ts'

const NAMESPACES = ['default', 'kube-node-lease', 'kube-public', 'kube-system']
const NODE = 'sandbox-node'
const RBAC_GROUP = 'rbac.authorization.k8s.io'
const RBAC_META = {
  labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
  annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
}

type Meta = { readonly name: string; readonly namespace?: string } & JsonObject
type Put = (resource: string, metadata: Meta, rest?: JsonObject) => KubeObject

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
    message: 'the sandbox runs no containers',
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

function seedWorkloads(put: Put, world: World): void {
  const web = { app: 'web' }
  const template = { metadata: { labels: web }, spec: podSpec('web', 'registry.example/web:1.4.2') }
  put(
    'deployments',
    { name: 'web', namespace: 'default', labels: web },
    {
      spec: { replicas: 2, selector: { matchLabels: web }, template },
      status: {
        observedGeneration: 1,
        replicas: 2,
        updatedReplicas: 2,
        readyReplicas: 2,
        availableReplicas: 2,
      },
    },
  )
  const ports = [{ port: 80, targetPort: 8080, protocol: 'TCP' }]
  put(
    'services',
    { name: 'web', namespace: 'default', labels: web },
    {
      spec: { selector: web, ports, ...address('10.96.0.2') },
      status: { loadBalancer: {} },
    },
  )
  const api = [{ name: 'https', port: 443, targetPort: 6443, protocol: 'TCP' }]
  put(
    'services',
    { name: 'kubernetes', namespace: 'default' },
    {
      spec: { ports: api, ...address('10.96.0.1') },
      status: { loadBalancer: {} },
    },
  )
  put('configmaps', { name: 'web-settings', namespace: 'default' }, { data: { greeting: 'hello' } })
  const log = (name: string) =>
    `${name} listening on :8080\nGET / 200 3ms\nGET /favicon.ico 404 1ms\n`
  putPod(put, world, ['default', 'web-7d9f8b6c5-2xkqp', 'web'], web, '10.244.0.11', log('web'))
  putPod(put, world, ['default', 'web-7d9f8b6c5-9mwzt', 'web'], web, '10.244.0.12', log('web'))
  const dns = { 'k8s-app': 'kube-dns' }
  putPod(
    put,
    world,
    ['kube-system', 'coredns-6f6b679f8f-4bq8h', 'coredns'],
    dns,
    '10.244.0.2',
    '.:53\nCoreDNS-1.12\n',
  )
}

function address(clusterIP: string): JsonObject {
  const families = { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' }
  return { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], ...families }
}

function podSpec(name: string, image: string): JsonObject {
  return podSpecDefaults({ containers: [{ name, image, ports: [{ containerPort: 8080 }] }] })
}

function putPod(
  put: Put,
  world: World,
  [namespace, name, app]: readonly [string, string, string],
  labels: StringMap,
  podIP: string,
  log: string,
): void {
  const startedAt = `${world.now().toISOString().slice(0, 19)}Z`
  const image = `registry.example/${app}:1.4.2`
  const conditions = ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
    type,
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: startedAt,
  }))
  const container = {
    name: app,
    image,
    imageID: image,
    ready: true,
    started: true,
    restartCount: 0,
  }
  const state = { state: { running: { startedAt } }, lastState: {} }
  const account = { serviceAccountName: 'default', serviceAccount: 'default', nodeName: NODE }
  const annotations = { 'sandbox.mcm.dev/log': log }
  put(
    'pods',
    { name, namespace, labels, annotations },
    {
      spec: { ...podSpec(app, image), ...account },
      status: {
        phase: 'Running',
        conditions,
        hostIP: '10.0.0.1',
        podIP,
        podIPs: [{ ip: podIP }],
        startTime: startedAt,
        containerStatuses: [{ ...container, ...state }],
        qosClass: 'BestEffort',
      },
    },
  )
}
