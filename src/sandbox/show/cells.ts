/** What stands in the cells of a table, where it takes more than a look. */
import {
  at,
  isJsonObject,
  type Json,
  type KubeObject,
  listAt,
  numberAt,
  textAt,
  textsAt,
} from '../json.ts'
import { age, humanDuration } from './duration.ts'

export type Cell = string | number

export const nameOf = (object: KubeObject) => object.metadata.name ?? ''
export const ageOf = (object: KubeObject, now: Date) => age(object.metadata.creationTimestamp, now)
export const orNone = (text: string) => text || '<none>'
const orUnknown = (text: string) => text || '<unknown>'

export function subjectCells(object: KubeObject): readonly string[] {
  const of = (kind: string, show: (subject: Json) => string) =>
    listAt(object, 'subjects')
      .filter((subject) => textAt(subject, 'kind') === kind)
      .map(show)
      .join(', ')
  const name = (subject: Json) => textAt(subject, 'name')
  const account = (subject: Json) => `${textAt(subject, 'namespace')}/${name(subject)}`
  return [of('User', name), of('Group', name), of('ServiceAccount', account)]
}

export function nodeCells(node: KubeObject, now: Date): readonly Cell[] {
  const ready = listAt(node, 'status', 'conditions').find((one) => textAt(one, 'type') === 'Ready')
  const state =
    ready === undefined ? 'Unknown' : textAt(ready, 'status') === 'True' ? 'Ready' : 'NotReady'
  const status = at(node, 'spec', 'unschedulable') === true ? `${state},SchedulingDisabled` : state
  const info = (key: string) => textAt(node, 'status', 'nodeInfo', key)
  const architecture = info('architecture') ? ` (${info('architecture')})` : ''
  return [
    nameOf(node),
    status,
    orNone(nodeRoles(node).join(',')),
    ageOf(node, now),
    info('kubeletVersion'),
    orNone(nodeAddress(node, 'InternalIP')),
    orNone(nodeAddress(node, 'ExternalIP')),
    orUnknown(info('osImage')),
    orUnknown(info('kernelVersion')) + architecture,
    orUnknown(info('containerRuntimeVersion')),
  ]
}

const ROLE_LABEL = 'node-role.kubernetes.io/'

function nodeRoles(node: KubeObject): readonly string[] {
  const labels = Object.entries(node.metadata.labels ?? {})
  const roles = labels.flatMap(([key, value]) => {
    if (key.startsWith(ROLE_LABEL)) return [key.slice(ROLE_LABEL.length)]
    return key === 'kubernetes.io/role' ? [value] : []
  })
  return roles.filter((role) => role !== '').sort()
}

function nodeAddress(node: KubeObject, type: string): string {
  const found = listAt(node, 'status', 'addresses').find((one) => textAt(one, 'type') === type)
  return textAt(found, 'address')
}

export function serviceCells(service: KubeObject, now: Date): readonly Cell[] {
  const ports = listAt(service, 'spec', 'ports').map((port) => {
    const nodePort = numberAt(port, 'nodePort')
    const number = `${numberAt(port, 'port')}${nodePort > 0 ? `:${nodePort}` : ''}`
    return `${number}/${textAt(port, 'protocol')}`
  })
  return [
    nameOf(service),
    textAt(service, 'spec', 'type'),
    orNone(textsAt(service, 'spec', 'clusterIPs')[0] ?? ''),
    externalAddress(service),
    orNone(ports.join(',')),
    ageOf(service, now),
    orNone(labelText(at(service, 'spec', 'selector'))),
  ]
}

function externalAddress(service: KubeObject): string {
  const addresses = textsAt(service, 'spec', 'externalIPs').join(',')
  const type = textAt(service, 'spec', 'type')
  if (type === 'ExternalName') return textAt(service, 'spec', 'externalName')
  return addresses || (type === 'LoadBalancer' ? '<pending>' : '<none>')
}

export function eventCells(event: KubeObject, now: Date): readonly Cell[] {
  const first = age(event.firstTimestamp ?? event.eventTime, now)
  const last = at(event, 'series') ? age(at(event, 'series', 'lastObservedTime'), now) : undefined
  const kind = textAt(event, 'involvedObject', 'kind').toLowerCase()
  const name = textAt(event, 'involvedObject', 'name')
  const source = textAt(event, 'source', 'component') || textAt(event, 'reportingComponent')
  const host = textAt(event, 'source', 'host') || textAt(event, 'reportingInstance')
  return [
    last ?? (event.lastTimestamp ? age(event.lastTimestamp, now) : first),
    textAt(event, 'type'),
    textAt(event, 'reason'),
    name ? `${kind}/${name}` : kind,
    textAt(event, 'involvedObject', 'fieldPath'),
    host ? `${source}, ${host}` : source,
    textAt(event, 'message').trim(),
    first,
    numberAt(event, 'series', 'count') || numberAt(event, 'count') || 1,
    nameOf(event),
  ]
}

export function templateCells(object: KubeObject): readonly string[] {
  const containers = listAt(object, 'spec', 'template', 'spec', 'containers')
  return ['name', 'image'].map((key) => containers.map((one) => textAt(one, key)).join(','))
}

export function jobStatus(job: KubeObject): string {
  const conditions = listAt(job, 'status', 'conditions')
  const has = (type: string) =>
    conditions.some((one) => textAt(one, 'type') === type && textAt(one, 'status') === 'True')
  if (has('Complete')) return 'Complete'
  if (has('Failed')) return 'Failed'
  if (job.metadata.deletionTimestamp !== undefined) return 'Terminating'
  const rest = ['Suspended', 'FailureTarget', 'SuccessCriteriaMet'].find(has)
  return rest ?? 'Running'
}

export function jobDuration(job: KubeObject, now: Date): string {
  const [start, end] = ['startTime', 'completionTime'].map((key) => textAt(job, 'status', key))
  if (!start) return ''
  const until = end ? new Date(end) : now
  return humanDuration(until.getTime() - new Date(start).getTime())
}

export function paramKind(policy: KubeObject): string {
  const kind = at(policy, 'spec', 'paramKind')
  return kind ? `${textAt(kind, 'apiVersion')}/${textAt(kind, 'kind')}` : '<unset>'
}

function labelText(labels: Json | undefined): string {
  if (!isJsonObject(labels)) return ''
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(',')
}

/** apimachinery `pkg/apis/meta/v1/helpers.go` FormatLabelSelector. */
export function selectorText(selector: Json | undefined): string {
  const expressions = listAt(selector, 'matchExpressions').map((one) => {
    const [key, operator] = [textAt(one, 'key'), textAt(one, 'operator')]
    if (operator === 'Exists') return key
    if (operator === 'DoesNotExist') return `!${key}`
    return `${key} ${operator.toLowerCase()} (${textsAt(one, 'values').join(',')})`
  })
  return [labelText(at(selector, 'matchLabels')), ...expressions]
    .filter((one) => one !== '')
    .join(',')
}
