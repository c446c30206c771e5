/** A deployment that says it is well, its service, and pods with a log: things to look at. */
import type { World } from '../../world.ts'
import type { JsonObject, KubeObject, StringMap } from '../json.ts'
import { podSpecDefaults } from '../kinds/pod.ts'

/** Stores a seeded object with a new identity. */
export type Put = (
  resource: string,
  metadata: { readonly name: string; readonly namespace?: string } & JsonObject,
  rest?: JsonObject,
) => KubeObject

/** The one node there is. */
export const NODE = 'sandbox-node'

const WEB = { app: 'web' }
const WEB_LOG = 'web listening on :8080\nGET / 200 3ms\nGET /favicon.ico 404 1ms\n'
const CONDITIONS = ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled']

interface SeededPod {
  readonly namespace: string
  readonly name: string
  readonly app: string
  readonly labels: StringMap
  readonly podIP: string
  readonly log: string
}

const web = { namespace: 'default', app: 'web', labels: WEB, log: WEB_LOG }
const PODS: readonly SeededPod[] = [
  { ...web, name: 'web-7d9f8b6c5-2xkqp', podIP: '10.244.0.11' },
  { ...web, name: 'web-7d9f8b6c5-9mwzt', podIP: '10.244.0.12' },
  {
    namespace: 'kube-system',
    name: 'coredns-6f6b679f8f-4bq8h',
    app: 'coredns',
    labels: { 'k8s-app': 'kube-dns' },
    podIP: '10.244.0.2',
    log: '.:53\nCoreDNS-1.12\n',
  },
]

export function seedWorkloads(put: Put, world: World): void {
  seedDeployment(put)
  const https = { name: 'https', port: 443, targetPort: 6443, protocol: 'TCP' }
  seedService(put, 'kubernetes', '10.96.0.1', https, {})
  seedService(put, 'web', '10.96.0.2', { port: 80, targetPort: 8080, protocol: 'TCP' }, WEB)
  put('configmaps', { name: 'web-settings', namespace: 'default' }, { data: { greeting: 'hello' } })
  const startedAt = `${world.now().toISOString().slice(0, 19)}Z`
  for (const pod of PODS) seedPod(put, pod, startedAt)
}

function seedDeployment(put: Put): void {
  const template = { metadata: { labels: WEB }, spec: podSpec('web') }
  const two = { replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 }
  put(
    'deployments',
    { name: 'web', namespace: 'default', labels: WEB },
    {
      spec: { replicas: 2, selector: { matchLabels: WEB }, template },
      status: { observedGeneration: 1, ...two },
    },
  )
}

function seedService(
  put: Put,
  name: string,
  clusterIP: string,
  port: JsonObject,
  selector: StringMap,
): void {
  const families = { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' }
  const addresses = { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], ...families }
  const selected = Object.keys(selector).length > 0 ? { selector } : {}
  put(
    'services',
    { name, namespace: 'default', labels: selector },
    { spec: { ...selected, ports: [port], ...addresses }, status: { loadBalancer: {} } },
  )
}

function seedPod(put: Put, pod: SeededPod, startedAt: string): void {
  const { namespace, name, app, labels, podIP, log } = pod
  const account = { serviceAccountName: 'default', serviceAccount: 'default', nodeName: NODE }
  put(
    'pods',
    { name, namespace, labels, annotations: { 'sandbox.mcm.dev/log': log } },
    { spec: { ...podSpec(app), ...account }, status: runningStatus(app, podIP, startedAt) },
  )
}

function podSpec(app: string): JsonObject {
  return podSpecDefaults({
    containers: [{ name: app, image: imageOf(app), ports: [{ containerPort: 8080 }] }],
  })
}

function imageOf(app: string): string {
  return `registry.example/${app}:1.4.2`
}

function runningStatus(app: string, podIP: string, startedAt: string): JsonObject {
  const image = imageOf(app)
  const since = { status: 'True', lastProbeTime: null, lastTransitionTime: startedAt }
  const well = { ready: true, started: true, restartCount: 0 }
  const state = { state: { running: { startedAt } }, lastState: {} }
  return {
    phase: 'Running',
    conditions: CONDITIONS.map((type) => ({ type, ...since })),
    hostIP: '10.0.0.1',
    podIP,
    podIPs: [{ ip: podIP }],
    startTime: startedAt,
    containerStatuses: [{ name: app, image, imageID: image, ...well, ...state }],
    qosClass: 'BestEffort',
  }
}
