/** Deployments and jobs (kubernetes `pkg/apis/apps/v1/defaults.go`, `pkg/registry/batch/job/strategy.go`). */
import {
  at,
  isSameJson,
  type JsonObject,
  type KubeObject,
  listAt,
  member,
  textAt,
  withMember,
} from '../json.ts'
import { invalidValue, requiredValue } from '../objects/names.ts'
import type { Cause } from '../refusals.ts'
import type { KindRules } from './kind-rules.ts'
import { podSpecDefaults, podSpecProblems } from './pod.ts'

export const deploymentRules: KindRules = {
  withDefaults: (deployment) => {
    const spec = (deployment.spec ?? {}) as JsonObject
    const defaults = { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 }
    const strategy = strategyDefaults(spec.strategy as JsonObject | undefined)
    return { ...deployment, spec: { ...defaults, ...withTemplate(spec), strategy } }
  },
  atCreation: (deployment) => ({ ...deployment, status: {} }),
  atUpdate: (deployment, old) => withMember(deployment, 'status', old.status),
  problems: (deployment) => [...selectorProblems(deployment), ...templateProblems(deployment)],
  updateProblems: (deployment, old) => immutable(deployment, old, 'selector'),
}

export const jobRules: KindRules = {
  withDefaults: (job) => {
    const spec = (job.spec ?? {}) as JsonObject
    const isOnce = spec.completions === undefined && spec.parallelism === undefined
    const defaults = {
      ...(isOnce && { completions: 1 }),
      parallelism: 1,
      backoffLimit: 6,
      manualSelector: false,
      completionMode: 'NonIndexed',
      suspend: false,
      podReplacementPolicy: 'TerminatingOrFailed',
    }
    return { ...job, spec: { ...defaults, ...withTemplate(spec) } }
  },
  atCreation: (job) => ({ ...ownPods(job), status: {} }),
  atUpdate: (job, old) => withMember(job, 'status', old.status),
  problems: (job) => templateProblems(job),
  updateProblems: (job, old) => [
    ...immutable(job, old, 'selector'),
    ...immutable(job, old, 'template'),
    ...immutable(job, old, 'completionMode'),
  ],
}

function withTemplate(spec: JsonObject): JsonObject {
  const template = (spec.template ?? {}) as JsonObject
  const metadata = template.metadata ?? {}
  return { ...spec, template: { ...template, metadata, spec: podSpecDefaults(template.spec) } }
}

function strategyDefaults(strategy: JsonObject = {}): JsonObject {
  const type = textAt(strategy, 'type') || 'RollingUpdate'
  if (type !== 'RollingUpdate') return { ...strategy, type }
  const rolling = {
    maxUnavailable: '25%',
    maxSurge: '25%',
    ...(strategy.rollingUpdate as JsonObject),
  }
  return { type, rollingUpdate: rolling }
}

function selectorProblems(deployment: KubeObject): readonly Cause[] {
  const selector = at(deployment, 'spec', 'selector')
  const labels = at(deployment, 'spec', 'template', 'metadata', 'labels')
  const missing = selector === undefined ? [requiredValue('spec.selector')] : []
  if (selector !== undefined && selects(selector as JsonObject, (labels ?? {}) as JsonObject))
    return missing
  const problem = '`selector` does not match template `labels`'
  return [...missing, invalidValue('spec.template.metadata.labels', labels ?? null, problem)]
}

/** Whether a LabelSelector selects labels (apimachinery `pkg/apis/meta/v1/helpers.go`). */
function selects(selector: JsonObject, labels: JsonObject): boolean {
  const pairs = Object.entries((selector.matchLabels ?? {}) as JsonObject)
  const isMatch = pairs.every(([key, value]) => member(labels, key) === value)
  return (
    isMatch && listAt(selector, 'matchExpressions').every((one) => holds(one as JsonObject, labels))
  )
}

function holds(expression: JsonObject, labels: JsonObject): boolean {
  const label = member(labels, textAt(expression, 'key'))
  const isIn = label !== undefined && listAt(expression, 'values').includes(label)
  switch (expression.operator) {
    case 'In':
      return isIn
    case 'NotIn':
      return !isIn
    case 'Exists':
      return label !== undefined
    default:
      return label === undefined
  }
}

function templateProblems(object: KubeObject): readonly Cause[] {
  return podSpecProblems(at(object, 'spec', 'template', 'spec'), 'spec.template.spec')
}

/** A job selects its pods by its own uid. */
function ownPods(job: KubeObject): KubeObject {
  const { uid = '', name = '' } = job.metadata
  const labels = {
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
    'controller-uid': uid,
    'job-name': name,
  }
  const spec = job.spec as JsonObject
  const template = spec.template as JsonObject
  const metadata = (template.metadata ?? {}) as JsonObject
  const marked = { ...metadata, labels: { ...(metadata.labels as JsonObject), ...labels } }
  return {
    ...job,
    metadata: { ...job.metadata, labels: { ...job.metadata.labels, ...labels } },
    spec: {
      ...spec,
      selector: { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } },
      template: { ...template, metadata: marked },
    },
  }
}

function immutable(object: KubeObject, old: KubeObject, key: string): readonly Cause[] {
  const value = at(object, 'spec', key)
  if (isSameJson(value, at(old, 'spec', key))) return []
  return [invalidValue(`spec.${key}`, value ?? null, 'field is immutable')]
}
