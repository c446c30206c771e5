/** The row of a pod (kubernetes `pkg/printers/internalversion/printers.go` printPod). */
import { at, type Json, type KubeObject, listAt, numberAt, textAt } from '../json.ts'
import { age } from './duration.ts'

export function podCells(pod: KubeObject, now: Date): readonly (string | number)[] {
  const statuses = listAt(pod, 'status', 'containerStatuses')
  const ready = statuses.filter(
    (one) => at(one, 'ready') === true && at(one, 'state', 'running') !== undefined,
  )
  const orNone = (text: string) => text || '<none>'
  return [
    pod.metadata.name ?? '',
    `${ready.length}/${listAt(pod, 'spec', 'containers').length}`,
    statusOf(pod, statuses, ready.length > 0),
    restartsOf(statuses, now),
    age(pod.metadata.creationTimestamp, now),
    orNone(textAt(listAt(pod, 'status', 'podIPs')[0], 'ip')),
    orNone(textAt(pod, 'spec', 'nodeName')),
    orNone(textAt(pod, 'status', 'nominatedNodeName')),
    readinessGates(pod),
  ]
}

function statusOf(pod: KubeObject, statuses: readonly Json[], hasRunning: boolean): string {
  const phase = textAt(pod, 'status', 'phase')
  if (pod.metadata.deletionTimestamp !== undefined && !['Failed', 'Succeeded'].includes(phase))
    return 'Terminating'
  const reason =
    initReason(pod) ?? containersReason(statuses) ?? (textAt(pod, 'status', 'reason') || phase)
  if (reason !== 'Completed' || !hasRunning) return reason
  return isReady(pod) ? 'Running' : 'NotReady'
}

/** What the first container that does not simply run has to say. */
function containersReason(statuses: readonly Json[]): string | undefined {
  return statuses.map(stateReason).find((reason) => reason !== undefined)
}

function stateReason(status: Json): string | undefined {
  const waiting = textAt(status, 'state', 'waiting', 'reason')
  if (waiting !== '') return waiting
  const terminated = at(status, 'state', 'terminated')
  return terminated === undefined ? undefined : terminatedReason(terminated)
}

function terminatedReason(terminated: Json): string {
  const [reason, signal] = [textAt(terminated, 'reason'), numberAt(terminated, 'signal')]
  if (reason !== '') return reason
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${numberAt(terminated, 'exitCode')}`
}

function initReason(pod: KubeObject): string | undefined {
  const statuses = listAt(pod, 'status', 'initContainerStatuses')
  const index = statuses.findIndex((one) => {
    const terminated = at(one, 'state', 'terminated')
    return terminated === undefined || numberAt(terminated, 'exitCode') !== 0
  })
  if (index < 0) return undefined
  const reason = stateReason(statuses[index]!)
  if (reason !== undefined && reason !== 'PodInitializing') return `Init:${reason}`
  return `Init:${index}/${listAt(pod, 'spec', 'initContainers').length}`
}

function isReady(pod: KubeObject): boolean {
  return hasCondition(pod, 'Ready')
}

function hasCondition(pod: KubeObject, type: string): boolean {
  return listAt(pod, 'status', 'conditions').some(
    (one) => textAt(one, 'type') === type && textAt(one, 'status') === 'True',
  )
}

function restartsOf(statuses: readonly Json[], now: Date): string {
  const count = statuses.reduce<number>((sum, one) => sum + numberAt(one, 'restartCount'), 0)
  const times = statuses.map((one) => textAt(one, 'lastState', 'terminated', 'finishedAt')).sort()
  const last = times.at(-1)
  return count > 0 && last ? `${count} (${age(last, now)} ago)` : String(count)
}

function readinessGates(pod: KubeObject): string {
  const gates = listAt(pod, 'spec', 'readinessGates')
  if (gates.length === 0) return '<none>'
  const open = gates.filter((one) => hasCondition(pod, textAt(one, 'conditionType')))
  return `${open.length}/${gates.length}`
}
