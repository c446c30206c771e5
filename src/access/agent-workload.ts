import type { KubernetesObject } from '../kube/object.ts'
import { AGENT_NAME, AGENT_NAMESPACE } from './agent-rights.ts'
import { MANAGED_BY_MCM } from './label.ts'

/**
 * How the agent runs in its cluster: two replicas apart from each other, with nothing on them that an
 * intruder could use. The pod passes the Pod Security Standard `restricted`.
 */

/** Where the Secret `mcm-agent` is mounted: one file per key. */
export const AGENT_CONFIGURATION_DIRECTORY = '/etc/mcm/agent'

/** Plain HTTP for the kubelet alone: `/healthz` (alive) and `/readyz` (has a tunnel and the API server). */
export const AGENT_HEALTH_PORT = 8081

/** Where the containers listen for the direct address, whichever ports it has outside. */
export const AGENT_DIRECT_PORTS = { sessions: 9443, enrolment: 9444 } as const

/** User and group id of the image (65532, "nonroot" by custom). */
export const AGENT_USER_ID = 65_532

const TOKEN_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount'
const TOKEN_LIFETIME_SECONDS = 3600
const POD_LABELS = { 'app.kubernetes.io/name': AGENT_NAME } as const

export interface AgentWorkload {
  /** Reference of the agent's image. */
  readonly image: string
  /** Names of Secrets in the agent's namespace that let the kubelet pull it. */
  readonly imagePullSecrets?: readonly string[]
  /** Default 2. */
  readonly replicas?: number
  /** The API server's audience, where it is not the default one. */
  readonly apiAudience?: string
  /** Names the pod shall resolve by itself, for clusters whose DNS does not know the hub. */
  readonly hostAliases?: readonly { readonly ip: string; readonly hostnames: readonly string[] }[]
  /** How the direct address leads to the agent; without it nothing may dial in. */
  readonly direct?: DirectExposure
  /** How old an administrator's confirmation of the directory may be, as `7d`; any age unless told. */
  readonly directoryMaximumAge?: string
  /** How long certificates of bots may live, as `30d`; a day unless told. */
  readonly botMaximumLife?: string
  /** Changes when the mounted configuration does, so that the pods are replaced. No secret. */
  readonly configurationHash: string
}

export const DIRECT_SERVICES = ['LoadBalancer', 'NodePort', 'ClusterIP'] as const

/** The Service of the direct address; with `NodePort` the ports are those of the nodes. */
export interface DirectExposure {
  readonly service: (typeof DIRECT_SERVICES)[number]
  readonly sessions: number
  readonly enrolment: number
}

/** Deployment, PodDisruptionBudget and NetworkPolicy, and a Service where there is a direct address. */
export function agentWorkload(workload: AgentWorkload): KubernetesObject[] {
  const { direct } = workload
  const objects = [deployment(workload), disruptionBudget(), ingressPolicy(direct)]
  return direct ? [...objects, directService(direct)] : objects
}

function metadata() {
  return {
    name: AGENT_NAME,
    namespace: AGENT_NAMESPACE,
    labels: { ...MANAGED_BY_MCM, ...POD_LABELS },
  }
}

function deployment(workload: AgentWorkload) {
  const annotations = { 'mcm.dev/configuration': workload.configurationHash }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata(),
    spec: {
      replicas: workload.replicas ?? 2,
      selector: { matchLabels: POD_LABELS },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: { labels: { ...MANAGED_BY_MCM, ...POD_LABELS }, annotations },
        spec: podSpec(workload),
      },
    },
  }
}

function podSpec(workload: AgentWorkload) {
  const { imagePullSecrets = [], hostAliases = [] } = workload
  const pullSecrets = imagePullSecrets.map((name) => ({ name }))
  return {
    serviceAccountName: AGENT_NAME,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 30,
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map(
      spread,
    ),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: AGENT_USER_ID,
      runAsGroup: AGENT_USER_ID,
      fsGroup: AGENT_USER_ID,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [container(workload)],
    volumes: [configurationVolume(), tokenVolume(workload.apiAudience)],
    ...(pullSecrets.length > 0 ? { imagePullSecrets: pullSecrets } : {}),
    ...(hostAliases.length > 0 ? { hostAliases } : {}),
  }
}

function container({ image, direct, directoryMaximumAge: age, botMaximumLife }: AgentWorkload) {
  const args = [
    ...(direct ? DIRECT_ARGUMENTS : []),
    ...(age === undefined ? [] : [`--directory-max-age=${age}`]),
    ...(botMaximumLife === undefined ? [] : [`--bot-max-life=${botMaximumLife}`]),
  ]
  const probe = { periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3 }
  return {
    name: 'agent',
    image,
    imagePullPolicy: 'IfNotPresent',
    env: [
      fieldVariable('POD_NAME', 'metadata.name'),
      fieldVariable('POD_UID', 'metadata.uid'),
      fieldVariable('POD_NAMESPACE', 'metadata.namespace'),
    ],
    ...(args.length > 0 ? { args } : {}),
    ports: [{ name: 'health', containerPort: AGENT_HEALTH_PORT }, ...(direct ? directPorts() : [])],
    livenessProbe: { httpGet: { path: '/healthz', port: 'health' }, ...probe },
    readinessProbe: { httpGet: { path: '/readyz', port: 'health' }, ...probe, periodSeconds: 5 },
    resources: {
      requests: { cpu: '50m', memory: '128Mi' },
      limits: { cpu: '2', memory: '512Mi' },
    },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [
      { name: 'configuration', mountPath: AGENT_CONFIGURATION_DIRECTORY, readOnly: true },
      { name: 'token', mountPath: TOKEN_DIRECTORY, readOnly: true },
    ],
  }
}

const DIRECT_ARGUMENTS = [
  `--direct-listen=:${AGENT_DIRECT_PORTS.sessions},${AGENT_DIRECT_PORTS.enrolment}`,
]

function directPorts() {
  return Object.entries(AGENT_DIRECT_PORTS).map(([name, containerPort]) => ({
    name,
    containerPort,
    protocol: 'TCP',
  }))
}

function spread(topologyKey: string) {
  const labelSelector = { matchLabels: POD_LABELS }
  return { maxSkew: 1, topologyKey, whenUnsatisfiable: 'ScheduleAnyway', labelSelector }
}

function fieldVariable(name: string, fieldPath: string) {
  return { name, valueFrom: { fieldRef: { fieldPath } } }
}

function configurationVolume() {
  return { name: 'configuration', secret: { secretName: AGENT_NAME, defaultMode: 0o440 } }
}

/** What in-cluster clients expect, but with a token that is short-lived and dies with the pod. */
function tokenVolume(audience: string | undefined) {
  const token = { path: 'token', expirationSeconds: TOKEN_LIFETIME_SECONDS }
  // Spelled out as the API server completes it, so that applying it again changes nothing.
  const fieldRef = { apiVersion: 'v1', fieldPath: 'metadata.namespace' }
  const namespace = { path: 'namespace', fieldRef }
  const sources = [
    { serviceAccountToken: audience === undefined ? token : { ...token, audience } },
    { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    { downwardAPI: { items: [namespace] } },
  ]
  return { name: 'token', projected: { defaultMode: 0o440, sources } }
}

function disruptionBudget() {
  const spec = { minAvailable: 1, selector: { matchLabels: POD_LABELS } }
  return { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: metadata(), spec }
}

/**
 * Nothing may dial in but to the direct address, where there is one; the kubelet's probes come from the pod's
 * own node, which policies never stop.
 */
function ingressPolicy(direct: DirectExposure | undefined) {
  const ports = Object.values(AGENT_DIRECT_PORTS).map((port) => ({ protocol: 'TCP', port }))
  const ingress = direct ? { ingress: [{ ports }] } : {}
  const spec = { podSelector: { matchLabels: POD_LABELS }, policyTypes: ['Ingress'], ...ingress }
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: metadata(),
    spec,
  }
}

/**
 * An agent without a tunnel is not ready, and just then it is wanted here. Behind a load balancer clients keep
 * their addresses, by which the agent counts; a node port shall answer on every node instead.
 */
function directService({ service, ...ports }: DirectExposure) {
  const isNodePort = service === 'NodePort'
  const spec = {
    type: service,
    selector: POD_LABELS,
    publishNotReadyAddresses: true,
    ...(service === 'LoadBalancer' ? { externalTrafficPolicy: 'Local' } : {}),
    ports: (['sessions', 'enrolment'] as const).map((name) => ({
      name,
      protocol: 'TCP',
      port: ports[name],
      targetPort: name,
      ...(isNodePort ? { nodePort: ports[name] } : {}),
    })),
  }
  return { apiVersion: 'v1', kind: 'Service', metadata: metadata(), spec }
}
