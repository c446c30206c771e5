/**
 * The one table of what is served. Discovery, storage, decoding, authorization of names and the
 * columns all read it; a resource that is not here does not exist.
 */

/** How a name is checked (apimachinery `pkg/api/validation/name.go`). */
export type NameRule = 'subdomain' | 'label' | 'pathSegment'

export interface Subresource {
  readonly name: string
  readonly verbs: readonly string[]
  /** Where it is not the parent's kind. */
  readonly kind?: { readonly group: string; readonly version: string; readonly kind: string }
}

export interface Resource {
  readonly group: string
  readonly version: string
  readonly resource: string
  readonly singular: string
  readonly kind: string
  readonly isNamespaced: boolean
  readonly isStored: boolean
  readonly verbs: readonly string[]
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly subresources: readonly Subresource[]
  readonly nameRule: NameRule
  /** Field selectors besides metadata.name and metadata.namespace: label → path. */
  readonly fieldLabels: Readonly<Record<string, string>>
  /** Whether a change of spec counts a generation. */
  readonly hasGeneration: boolean
}

const STORED = 'create delete deletecollection get list patch update watch'.split(' ')
const STATUS: Subresource = { name: 'status', verbs: ['get', 'patch', 'update'] }
const SCALE_KIND = { group: 'autoscaling', version: 'v1', kind: 'Scale' }
const TOKEN_KIND = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' }
const INVOLVED = 'kind namespace name uid apiVersion resourceVersion fieldPath'.split(' ')

function stream(name: string, kind: string): Subresource {
  return { name, verbs: ['create', 'get'], kind: { group: '', version: '', kind } }
}

type Rest = Partial<Omit<Resource, 'group' | 'version' | 'resource' | 'kind'>>

function stored(groupVersion: string, resource: string, kind: string, rest: Rest = {}): Resource {
  const [group, version] = groupVersion.includes('/') ? groupVersion.split('/') : ['', groupVersion]
  return {
    group: group!,
    version: version!,
    resource,
    kind,
    singular: kind.toLowerCase(),
    isNamespaced: true,
    isStored: true,
    verbs: STORED,
    shortNames: [],
    categories: [],
    subresources: [],
    nameRule: 'subdomain',
    fieldLabels: {},
    hasGeneration: false,
    ...rest,
  }
}

/** Asked and answered, never kept. */
function review(
  groupVersion: string,
  resource: string,
  kind: string,
  isNamespaced = false,
): Resource {
  return stored(groupVersion, resource, kind, { isNamespaced, isStored: false, verbs: ['create'] })
}

const RBAC = 'rbac.authorization.k8s.io/v1'
const ADMISSION = 'admissionregistration.k8s.io/v1'
const AUTHORIZATION = 'authorization.k8s.io/v1'
const AUTHENTICATION = 'authentication.k8s.io/v1'
const cluster = { isNamespaced: false }
const all = { categories: ['all'] }

/** In the order of discovery. */
export const RESOURCES: readonly Resource[] = [
  stored('v1', 'configmaps', 'ConfigMap', { shortNames: ['cm'] }),
  stored('v1', 'events', 'Event', {
    shortNames: ['ev'],
    fieldLabels: {
      ...Object.fromEntries(
        INVOLVED.map((key) => [`involvedObject.${key}`, `involvedObject.${key}`]),
      ),
      reason: 'reason',
      type: 'type',
      reportingComponent: 'reportingComponent',
      source: 'source.component',
    },
  }),
  stored('v1', 'namespaces', 'Namespace', {
    ...cluster,
    shortNames: ['ns'],
    nameRule: 'label',
    verbs: STORED.filter((verb) => verb !== 'deletecollection'),
    subresources: [STATUS],
    fieldLabels: { 'status.phase': 'status.phase' },
  }),
  stored('v1', 'nodes', 'Node', {
    ...cluster,
    shortNames: ['no'],
    subresources: [STATUS],
    fieldLabels: { 'spec.unschedulable': 'spec.unschedulable' },
  }),
  stored('v1', 'pods', 'Pod', {
    ...all,
    shortNames: ['po'],
    subresources: [
      stream('attach', 'PodAttachOptions'),
      stream('exec', 'PodExecOptions'),
      { name: 'log', verbs: ['get'] },
      stream('portforward', 'PodPortForwardOptions'),
      STATUS,
    ],
    fieldLabels: Object.fromEntries(
      ['spec.nodeName', 'spec.restartPolicy', 'spec.schedulerName', 'spec.serviceAccountName']
        .concat(['status.phase', 'status.podIP', 'status.nominatedNodeName'])
        .map((path) => [path, path]),
    ),
    hasGeneration: true,
  }),
  stored('v1', 'secrets', 'Secret', { fieldLabels: { type: 'type' } }),
  stored('v1', 'serviceaccounts', 'ServiceAccount', {
    shortNames: ['sa'],
    subresources: [{ name: 'token', verbs: ['create'], kind: TOKEN_KIND }],
  }),
  stored('v1', 'services', 'Service', {
    ...all,
    shortNames: ['svc'],
    subresources: [STATUS],
    nameRule: 'label',
    fieldLabels: { 'spec.clusterIP': 'spec.clusterIP', 'spec.type': 'spec.type' },
  }),
  stored('apps/v1', 'deployments', 'Deployment', {
    ...all,
    shortNames: ['deploy'],
    subresources: [{ name: 'scale', verbs: STATUS.verbs, kind: SCALE_KIND }, STATUS],
    hasGeneration: true,
  }),
  stored('batch/v1', 'jobs', 'Job', {
    ...all,
    subresources: [STATUS],
    hasGeneration: true,
    fieldLabels: { 'status.successful': 'status.succeeded' },
  }),
  stored('networking.k8s.io/v1', 'networkpolicies', 'NetworkPolicy', {
    shortNames: ['netpol'],
    hasGeneration: true,
  }),
  stored('policy/v1', 'poddisruptionbudgets', 'PodDisruptionBudget', {
    shortNames: ['pdb'],
    subresources: [STATUS],
    hasGeneration: true,
  }),
  stored('coordination.k8s.io/v1', 'leases', 'Lease'),
  stored(RBAC, 'clusterrolebindings', 'ClusterRoleBinding', {
    ...cluster,
    nameRule: 'pathSegment',
  }),
  stored(RBAC, 'clusterroles', 'ClusterRole', { ...cluster, nameRule: 'pathSegment' }),
  stored(RBAC, 'rolebindings', 'RoleBinding', { nameRule: 'pathSegment' }),
  stored(RBAC, 'roles', 'Role', { nameRule: 'pathSegment' }),
  stored(ADMISSION, 'validatingadmissionpolicies', 'ValidatingAdmissionPolicy', {
    ...cluster,
    categories: ['api-extensions'],
    subresources: [STATUS],
    hasGeneration: true,
  }),
  stored(ADMISSION, 'validatingadmissionpolicybindings', 'ValidatingAdmissionPolicyBinding', {
    ...cluster,
    categories: ['api-extensions'],
    hasGeneration: true,
  }),
  review(AUTHENTICATION, 'selfsubjectreviews', 'SelfSubjectReview'),
  review(AUTHENTICATION, 'tokenreviews', 'TokenReview'),
  review(AUTHORIZATION, 'localsubjectaccessreviews', 'LocalSubjectAccessReview', true),
  review(AUTHORIZATION, 'selfsubjectaccessreviews', 'SelfSubjectAccessReview'),
  review(AUTHORIZATION, 'selfsubjectrulesreviews', 'SelfSubjectRulesReview'),
  review(AUTHORIZATION, 'subjectaccessreviews', 'SubjectAccessReview'),
]

const byPlace = new Map(
  RESOURCES.map((one) => [`${one.group}/${one.version}/${one.resource}`, one]),
)

/** The resource at a path, undefined when it is not served. */
export function findResource(
  group: string,
  version: string,
  resource: string,
): Resource | undefined {
  return byPlace.get(`${group}/${version}/${resource}`)
}

/** A resource of ours by its name; every name is used once. */
export function resourceNamed(resource: string): Resource {
  return RESOURCES.find((one) => one.resource === resource)!
}

/** `apps/v1`, or `v1` in the core group. */
export function groupVersionOf({ group, version }: { group: string; version: string }): string {
  return group === '' ? version : `${group}/${version}`
}
