/** Pods and the pod templates within other kinds (kubernetes `pkg/apis/core/v1/defaults.go`). */
import {
  at,
  isJsonObject,
  isSameJson,
  type Json,
  type JsonObject,
  type KubeObject,
  listAt,
  member,
  textAt,
  withMember,
} from '../json.ts'
import { invalidValue, nameProblems, requiredValue } from '../objects/names.ts'
import type { Cause } from '../refusals.ts'
import type { KindRules } from './kind-rules.ts'

export const podRules: KindRules = {
  withDefaults: (pod) => {
    const spec = podSpecDefaults(at(pod, 'spec'))
    const rest = { enableServiceLinks: spec.enableServiceLinks ?? true }
    return { ...pod, spec: { ...spec, ...rest } }
  },
  atCreation: (pod) => ({
    ...pod,
    spec: admitted(pod.spec as JsonObject),
    status: { phase: 'Pending', qosClass: qosClassOf(pod) },
  }),
  atUpdate: (pod, old) => withMember(pod, 'status', old.status),
  problems: (pod) => podSpecProblems(at(pod, 'spec'), 'spec'),
  updateProblems: (pod, old) => podUpdateProblems(pod, old),
  isReturnedWhenDeleted: true,
}

/** Defaults of a pod's spec, wherever it stands. */
export function podSpecDefaults(value: Json | undefined): JsonObject {
  const spec = isJsonObject(value) ? value : {}
  const containers = (key: string) => {
    const list = listAt(spec, key)
    return list.length > 0 ? { [key]: list.map(containerDefaults) } : {}
  }
  // Two names of one field, the older one kept for old clients.
  const account = textAt(spec, 'serviceAccountName') || textAt(spec, 'serviceAccount')
  return {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
    ...spec,
    ...(account && { serviceAccountName: account, serviceAccount: account }),
    ...containers('initContainers'),
    ...containers('containers'),
  }
}

function containerDefaults(value: Json): JsonObject {
  const container = value as JsonObject
  const image = textAt(container, 'image')
  const isMoving = /:latest$/.test(image) || !/[:@][^/]*$/.test(image)
  const ports = listAt(container, 'ports')
  const { limits } = (container.resources ?? {}) as JsonObject
  return {
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: isMoving ? 'Always' : 'IfNotPresent',
    ...container,
    resources: limits
      ? {
          ...(container.resources as JsonObject),
          requests: {
            ...(limits as JsonObject),
            ...(at(container, 'resources', 'requests') as JsonObject),
          },
        }
      : (container.resources ?? {}),
    ...(ports.length > 0 && {
      ports: ports.map((port) => ({ protocol: 'TCP', ...(port as JsonObject) })),
    }),
  }
}

/** What the admission plugins add: priority, the two tolerations, the service account. */
function admitted(spec: JsonObject): JsonObject {
  const account = textAt(spec, 'serviceAccountName') || 'default'
  const wanted = ['not-ready', 'unreachable'].map((name) => `node.kubernetes.io/${name}`)
  const present = listAt(spec, 'tolerations')
  const missing = wanted.filter((key) => !present.some((one) => textAt(one, 'key') === key))
  const added = missing.map((key) => ({
    key,
    operator: 'Exists',
    effect: 'NoExecute',
    tolerationSeconds: 300,
  }))
  return {
    ...spec,
    serviceAccountName: account,
    serviceAccount: account,
    tolerations: [...present, ...added],
    priority: 0,
    preemptionPolicy: spec.preemptionPolicy ?? 'PreemptLowerPriority',
  }
}

/** kubernetes `pkg/apis/core/v1/helper/qos/qos.go`. */
function qosClassOf(pod: KubeObject): string {
  const resources = listAt(pod, 'spec', 'containers').map((one) => at(one, 'resources'))
  const has = (one: Json | undefined, part: string) =>
    Object.keys((member(one, part) ?? {}) as object).length > 0
  if (!resources.some((one) => has(one, 'limits') || has(one, 'requests'))) return 'BestEffort'
  const isGuaranteed = resources.every(
    (one) =>
      ['cpu', 'memory'].every((key) => at(one, 'limits', key) !== undefined) &&
      isSameJson(member(one, 'limits'), member(one, 'requests')),
  )
  return isGuaranteed ? 'Guaranteed' : 'Burstable'
}

export function podSpecProblems(spec: Json | undefined, path: string): readonly Cause[] {
  const containers = listAt(spec, 'containers')
  if (containers.length === 0) return [requiredValue(`${path}.containers`)]
  return containers.flatMap((one, index) => containerProblems(one, `${path}.containers[${index}]`))
}

function containerProblems(container: Json, path: string): readonly Cause[] {
  const name = textAt(container, 'name')
  const ofName =
    name === ''
      ? [requiredValue(`${path}.name`)]
      : nameProblems(name, 'label').map((problem) => invalidValue(`${path}.name`, name, problem))
  return textAt(container, 'image') === '' ? [...ofName, requiredValue(`${path}.image`)] : ofName
}

const MUTABLE =
  '`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)'

function podUpdateProblems(pod: KubeObject, old: KubeObject): readonly Cause[] {
  if (isSameJson(fixedPart(pod), fixedPart(old))) return []
  const message = `Forbidden: pod updates may not change fields other than ${MUTABLE}`
  return [{ reason: 'FieldValueForbidden', message, field: 'spec' }]
}

function fixedPart(pod: KubeObject): JsonObject {
  const { tolerations, activeDeadlineSeconds, ...spec } = pod.spec as JsonObject
  const withoutImages = (key: string) =>
    listAt(spec, key).map((one) => withMember(one as JsonObject, 'image', undefined))
  return {
    ...spec,
    containers: withoutImages('containers'),
    initContainers: withoutImages('initContainers'),
  }
}
