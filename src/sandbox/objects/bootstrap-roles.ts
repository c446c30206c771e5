/**
 * The roles every cluster has (kubernetes `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`), as far as
 * they speak of what is served here or name what must not be given away. `admin`, `edit` and `view` hold
 * their rules themselves: nothing aggregates here.
 */
import type { JsonObject } from '../json.ts'

const READ = ['get', 'list', 'watch']
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update']
const WORKLOADS = ['deployments', 'deployments/scale', 'replicasets', 'statefulsets', 'daemonsets']

function rule(
  verbs: readonly string[],
  apiGroup: string,
  ...resources: readonly string[]
): JsonObject {
  return { verbs, apiGroups: [apiGroup], resources }
}

const VIEW = [
  rule(
    READ,
    '',
    'configmaps',
    'endpoints',
    'persistentvolumeclaims',
    'pods',
    'serviceaccounts',
    'services',
    'services/status',
  ),
  rule(
    READ,
    '',
    'limitranges',
    'namespaces/status',
    'pods/log',
    'pods/status',
    'resourcequotas',
    'resourcequotas/status',
  ),
  rule(READ, '', 'namespaces'),
  rule(READ, '', 'events'),
  rule(READ, 'apps', ...WORKLOADS, 'deployments/status'),
  rule(READ, 'batch', 'cronjobs', 'jobs', 'jobs/status'),
  rule(READ, 'policy', 'poddisruptionbudgets', 'poddisruptionbudgets/status'),
  rule(READ, 'networking.k8s.io', 'ingresses', 'networkpolicies'),
]

const EDIT = [
  ...VIEW,
  rule(
    READ,
    '',
    'pods/attach',
    'pods/exec',
    'pods/portforward',
    'pods/proxy',
    'secrets',
    'services/proxy',
  ),
  rule(['impersonate'], '', 'serviceaccounts'),
  rule(WRITE, '', 'pods', 'pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy'),
  rule(['create'], '', 'pods/eviction'),
  rule(
    WRITE,
    '',
    'configmaps',
    'persistentvolumeclaims',
    'secrets',
    'serviceaccounts',
    'services',
    'services/proxy',
  ),
  rule(['create'], '', 'serviceaccounts/token'),
  rule(WRITE, '', 'events'),
  rule(WRITE, 'apps', ...WORKLOADS),
  rule(WRITE, 'batch', 'cronjobs', 'jobs'),
  rule(WRITE, 'policy', 'poddisruptionbudgets'),
  rule(WRITE, 'networking.k8s.io', 'ingresses', 'networkpolicies'),
  rule([...WRITE, ...READ], 'coordination.k8s.io', 'leases'),
]

const ADMIN = [
  ...EDIT,
  rule(['create'], 'authorization.k8s.io', 'localsubjectaccessreviews'),
  rule([...WRITE, ...READ], 'rbac.authorization.k8s.io', 'rolebindings', 'roles'),
]

const PUBLIC_PATHS = ['/healthz', '/livez', '/readyz', '/version', '/version/']
const DISCOVERY_PATHS = ['/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*']

export const BOOTSTRAP_ROLES: Readonly<Record<string, readonly JsonObject[]>> = {
  'cluster-admin': [rule(['*'], '*', '*'), { verbs: ['*'], nonResourceURLs: ['*'] }],
  admin: ADMIN,
  edit: EDIT,
  view: VIEW,
  'system:auth-delegator': [
    rule(['create'], 'authentication.k8s.io', 'tokenreviews'),
    rule(['create'], 'authorization.k8s.io', 'subjectaccessreviews'),
  ],
  'system:basic-user': [
    rule(['create'], 'authorization.k8s.io', 'selfsubjectaccessreviews', 'selfsubjectrulesreviews'),
    rule(['create'], 'authentication.k8s.io', 'selfsubjectreviews'),
  ],
  'system:discovery': [
    { verbs: ['get'], nonResourceURLs: [...DISCOVERY_PATHS, ...PUBLIC_PATHS].sort() },
  ],
  'system:public-info-viewer': [{ verbs: ['get'], nonResourceURLs: PUBLIC_PATHS }],
}

/** Which of them are bound from the start, and to which groups. */
export const BOOTSTRAP_BINDINGS: Readonly<Record<string, readonly string[]>> = {
  'cluster-admin': ['system:masters'],
  'system:basic-user': ['system:authenticated'],
  'system:discovery': ['system:authenticated'],
  'system:public-info-viewer': ['system:authenticated', 'system:unauthenticated'],
}
