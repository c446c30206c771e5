import type { PolicyRule } from '../kube/rbac.ts'
import { RBAC_GROUP } from '../kube/rbac.ts'

/**
 * What the preset roles allow, written out resource by resource: a wildcard on the core group would
 * bring `nodes/proxy` (any command on any node) and `serviceaccounts/token` with it.
 */

const READ = ['get', 'list', 'watch'] as const
const WRITE = ['create', 'update', 'patch', 'delete', 'deletecollection'] as const
const READ_WRITE = [...READ, ...WRITE] as const

/** What is worked with every day, by API group. Secrets are apart: reading them is a power. */
const WORKLOADS: Readonly<Record<string, readonly string[]>> = {
  '': [
    'configmaps',
    'endpoints',
    'events',
    'persistentvolumeclaims',
    'pods',
    'podtemplates',
    'replicationcontrollers',
    'replicationcontrollers/scale',
    'serviceaccounts',
    'services',
  ],
  apps: [
    'controllerrevisions',
    'daemonsets',
    'deployments',
    'deployments/scale',
    'replicasets',
    'replicasets/scale',
    'statefulsets',
    'statefulsets/scale',
  ],
  autoscaling: ['horizontalpodautoscalers'],
  batch: ['cronjobs', 'jobs'],
  'discovery.k8s.io': ['endpointslices'],
  'events.k8s.io': ['events'],
  'networking.k8s.io': ['ingresses', 'networkpolicies'],
  policy: ['poddisruptionbudgets'],
}

/** What controllers report, and what limits a namespace: to be read, not written, by who works in it. */
const OBSERVATIONS: Readonly<Record<string, readonly string[]>> = {
  '': ['limitranges', 'namespaces', 'pods/log', 'pods/status', 'resourcequotas', 'services/status'],
  apps: ['daemonsets/status', 'deployments/status', 'replicasets/status', 'statefulsets/status'],
  batch: ['cronjobs/status', 'jobs/status'],
  'metrics.k8s.io': ['pods'],
  'networking.k8s.io': ['ingresses/status'],
}

/** What belongs to the whole cluster and to whoever operates it. */
const INFRASTRUCTURE: Readonly<Record<string, readonly string[]>> = {
  '': ['limitranges', 'namespaces', 'nodes', 'persistentvolumes', 'resourcequotas'],
  'networking.k8s.io': ['ingressclasses'],
  'scheduling.k8s.io': ['priorityclasses'],
  'storage.k8s.io': ['csidrivers', 'csinodes', 'storageclasses', 'volumeattachments'],
}

/** Core resources that only an administrator writes. `nodes/proxy` and `serviceaccounts/token` are nobody's. */
const CORE_OF_ADMIN = [
  'bindings',
  'componentstatuses',
  'namespaces/finalize',
  'namespaces/status',
  'nodes/status',
  'persistentvolumeclaims/status',
  'persistentvolumes/status',
  'pods/binding',
  'pods/log',
  'pods/proxy',
  'pods/status',
  'replicationcontrollers/status',
  'resourcequotas/status',
  'services/proxy',
  'services/status',
] as const

/** The groups of a stock API server besides the core, where a wildcard on resources brings no danger. */
const STOCK_GROUPS = [
  'admissionregistration.k8s.io',
  'apiextensions.k8s.io',
  'apiregistration.k8s.io',
  'apps',
  'authorization.k8s.io',
  'autoscaling',
  'batch',
  'certificates.k8s.io',
  'coordination.k8s.io',
  'discovery.k8s.io',
  'events.k8s.io',
  'flowcontrol.apiserver.k8s.io',
  'metrics.k8s.io',
  'networking.k8s.io',
  'node.k8s.io',
  'policy',
  RBAC_GROUP,
  'resource.k8s.io',
  'scheduling.k8s.io',
  'storage.k8s.io',
  'storagemigration.k8s.io',
] as const

/** Looking at everything of everyday work, but not into Secrets and not into running containers. */
export function readRules(): PolicyRule[] {
  return [...rules(WORKLOADS, READ), ...rules(OBSERVATIONS, READ)]
}

/** Everyday work: workloads, configuration, Secrets, and going into running pods. */
export function workRules(): PolicyRule[] {
  return [
    ...rules(WORKLOADS, READ_WRITE),
    { apiGroups: [''], resources: ['secrets'], verbs: READ_WRITE },
    ...rules(OBSERVATIONS, READ),
    ...podAccessRules(),
  ]
}

/** Operating the cluster: nodes, volumes, namespaces, quotas, and what drains and debugs a node needs. */
export function operationRules(): PolicyRule[] {
  return [
    ...rules(INFRASTRUCTURE, READ_WRITE),
    { apiGroups: ['metrics.k8s.io'], resources: ['nodes'], verbs: READ },
    { apiGroups: ['apiextensions.k8s.io'], resources: ['customresourcedefinitions'], verbs: READ },
    { apiGroups: ['apiregistration.k8s.io'], resources: ['apiservices'], verbs: READ },
    { nonResourceURLs: ['/livez', '/livez/*', '/readyz', '/readyz/*'], verbs: ['get'] },
  ]
}

/**
 * Everything, RBAC included, with its verbs `escalate` and `bind`.
 * @param customGroups API groups of custom resources in this cluster; those installed later are added by
 *   making the role anew
 */
export function administrationRules(customGroups: readonly string[]): PolicyRule[] {
  return [
    { apiGroups: [''], resources: CORE_OF_ADMIN, verbs: READ_WRITE },
    { apiGroups: groupsBesidesCore(customGroups), resources: ['*'], verbs: READ_WRITE },
    { apiGroups: [RBAC_GROUP], resources: ['clusterroles', 'roles'], verbs: ['bind', 'escalate'] },
    { apiGroups: ['certificates.k8s.io'], resources: ['signers'], verbs: ['approve', 'sign'] },
    { nonResourceURLs: ['*'], verbs: ['get'] },
  ]
}

/** The groups of a stock API server and these, without the core. */
export function groupsBesidesCore(customGroups: readonly string[]): string[] {
  return [...new Set([...STOCK_GROUPS, ...customGroups.filter(isGroupName)])].sort()
}

/** Streams are get and create together: a WebSocket asks with GET, and get alone once opened a shell. */
function podAccessRules(): PolicyRule[] {
  const streams = ['pods/attach', 'pods/exec', 'pods/portforward']
  return [
    { apiGroups: [''], resources: streams, verbs: ['get', 'create'] },
    { apiGroups: [''], resources: ['pods/eviction'], verbs: ['create'] },
    {
      apiGroups: [''],
      resources: ['pods/ephemeralcontainers', 'pods/resize'],
      verbs: ['get', 'update', 'patch'],
    },
  ]
}

function rules(
  resourcesOfGroup: Readonly<Record<string, readonly string[]>>,
  verbs: readonly string[],
): PolicyRule[] {
  return Object.entries(resourcesOfGroup).map(([group, resources]) => ({
    apiGroups: [group],
    resources,
    verbs,
  }))
}

/** A custom resource's group has a dot; the core group and a wildcard can never come in this way. */
function isGroupName(group: string): boolean {
  return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$/.test(group)
}
