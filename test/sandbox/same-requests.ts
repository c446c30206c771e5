/** Requests that the sandbox must answer as a real kube-apiserver does, in this order. */
import type { Ask } from './http-client.ts'
import { KUBECTL_BODIES } from './kubectl-bodies.ts'

export interface Step extends Ask {
  readonly title: string
}

const NS = '/api/v1/namespaces/default'
const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments'
const RBAC = '/apis/rbac.authorization.k8s.io/v1'
const JSON_PATCH = 'application/json-patch+json'
const MERGE_PATCH = 'application/merge-patch+json'
const STRATEGIC_PATCH = 'application/strategic-merge-patch+json'
const APPLY_PATCH = 'application/apply-patch+yaml'
const TABLE = [['Accept', 'application/json;as=Table;v=v1;g=meta.k8s.io']] as const

const get = (path: string, headers: Ask['headers'] = []): Step => ({
  title: `GET ${path}`,
  path,
  headers,
})
const post = (path: string, body: unknown, headers: Ask['headers'] = []): Step => ({
  title: `POST ${path} ${shown(body)}`,
  method: 'POST',
  path,
  body,
  headers,
})
const put = (path: string, body: unknown): Step => ({
  title: `PUT ${path} ${shown(body)}`,
  method: 'PUT',
  path,
  body,
})
const patch = (path: string, contentType: string, body: unknown): Step => ({
  title: `PATCH ${path} ${contentType} ${shown(body)}`,
  method: 'PATCH',
  path,
  contentType,
  body,
})
const del = (path: string, body?: unknown): Step => ({
  title: `DELETE ${path} ${shown(body)}`,
  method: 'DELETE',
  path,
  body,
})
const as = (user: string, step: Step, ...more: (readonly [string, string])[]): Step => ({
  ...step,
  title: `${step.title} as ${user} ${more.join(' ')}`,
  headers: [...(step.headers ?? []), ['Impersonate-User', user], ...more],
})

function shown(body: unknown): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body ?? '')
  return text.slice(0, 400)
}

const configMap = (name: string, rest: object = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  ...rest,
})
const container = {
  name: 'c',
  image: 'nginx:1',
  ports: [{ containerPort: 80 }],
  env: [{ name: 'A', value: '1' }],
}
const deployment = (name: string, spec: object = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, labels: { app: name } },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [container] } },
    ...spec,
  },
})
const role = (name: string, ...rules: object[]) => ({
  metadata: { name },
  ...(rules.length > 0 && { rules }),
})
const binding = (name: string, roleRef: object, ...subjects: object[]) => ({
  metadata: { name },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', ...roleRef },
  subjects,
})
const rule = (verbs: string[], resources: string[], rest: object = {}) => ({
  apiGroups: [''],
  resources,
  verbs,
  ...rest,
})

/** Decoding and its refusals. */
const decoding: readonly Step[] = [
  post(`${NS}/configmaps`, configMap('a', { data: { a: 1 } })),
  post(`${NS}/configmaps`, configMap('a', { data: 'x' })),
  post(
    `${NS}/configmaps?fieldValidation=Strict`,
    configMap('a', { dta: { a: '1' }, metadata: { name: 'a', foo: 1 } }),
  ),
  post(`${NS}/configmaps?dryRun=All`, configMap('a', { dta: { a: '1' } })),
  post(`${NS}/configmaps?dryRun=Some`, configMap('a')),
  post(`${NS}/configmaps?fieldValidation=Loose`, configMap('a')),
  post(`${NS}/configmaps`, '{"a":'),
  post(`${NS}/configmaps`, ''),
  post(`${NS}/configmaps`, configMap('Bad_x')),
  post(`${NS}/configmaps`, configMap('')),
  post(`${NS}/configmaps`, {}),
  post(`${NS}/configmaps`, configMap('x', { metadata: { name: 'x', namespace: 'other' } })),
  post(`${NS}/configmaps`, configMap('x', { metadata: { name: 'x', resourceVersion: '7' } })),
  post(
    `${NS}/configmaps`,
    configMap('x', { metadata: { name: 'x', creationTimestamp: 'yesterday' } }),
  ),
  post('/api/v1/namespaces/nope/configmaps', configMap('x')),
  post('/api/v1/configmaps', configMap('x')),
  post('/api/v1/namespaces', { metadata: { name: 'default' } }),
  post('/api/v1/namespaces', { metadata: { name: 'Bad' } }),
  post(DEPLOYMENTS, { metadata: { name: 'x' }, spec: { replicas: '2' } }),
  post(DEPLOYMENTS, { metadata: { name: 'x' }, spec: { replicas: 2.5 } }),
  post(DEPLOYMENTS, { metadata: { name: 'x' }, spec: { replicas: 2 } }),
  post(DEPLOYMENTS, deployment('x', { selector: { matchLabels: { app: 'y' } } })),
  post(
    DEPLOYMENTS,
    deployment('x', {
      template: { metadata: { labels: { app: 'x' } }, spec: { containers: [{ image: 'y' }] } },
    }),
  ),
  post(`${NS}/pods`, {
    metadata: { name: 'x' },
    spec: { containers: [{ name: 'a', image: 'x', ports: [{ containerPort: 'x' }] }] },
  }),
  post(`${NS}/secrets`, { metadata: { name: 'x' }, data: { a: '?' } }),
  post(`${NS}/services`, { metadata: { name: 'x' }, spec: {} }),
  { ...post(`${NS}/configmaps`, 'hello'), contentType: 'text/plain' },
  {
    ...post(
      `${NS}/configmaps`,
      'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-yaml\ndata:\n  a: "1"\n',
    ),
    contentType: 'application/yaml',
  },
]

/** The life of objects. */
const life: readonly Step[] = [
  post(`${NS}/configmaps`, configMap('one', { data: { a: '1' } })),
  post(`${NS}/configmaps`, configMap('one')),
  get(`${NS}/configmaps/one`),
  get(`${NS}/configmaps/two`),
  put(`${NS}/configmaps/one`, configMap('one', { data: { a: '2' } })),
  put(`${NS}/configmaps/one`, configMap('two')),
  put(
    `${NS}/configmaps/one`,
    configMap('one', { metadata: { name: 'one', resourceVersion: '1' } }),
  ),
  put(`${NS}/configmaps/one`, configMap('one', { metadata: { name: 'one', uid: 'x' } })),
  put(`${NS}/configmaps/absent`, configMap('absent')),
  put(`${NS}/configmaps/one`, configMap('')),
  post(
    `${NS}/configmaps`,
    configMap('labels', { metadata: { name: 'labels', labels: { 'a b': 'c' } } }),
  ),
  post(
    `${NS}/configmaps`,
    configMap('labels', { metadata: { name: 'labels', labels: { a: 'b c' } } }),
  ),
  post(
    `${NS}/configmaps`,
    configMap('labels', { metadata: { name: 'labels', labels: { 'Ex.com/x': 'y' } } }),
  ),
  post(
    `${NS}/configmaps`,
    configMap('labels', { metadata: { name: 'labels', labels: { 'a/b/c': 'y' } } }),
  ),
  post(
    `${NS}/configmaps`,
    configMap('labels', { metadata: { name: 'labels', annotations: { 'a/': 'y' } } }),
  ),
  patch(`${NS}/configmaps/one`, MERGE_PATCH, { metadata: { labels: { x: '-' } } }),
  post(`${NS}/secrets`, { metadata: { name: 'large' }, data: { a: 'A'.repeat(1_400_000) } }),
  post(`${NS}/configmaps`, { metadata: { name: 'large' }, data: { a: 'A'.repeat(1_100_000) } }),
  patch(`${NS}/configmaps/one`, MERGE_PATCH, {
    data: { b: '3', a: null },
    metadata: { labels: { x: 'y' } },
  }),
  patch(`${NS}/configmaps/one`, STRATEGIC_PATCH, { data: { c: '4' } }),
  patch(`${NS}/configmaps/one`, JSON_PATCH, [{ op: 'add', path: '/data/d', value: '5' }]),
  patch(`${NS}/configmaps/one`, JSON_PATCH, [{ op: 'test', path: '/data/d', value: '6' }]),
  patch(`${NS}/configmaps/one`, JSON_PATCH, [{ op: 'remove', path: '/data/zzz' }]),
  patch(`${NS}/configmaps/one`, JSON_PATCH, { op: 'x' }),
  patch(`${NS}/configmaps/one`, MERGE_PATCH, '[]'),
  patch(`${NS}/configmaps/one`, MERGE_PATCH, '{'),
  patch(`${NS}/configmaps/one`, 'application/x', '{}'),
  patch(`${NS}/configmaps/one?force=true`, MERGE_PATCH, {}),
  patch(`${NS}/configmaps/absent`, MERGE_PATCH, {}),
  patch(`${NS}/configmaps/one`, MERGE_PATCH, { data: { e: 1 } }),
  patch(`${NS}/configmaps/one`, MERGE_PATCH, { metadata: { name: 'two' } }),
  patch(`${NS}/configmaps/one`, MERGE_PATCH, { metadata: { finalizers: ['example.com/wait'] } }),
  del(`${NS}/configmaps/one`, { preconditions: { uid: 'x' } }),
  del(`${NS}/configmaps/one`),
  patch(`${NS}/configmaps/one`, MERGE_PATCH, { metadata: { finalizers: null } }),
  get(`${NS}/configmaps/one`),
  del(`${NS}/configmaps/one`),
  post(`${NS}/secrets`, { metadata: { name: 's' }, stringData: { a: 'b' } }),
  patch(`${NS}/secrets/s`, MERGE_PATCH, { type: 'other' }),
  patch(`${NS}/secrets/s`, MERGE_PATCH, { immutable: true }),
  patch(`${NS}/secrets/s`, MERGE_PATCH, { data: { a: 'Yw==' } }),
  del(`${NS}/secrets/s?dryRun=All`),
  del(`${NS}/secrets/s`),
  del('/api/v1/namespaces/default'),
  post('/api/v1/namespaces', { metadata: { name: 'team', labels: { a: 'b' } } }),
  post(`${NS}/services`, { metadata: { name: 'svc' }, spec: { ports: [{ port: 80 }] } }),
  patch(`${NS}/services/svc`, MERGE_PATCH, { spec: { clusterIP: '10.96.9.9' } }),
  del(`${NS}/services/svc`),
  post('/api/v1/nodes', { metadata: { name: 'node1' } }),
  post(`${NS}/events`, {
    metadata: { name: 'e' },
    involvedObject: { kind: 'Pod', name: 'p', namespace: 'default' },
  }),
  post(`${NS}/events`, {
    metadata: { name: 'e2' },
    involvedObject: { kind: 'Pod', name: 'p', namespace: 'other' },
  }),
  post('/apis/coordination.k8s.io/v1/namespaces/default/leases', {
    metadata: { name: 'l' },
    spec: { holderIdentity: 'x', renewTime: '2026-01-01T00:00:00.123456Z' },
  }),
  put('/apis/coordination.k8s.io/v1/namespaces/default/leases/l', {
    metadata: { name: 'l' },
    spec: { holderIdentity: 'y' },
  }),
  put('/apis/coordination.k8s.io/v1/namespaces/default/leases/l2', {
    metadata: { name: 'l2' },
    spec: { holderIdentity: 'y' },
  }),
  post('/apis/networking.k8s.io/v1/namespaces/default/networkpolicies', {
    metadata: { name: 'n' },
    spec: { podSelector: {} },
  }),
  post('/apis/policy/v1/namespaces/default/poddisruptionbudgets', {
    metadata: { name: 'b' },
    spec: { minAvailable: 1 },
  }),
  post('/apis/batch/v1/namespaces/default/jobs', {
    metadata: { name: 'j' },
    spec: {
      template: { spec: { restartPolicy: 'Never', containers: [{ name: 'a', image: 'x' }] } },
    },
  }),
]

const VAP = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies'
const pod = (name: string, spec: object = {}) => ({
  metadata: { name, labels: { app: name } },
  spec: {
    automountServiceAccountToken: false,
    serviceAccountName: 'default',
    containers: [{ name: 'c', image: 'x:1' }],
    ...spec,
  },
})

/** Pods and the rest. */
const more: readonly Step[] = [
  post(`${NS}/pods`, pod('p')),
  post(
    `${NS}/pods`,
    pod('p2', {
      containers: [{ name: 'c', image: 'x', resources: { limits: { cpu: '1', memory: '1Gi' } } }],
    }),
  ),
  post(`${NS}/pods`, pod('p4', { containers: [] })),
  post(`${NS}/pods`, pod('p5', { containers: [{ name: 'Bad' }] })),
  patch(`${NS}/pods/p`, STRATEGIC_PATCH, { spec: { containers: [{ name: 'c', image: 'x:2' }] } }),
  patch(`${NS}/pods/p`, MERGE_PATCH, { spec: { nodeName: 'other' } }),
  patch(`${NS}/pods/p/status`, MERGE_PATCH, { status: { phase: 'Running' } }),
  get(`${NS}/pods/p`),
  get(`${NS}/pods`, TABLE),
  get(`${NS}/pods?fieldSelector=status.phase%3DRunning`, TABLE),
  get(`${NS}/pods?fieldSelector=status.phase!%3DRunning`, TABLE),
  get(`${NS}/pods?fieldSelector=foo%3Dbar`),
  get(`${NS}/pods?labelSelector=app%20in%20(p)`, TABLE),
  get(`${NS}/pods?labelSelector=app!%3Dp`, TABLE),
  get(`${NS}/pods/p/log?container=z`),
  get(`${NS}/pods/zzz/log`),
  get(`${NS}/pods/p2/log`),
  post(`${NS}/pods/zzz/exec?command=ls`, undefined),
  ...['exec?command=ls', 'attach', 'portforward'].flatMap((stream) => [
    get(`${NS}/pods/p/${stream}`),
    post(`${NS}/pods/p/${stream}`, undefined),
    del(`${NS}/pods/p/${stream}`),
  ]),
  get(`${NS}/pods/p/exec?command=ls&container=zzz`),
  get(`${NS}/pods/p/attach?container=c`),
  del(`${NS}/pods/p2?gracePeriodSeconds=0`),
  post(VAP, {
    metadata: { name: 'r' },
    spec: {
      matchConstraints: {
        resourceRules: [
          { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] },
        ],
      },
      validations: [{ expression: 'true' }],
    },
  }),
  get(VAP, TABLE),
  post(`${VAP.replace(/ies$/, 'ybindings')}`, {
    metadata: { name: 'r' },
    spec: { policyName: 'r', validationActions: ['Deny'] },
  }),
  get(`${VAP.replace(/ies$/, 'ybindings')}`, TABLE),
  get('/api/v1/nodes', TABLE),
  get('/api/v1/namespaces/team', TABLE),
  get(`${NS}/secrets`, TABLE),
  get(`${NS}/serviceaccounts`, TABLE),
  get('/apis/networking.k8s.io/v1/namespaces/default/networkpolicies', TABLE),
  patch('/apis/policy/v1/namespaces/default/poddisruptionbudgets/b', MERGE_PATCH, {
    spec: { minAvailable: '50%' },
  }),
  put('/apis/policy/v1/namespaces/default/poddisruptionbudgets/b', {
    metadata: { name: 'b' },
    spec: { minAvailable: 2 },
  }),
  post(`${NS}/configmaps`, { metadata: { generateName: 'gen-' } }),
  del(`${NS}/configmaps?fieldSelector=metadata.name%3Dabsent`),
]

/** Deployments: defaults, generations, scale, merging of lists. */
const workloads: readonly Step[] = [
  post(DEPLOYMENTS, deployment('d')),
  patch(`${DEPLOYMENTS}/d`, STRATEGIC_PATCH, {
    spec: {
      template: {
        spec: {
          containers: [
            { name: 'c', image: 'nginx:2' },
            { name: 'side', image: 'x' },
          ],
        },
      },
    },
  }),
  patch(`${DEPLOYMENTS}/d`, STRATEGIC_PATCH, {
    spec: { template: { spec: { containers: [{ name: 'side', $patch: 'delete' }] } } },
  }),
  patch(`${DEPLOYMENTS}/d`, STRATEGIC_PATCH, {
    spec: { template: { spec: { containers: [{ image: 'nokey' }] } } },
  }),
  patch(`${DEPLOYMENTS}/d`, STRATEGIC_PATCH, {
    spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } },
  }),
  patch(`${DEPLOYMENTS}/d`, MERGE_PATCH, { spec: { selector: { matchLabels: { app: 'e' } } } }),
  get(`${DEPLOYMENTS}/d/scale`),
  patch(`${DEPLOYMENTS}/d/scale`, MERGE_PATCH, { spec: { replicas: 5 } }),
  put(`${DEPLOYMENTS}/d/scale`, { metadata: { name: 'd' }, spec: { replicas: 3 } }),
  patch(`${DEPLOYMENTS}/d/scale`, MERGE_PATCH, { spec: { replicas: -1 } }),
  patch(`${DEPLOYMENTS}/d/status`, MERGE_PATCH, {
    spec: { replicas: 9 },
    status: { replicas: 3, readyReplicas: 1 },
  }),
  get(`${DEPLOYMENTS}/d`),
  get(`${DEPLOYMENTS}/d`, TABLE),
  del(`${DEPLOYMENTS}/d`),
]

const applied = (name: string, rest: object) => ({ ...deployment(name), ...rest })

/** Server-side apply. */
const applying: readonly Step[] = [
  patch(`${DEPLOYMENTS}/a?fieldManager=m1`, APPLY_PATCH, applied('a', {})),
  patch(`${DEPLOYMENTS}/a?fieldManager=m1`, APPLY_PATCH, applied('a', {})),
  patch(`${DEPLOYMENTS}/a?fieldManager=m2`, APPLY_PATCH, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'a' },
    spec: { replicas: 7 },
  }),
  patch(`${DEPLOYMENTS}/a?fieldManager=m2&force=true`, APPLY_PATCH, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'a', annotations: { x: 'y' } },
    spec: { replicas: 7 },
  }),
  patch(
    `${DEPLOYMENTS}/a?fieldManager=m1`,
    APPLY_PATCH,
    deployment('a', { replicas: 9, paused: true }),
  ),
  patch(`${DEPLOYMENTS}/a?fieldManager=m2`, APPLY_PATCH, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'a' },
  }),
  patch(`${DEPLOYMENTS}/a`, MERGE_PATCH, {
    spec: { paused: true, template: { spec: { containers: [{ name: 'c', image: 'nginx:7' }] } } },
  }),
  patch(`${DEPLOYMENTS}/a?fieldManager=m1`, APPLY_PATCH, applied('a', {})),
  patch(`${DEPLOYMENTS}/a?fieldManager=m1&force=true`, APPLY_PATCH, applied('a', {})),
  patch(`${DEPLOYMENTS}/a`, APPLY_PATCH, applied('a', {})),
  patch(`${DEPLOYMENTS}/a?fieldManager=m1`, APPLY_PATCH, applied('b', {})),
  patch(`${DEPLOYMENTS}/a?fieldManager=m1`, APPLY_PATCH, { metadata: { name: 'a' } }),
  patch(
    `${DEPLOYMENTS}/a?fieldManager=m1`,
    APPLY_PATCH,
    applied('a', { metadata: { name: 'a', managedFields: [{}] } }),
  ),
  patch(
    `${NS}/configmaps/c?fieldManager=m1`,
    APPLY_PATCH,
    configMap('c', { data: { a: '1', b: '2' } }),
  ),
  patch(`${NS}/configmaps/c?fieldManager=m2`, APPLY_PATCH, configMap('c', { data: { a: '1' } })),
  patch(`${NS}/configmaps/c?fieldManager=m1`, APPLY_PATCH, configMap('c', { data: { b: '2' } })),
  patch(`${NS}/configmaps/c?fieldManager=m2`, APPLY_PATCH, configMap('c')),
  patch(
    `${NS}/configmaps/c?fieldManager=m3`,
    APPLY_PATCH,
    configMap('c', { data: { b: '3', z: '1' }, metadata: { name: 'c', labels: { l: 'm' } } }),
  ),
  patch(
    `${NS}/configmaps/c?fieldManager=m1`,
    APPLY_PATCH,
    'apiVersion: v1\nkind: ConfigMap\ndata: {b: "9"}\n',
  ),
  put(`${NS}/configmaps/c`, configMap('c', { data: { b: '9', n: '1' } })),
  patch(`${NS}/configmaps/c`, MERGE_PATCH, { metadata: { managedFields: [{}] } }),
  patch(`${NS}/configmaps/c?fieldManager=m1`, APPLY_PATCH, configMap('c', { data: { b: '10' } })),
]

const BOB = { kind: 'User', name: 'bob' }

const applyContainers = (...containers: object[]) =>
  patch(`${DEPLOYMENTS}/shape?fieldManager=m1`, APPLY_PATCH, {
    ...deployment('shape'),
    spec: {
      selector: { matchLabels: { app: 'shape' } },
      template: { metadata: { labels: { app: 'shape' } }, spec: { containers } },
    },
  })

/** Lists in applied configurations: order, keys, items that go. */
const shapes: readonly Step[] = [
  applyContainers({ image: 'x' }),
  applyContainers({ name: 'a', image: 'x' }, { name: 'a', image: 'y' }),
  applyContainers(
    { name: 'a', image: 'x', ports: [{ containerPort: 1 }] },
    { name: 'b', image: 'y' },
  ),
  applyContainers({ name: 'b', image: 'y' }, { name: 'c', image: 'z' }, { name: 'a', image: 'x' }),
  patch(`${DEPLOYMENTS}/shape?fieldManager=m2`, APPLY_PATCH, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    spec: {
      template: {
        spec: {
          containers: [
            { name: 'side', image: 's' },
            { name: 'a', env: [{ name: 'X', value: '1' }] },
          ],
        },
      },
    },
  }),
  applyContainers({ name: 'c', image: 'z' }),
  applyContainers({ name: 'c' }),
  patch(`${DEPLOYMENTS}/shape?fieldManager=m2`, APPLY_PATCH, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    spec: { replicas: '3' },
  }),
  patch(`${DEPLOYMENTS}/shape?fieldManager=m2&fieldValidation=Strict`, APPLY_PATCH, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    spec: { replicass: 3 },
  }),
  patch(`${DEPLOYMENTS}/shape?fieldManager=m2`, APPLY_PATCH, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    spec: { replicass: 3 },
  }),
  patch(`${DEPLOYMENTS}/shape?fieldManager=m2`, APPLY_PATCH, {
    apiVersion: 'apps/v2',
    kind: 'Deployment',
  }),
  patch(`${DEPLOYMENTS}/shape?fieldManager=m2`, APPLY_PATCH, { apiVersion: 'v1', kind: 'Pod' }),
  patch(`${DEPLOYMENTS}/shape/status?fieldManager=m3`, APPLY_PATCH, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    status: { replicas: 1 },
    spec: { replicas: 7 },
  }),
  patch(`${NS}/secrets/applied?fieldManager=m1`, APPLY_PATCH, {
    apiVersion: 'v1',
    kind: 'Secret',
    stringData: { a: 'b' },
  }),
  patch(`${NS}/services/applied?fieldManager=m1`, APPLY_PATCH, {
    apiVersion: 'v1',
    kind: 'Service',
    spec: { ports: [{ port: 80 }, { port: 53, protocol: 'UDP', name: 'd' }] },
  }),
  patch(`${NS}/services/applied?fieldManager=m1`, APPLY_PATCH, {
    apiVersion: 'v1',
    kind: 'Service',
    spec: {
      ports: [
        { port: 80, name: 'w' },
        { port: 53, protocol: 'UDP', name: 'd' },
      ],
    },
  }),
  patch(`${RBAC}/clusterroles/applied?fieldManager=m1`, APPLY_PATCH, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    rules: [rule(['get'], ['pods'])],
  }),
  patch(`${RBAC}/clusterroles/applied?fieldManager=m1`, APPLY_PATCH, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    rules: [rule(['get', 'list'], ['pods'])],
  }),
  as(
    'eve',
    patch(`${RBAC}/clusterroles/applied?fieldManager=m2&force=true`, APPLY_PATCH, {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      rules: [rule(['*'], ['*'])],
    }),
  ),
  as(
    'frank',
    patch(`${RBAC}/clusterroles/applied2?fieldManager=m2`, APPLY_PATCH, {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
    }),
  ),
  del(`${NS}/services/applied`),
  del(`${DEPLOYMENTS}/shape`),
]

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration'
const annotated = (colour: string) =>
  configMap('k', {
    data: { colour },
    metadata: {
      name: 'k',
      annotations: { [LAST_APPLIED]: JSON.stringify(configMap('k', { data: { colour } })) },
    },
  })
const kubectlSide = '?fieldManager=kubectl-client-side-apply'

/** From client-side to server-side, as kubectl goes. */
const migrating: readonly Step[] = [
  post(`${NS}/configmaps${kubectlSide}`, annotated('red')),
  patch(
    `${NS}/configmaps/k?fieldManager=other`,
    APPLY_PATCH,
    configMap('k', { data: { colour: 'blue' } }),
  ),
  patch(
    `${NS}/configmaps/k?fieldManager=kubectl`,
    APPLY_PATCH,
    configMap('k', { data: { colour: 'blue' } }),
  ),
  patch(`${NS}/configmaps/k?fieldManager=editor`, MERGE_PATCH, { data: { colour: 'green' } }),
  patch(
    `${NS}/configmaps/k?fieldManager=kubectl`,
    APPLY_PATCH,
    configMap('k', { data: { colour: 'black' } }),
  ),
  patch(
    `${NS}/configmaps/k?fieldManager=kubectl&force=true`,
    APPLY_PATCH,
    configMap('k', { data: { colour: 'black', size: '1' } }),
  ),
  del(`${NS}/configmaps/k`),
]

/** Rights, and attempts at more of them. */
const rights: readonly Step[] = [
  as('bob', get(`${NS}/pods`)),
  as('bob', get('/api/v1/nodes')),
  as('bob', get(`${NS}/pods/x`)),
  as('bob', get(`${NS}/pods/x/log`)),
  as('bob', get('/metrics')),
  as('bob', get('/version')),
  as('bob', post(`${NS}/configmaps`, configMap('x'))),
  as('bob', del(`${NS}/pods`)),
  as('b<o>b', get(`${NS}/pods`)),
  post(
    `${RBAC}/namespaces/default/roles`,
    role(
      'reader',
      rule(['get', 'list'], ['pods']),
      rule(['get'], ['pods/exec', 'pods/portforward']),
      rule(['get'], ['configmaps'], { resourceNames: ['only'] }),
    ),
  ),
  post(
    `${RBAC}/namespaces/default/roles`,
    role('bad', { verbs: [], apiGroups: [''], resources: ['pods'] }),
  ),
  post(
    `${RBAC}/namespaces/default/roles`,
    role('bad', { verbs: ['get'], nonResourceURLs: ['/x'] }),
  ),
  post(
    `${RBAC}/namespaces/default/rolebindings`,
    binding('bob', { kind: 'Role', name: 'reader' }, BOB),
  ),
  post(
    `${RBAC}/namespaces/default/rolebindings`,
    binding('bad', { kind: 'Nope', name: 'reader' }, BOB),
  ),
  post(
    `${RBAC}/namespaces/default/rolebindings`,
    binding('bad', { kind: 'Role', name: 'reader' }, { kind: 'Robot', name: 'x' }),
  ),
  post(
    `${RBAC}/clusterrolebindings`,
    binding('bad', { kind: 'ClusterRole', name: 'view' }, { kind: 'ServiceAccount', name: 'x' }),
  ),
  put(
    `${RBAC}/namespaces/default/rolebindings/bob`,
    binding('bob', { kind: 'ClusterRole', name: 'cluster-admin' }, BOB),
  ),
  as('bob', get(`${NS}/pods?limit=1`)),
  as('bob', get(`${NS}/pods/x/exec?command=ls`)),
  as('bob', post(`${NS}/pods/x/exec?command=ls`, undefined)),
  as('bob', get(`${NS}/pods/x/portforward`)),
  as('bob', get(`${NS}/pods/x/attach`)),
  as('bob', get(`${NS}/configmaps/only`)),
  as('bob', get(`${NS}/configmaps/other`)),
  as('bob', get(`${NS}/configmaps?fieldSelector=metadata.name%3Donly`)),
  post(
    `${RBAC}/clusterroles`,
    role('granter', {
      apiGroups: ['rbac.authorization.k8s.io'],
      resources: ['roles', 'rolebindings', 'clusterroles', 'clusterrolebindings'],
      verbs: ['*'],
    }),
  ),
  post(
    `${RBAC}/clusterrolebindings`,
    binding('granter', { kind: 'ClusterRole', name: 'granter' }, BOB),
  ),
  as('bob', post(`${RBAC}/namespaces/default/roles`, role('mine', rule(['get'], ['pods'])))),
  post(
    `${RBAC}/clusterroles`,
    role('limited', {
      apiGroups: ['rbac.authorization.k8s.io'],
      resources: ['roles', 'rolebindings', 'clusterroles', 'clusterrolebindings'],
      verbs: ['get', 'create', 'update', 'patch'],
    }),
  ),
  post(
    `${RBAC}/clusterrolebindings`,
    binding('limited', { kind: 'ClusterRole', name: 'limited' }, { kind: 'User', name: 'eve' }),
  ),
  as(
    'eve',
    post(
      `${RBAC}/namespaces/default/roles`,
      role(
        'mine',
        rule(['get', 'list'], ['pods', 'secrets']),
        rule(['get'], ['configmaps'], { resourceNames: ['x'] }),
      ),
    ),
  ),
  as(
    'eve',
    post(`${RBAC}/clusterroles`, role('mine', { verbs: ['get'], nonResourceURLs: ['/metrics'] })),
  ),
  as(
    'eve',
    post(`${RBAC}/clusterroles`, {
      metadata: { name: 'sum' },
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: 'b' } }] },
    }),
  ),
  as(
    'eve',
    post(
      `${RBAC}/clusterrolebindings`,
      binding(
        'mine',
        { kind: 'ClusterRole', name: 'cluster-admin' },
        { kind: 'User', name: 'eve' },
      ),
    ),
  ),
  as(
    'eve',
    post(
      `${RBAC}/clusterrolebindings`,
      binding('mine', { kind: 'ClusterRole', name: 'absent' }, { kind: 'User', name: 'eve' }),
    ),
  ),
  as(
    'eve',
    patch(`${RBAC}/clusterroles/limited`, MERGE_PATCH, {
      rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
    }),
  ),
  as(
    'eve',
    patch(`${RBAC}/clusterroles/limited`, MERGE_PATCH, { metadata: { labels: { a: 'b' } } }),
  ),
  as('eve', get(`${RBAC}/clusterroles`)),
  as('eve', put(`${RBAC}/clusterroles/made-by-put`, role('made-by-put'))),
  as('frank', put(`${RBAC}/clusterroles/made-by-put2`, role('made-by-put2'))),
]

const REVIEWS = '/apis/authorization.k8s.io/v1'
const SAR = (spec: object) => post(`${REVIEWS}/subjectaccessreviews`, { spec })

/** Reviews. */
const reviews: readonly Step[] = [
  as(
    'bob',
    post(`${REVIEWS}/selfsubjectaccessreviews`, {
      spec: { resourceAttributes: { verb: 'list', resource: 'pods', namespace: 'default' } },
    }),
  ),
  as(
    'bob',
    post(`${REVIEWS}/selfsubjectaccessreviews`, {
      spec: { resourceAttributes: { verb: 'delete', resource: 'pods', namespace: 'default' } },
    }),
  ),
  as(
    'bob',
    post(`${REVIEWS}/subjectaccessreviews`, {
      spec: { user: 'bob', resourceAttributes: { verb: 'get', resource: 'pods' } },
    }),
  ),
  SAR({
    user: 'bob',
    resourceAttributes: { verb: 'get', resource: 'configmaps', name: 'only', namespace: 'default' },
  }),
  SAR({
    user: 'bob',
    resourceAttributes: { verb: 'get', resource: 'configmaps', namespace: 'default' },
  }),
  SAR({
    user: 'x',
    groups: ['system:masters'],
    resourceAttributes: { verb: 'get', resource: 'x' },
  }),
  SAR({
    groups: ['system:authenticated'],
    nonResourceAttributes: { verb: 'get', path: '/api/v1' },
  }),
  SAR({ resourceAttributes: { verb: 'get' } }),
  SAR({ user: 'bob' }),
  post(`${REVIEWS}/namespaces/default/localsubjectaccessreviews`, {
    spec: { user: 'bob', resourceAttributes: { verb: 'list', resource: 'pods', namespace: 'x' } },
  }),
  as('bob', post(`${REVIEWS}/selfsubjectrulesreviews`, { spec: { namespace: 'default' } })),
  post(`${REVIEWS}/selfsubjectrulesreviews`, { spec: {} }),
  as(
    'bob',
    post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {}),
    ['Impersonate-Uid', '7'],
    ['Impersonate-Group', 'dev'],
    ['Impersonate-Group', 'a,b'],
    ['Impersonate-Extra-Ex%41mple.com%2fKey', 'V'],
  ),
  as(
    'system:serviceaccount:team:bot',
    post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {}),
  ),
  post('/apis/authentication.k8s.io/v1/tokenreviews', { spec: { token: 'x' } }),
  post('/apis/authentication.k8s.io/v1/tokenreviews', { spec: {} }),
  get(`${REVIEWS}/selfsubjectaccessreviews`),
]

const person = (
  user: string,
  ...more: (readonly [string, string])[]
): readonly (readonly [string, string])[] => [['Impersonate-User', user], ...more]

/** Impersonation; see `impersonator` in the test for the rights of the token. */
export const impersonating: readonly Step[] = [
  get(`${NS}/pods`),
  get(`${NS}/pods`, person('')),
  get(`${NS}/pods`, person('mcm:bob')),
  get(`${NS}/pods`, person('mcm:bob', ['Impersonate-Group', 'mcm:dev'])),
  get(
    `${NS}/pods`,
    person('mcm:bob', ['Impersonate-Group', 'mcm:dev'], ['Impersonate-Group', 'mcm:ops']),
  ),
  get(`${NS}/pods`, person('mcm:bob', ['Impersonate-Group', 'mcm:dev,mcm:ops'])),
  get(`${NS}/pods`, person('mcm:bob', ['Impersonate-Group', ''])),
  get(`${NS}/pods`, person('mcm:bob', ['Impersonate-Group', 'system:masters'])),
  get(`${NS}/pods`, person('mcm:bob', ['Impersonate-Uid', '7'])),
  get(`${NS}/pods`, person('mcm:bob', ['Impersonate-Extra-mcm.dev%2Fsession', 's'])),
  get(`${NS}/pods`, person('mcm:bob', ['Impersonate-Extra-other', 's'])),
  get(`${NS}/pods`, person('mcm:eve')),
  get(`${NS}/pods`, person('system:admin')),
  get(`${NS}/pods`, person('system:kube-controller-manager')),
  get(`${NS}/pods`, person('system:node:n')),
  get(`${NS}/pods`, person('system:serviceaccount:kube-system:default')),
  get(`${NS}/pods`, person('system:anonymous')),
  get(`${NS}/pods`, [
    ['Impersonate-User', 'mcm:bob'],
    ['Impersonate-User', 'system:admin'],
  ]),
  get(`${NS}/pods`, [
    ['Impersonate-User', ''],
    ['Impersonate-User', 'mcm:bob'],
  ]),
  get(`${NS}/pods`, [['Impersonate-Group', 'system:masters']]),
  get(`${NS}/pods`, [['Impersonate-Uid', '7']]),
  get(`${NS}/pods`, [
    ['Impersonate-Extra-a', '7'],
    ['Impersonate-Group', 'x'],
  ]),
  get(`${NS}/pods`, person('', ['Impersonate-Group', 'x'])),
  get(`${NS}/secrets`, person('mcm:bob')),
  get('/version', person('mcm:bob')),
  get('/version', person('mcm:eve')),
  post(
    '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    {},
    person('mcm:bob', ['Impersonate-Group', 'mcm:dev']),
  ),
]

/** Where nothing is, and how things are listed. */
const places: readonly Step[] = [
  get('/nope'),
  get('/apis/nope'),
  get('/apis/nope/v1'),
  get('/apis/nope/v1/things'),
  get('/apis/apps'),
  get('/apis/apps/v2'),
  get('/api/v1/nopes'),
  get('/api/v1/pods/x'),
  get(`${NS}/pods/x/y`),
  get(`${NS}/nodes`),
  get('/healthz'),
  { ...get('/healthz'), method: 'HEAD', title: 'HEAD /healthz' },
  { ...get(`${NS}/configmaps/c`), method: 'HEAD', title: 'HEAD of an object' },
  { ...get(`${NS}/configmaps`), method: 'OPTIONS', title: 'OPTIONS' },
  put(`${NS}/configmaps`, {}),
  post(`${NS}/configmaps/c`, {}),
  patch(`${NS}/configmaps`, MERGE_PATCH, {}),
  as('Jos\u00c3\u00a9', get(`${NS}/pods`)),
  get('/livez'),
  get('/readyz'),
  get(`${NS}/configmaps?labelSelector=a%20b`),
  get(`${NS}/configmaps?labelSelector=a%3Db%2Cc%20in%20(d%2Ce)%2C!f`),
  get(`${NS}/configmaps?fieldSelector=foo%3Dbar`),
  get(`${NS}/configmaps?fieldSelector=foo`),
  get(`${NS}/configmaps?resourceVersion=x`),
  get(`${NS}/configmaps?limit=x`),
  get(`${NS}/configmaps/c`, TABLE),
  get(`${NS}/configmaps/c?includeObject=None`, TABLE),
  get(`${NS}/configmaps/c`, [
    ['Accept', 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'],
  ]),
  get('/apis/coordination.k8s.io/v1/namespaces/default/leases', TABLE),
  get(`${RBAC}/namespaces/default/rolebindings`, TABLE),
  get('/apis/batch/v1/namespaces/default/jobs', TABLE),
  get('/apis/policy/v1/namespaces/default/poddisruptionbudgets', TABLE),
  get(`${NS}/events`, TABLE),
  del('/api/v1/namespaces?labelSelector=x'),
  del(`${NS}/configmaps?labelSelector=x%3Dy`),
  post('/version', {}),
]

/** Typed clients write protobuf. */
const protobuf: readonly Step[] = KUBECTL_BODIES.filter(
  ({ command }) => command.startsWith('create') && !command.includes('--bound'),
).map(({ command, path, body }) => ({
  title: `kubectl ${command}`,
  method: 'POST',
  path,
  contentType: 'application/vnd.kubernetes.protobuf',
  body: Buffer.from(body, 'base64'),
}))

const tokens: readonly Step[] = [
  post(`${NS}/serviceaccounts/absent/token`, {}),
  post(`${NS}/serviceaccounts/bot/token`, {}),
  post(`${NS}/serviceaccounts/bot/token`, { spec: { expirationSeconds: 5 } }),
  post(`${NS}/serviceaccounts/bot/token`, { spec: { expirationSeconds: 99999999999 } }),
  post(`${NS}/serviceaccounts/bot/token`, {
    spec: { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'absent' } },
  }),
  post(`${NS}/serviceaccounts/bot/token`, {
    spec: { boundObjectRef: { kind: 'ConfigMap', apiVersion: 'v1', name: 'absent' } },
  }),
  post(`${NS}/serviceaccounts/bot/token`, { metadata: { name: 'other' } }),
  get(`${NS}/serviceaccounts/bot/token`),
]

export const STEPS: readonly Step[] = [
  ...decoding,
  ...life,
  ...workloads,
  ...more,
  ...applying,
  ...migrating,
  ...rights,
  ...shapes,
  ...reviews,
  post(`${NS}/serviceaccounts`, { metadata: { name: 'bot' } }),
  ...tokens,
  ...places,
  ...protobuf,
  patch(`${NS}/services/s`, MERGE_PATCH, { metadata: { labels: { a: 'b' } } }),
  patch(`${NS}/services/s`, MERGE_PATCH, {
    spec: { type: 'ClusterIP', externalTrafficPolicy: null, ports: [{ port: 80, nodePort: null }] },
  }),
]

/** The service account of `impersonating`, and its rights. */
export const impersonatorSetup: readonly Step[] = [
  post(`${NS}/serviceaccounts`, { metadata: { name: 'impersonator' } }),
  post(
    `${RBAC}/clusterroles`,
    role(
      'impersonator',
      rule(['impersonate'], ['users'], { resourceNames: ['mcm:bob'] }),
      rule(['impersonate'], ['groups'], { resourceNames: ['mcm:dev', ''] }),
      {
        apiGroups: ['authentication.k8s.io'],
        resources: ['userextras/mcm.dev/session'],
        verbs: ['impersonate'],
      },
    ),
  ),
  post(
    `${RBAC}/clusterrolebindings`,
    binding(
      'impersonator',
      { kind: 'ClusterRole', name: 'impersonator' },
      { kind: 'ServiceAccount', name: 'impersonator', namespace: 'default' },
    ),
  ),
  post(
    `${RBAC}/namespaces/default/rolebindings`,
    binding('dev', { kind: 'Role', name: 'reader' }, { kind: 'Group', name: 'mcm:dev' }),
  ),
]

/** The same person by constrained impersonation (1.36). */
export const constrainedSetup: readonly Step[] = [
  del(`${RBAC}/clusterroles/impersonator`),
  post(
    `${RBAC}/clusterroles`,
    role(
      'impersonator',
      {
        apiGroups: ['authentication.k8s.io'],
        resources: ['users'],
        verbs: ['impersonate:user-info'],
        resourceNames: ['mcm:bob'],
      },
      {
        apiGroups: ['authentication.k8s.io'],
        resources: ['groups'],
        verbs: ['impersonate:user-info'],
        resourceNames: ['mcm:dev', 'system:masters'],
      },
      rule(['impersonate-on:user-info:list'], ['pods', 'secrets']),
      { nonResourceURLs: ['/version'], verbs: ['impersonate-on:user-info:get'] },
    ),
  ),
]
