/** What a pod's status says while it runs here, and after (kubernetes `pkg/kubelet/kubelet_pods.go`). */
import { type JsonObject, type KubeObject, listAt, textAt } from '../json.ts'

/** How one container is. */
export interface ContainerState {
  readonly name: string
  readonly restartCount: number
  readonly state:
    | { readonly running: { readonly startedAt: string } }
    | { readonly waiting: { readonly reason: string } }
    | { readonly terminated: Terminated }
}

export interface Terminated extends JsonObject {
  readonly exitCode: number
  readonly reason: string
  readonly startedAt: string
  readonly finishedAt: string
}

/** What does not change while the pod is here. */
export interface PodPlace {
  readonly podIP: string
  readonly startTime: string
}

const HOST_IP = '10.0.0.1'

export function podStatus(
  pod: KubeObject,
  { podIP, startTime }: PodPlace,
  states: readonly ContainerState[],
): JsonObject {
  const phase = phaseOf(states)
  const isReady = states.every(({ state }) => 'running' in state)
  const isOver = phase === 'Succeeded' || phase === 'Failed'
  const ready = { ready: String(isReady).replace(/^./, (letter) => letter.toUpperCase()) }.ready
  const condition = (type: string, status: string) => ({
    type,
    status,
    ...(status === 'False' && isOver && phase === 'Succeeded' && { reason: 'PodCompleted' }),
    lastProbeTime: null,
    lastTransitionTime: startTime,
  })
  return {
    ...(pod.status as JsonObject),
    phase,
    conditions: [
      condition('Initialized', 'True'),
      condition('Ready', ready),
      condition('ContainersReady', ready),
      condition('PodScheduled', 'True'),
    ],
    hostIP: HOST_IP,
    hostIPs: [{ ip: HOST_IP }],
    podIP,
    podIPs: [{ ip: podIP }],
    startTime,
    containerStatuses: states.map((one) => containerStatus(pod, one)),
  }
}

/** The phase of `pkg/kubelet/kubelet_pods.go` getPhase. */
function phaseOf(states: readonly ContainerState[]): string {
  const codes = states.map(({ state }) =>
    'terminated' in state ? state.terminated.exitCode : undefined,
  )
  if (codes.some((code) => code === undefined)) return 'Running'
  return codes.every((code) => code === 0) ? 'Succeeded' : 'Failed'
}

function containerStatus(
  pod: KubeObject,
  { name, restartCount, state }: ContainerState,
): JsonObject {
  const image = textAt(
    listAt(pod, 'spec', 'containers').find((one) => textAt(one, 'name') === name),
    'image',
  )
  const isRunning = 'running' in state
  const shared = { name, image, imageID: image, restartCount, lastState: {} }
  return { ...shared, ready: isRunning, started: isRunning, state: state as JsonObject }
}
