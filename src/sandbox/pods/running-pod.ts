/** One pod on the node: its containers from their start to their end, again and again where its policy says so. */
import type { Log, World } from '../../world.ts'
import { type Json, type KubeObject, listAt, numberAt, textAt } from '../json.ts'
import { resourceNamed } from '../objects/resources.ts'
import type { Storage } from '../objects/storage.ts'
import { Container } from './container.ts'
import type { Listener } from './container-parts.ts'
import { containerSpec } from './container-spec.ts'
import { imageServer } from './image-server.ts'
import { type ContainerState, type PodPlace, podStatus } from './pod-status.ts'

export interface RunningPodDeps {
  readonly world: World
  readonly log: Log
  readonly storage: Storage
}

const PODS = resourceNamed('pods')
const FIRST_BACKOFF_MS = 10_000
const LAST_BACKOFF_MS = 300_000

export class RunningPod {
  readonly ports = new Map<number, Listener>()
  readonly #deps: RunningPodDeps
  readonly #pod: KubeObject
  readonly #place: PodPlace
  readonly #containers = new Map<string, { container: Container; isRunning: boolean }>()
  readonly #states = new Map<string, ContainerState>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #isOver = false

  constructor(deps: RunningPodDeps, pod: KubeObject, place: PodPlace) {
    this.#deps = deps
    this.#pod = pod
    this.#place = place
  }

  /** Starts every container and keeps the pod's status true. */
  start(): void {
    for (const spec of listAt(this.#pod, 'spec', 'containers')) this.#run(spec, 0)
    this.#report()
  }

  /** Starts every container of a pod whose status tells all there is to tell. */
  startSilently(): void {
    for (const spec of listAt(this.#pod, 'spec', 'containers')) this.#open(spec)
  }

  running(name: string): Container | undefined {
    const found = this.#containers.get(name)
    return found?.isRunning ? found.container : undefined
  }

  /** The last one of that name, running or not. */
  latest(name: string): Container | undefined {
    return this.#containers.get(name)?.container
  }

  kill(): void {
    this.#isOver = true
    for (const timer of this.#timers) clearTimeout(timer)
    for (const { container } of this.#containers.values()) container.kill()
  }

  #open(spec: Json): Container {
    const { world, log } = this.#deps
    const asked = containerSpec(spec)
    const hostname = textAt(this.#pod, 'spec', 'hostname') || (this.#pod.metadata.name ?? '')
    if (asked.command.length === 0)
      for (const port of listAt(spec, 'ports'))
        this.ports.set(numberAt(port, 'containerPort'), imageServer(hostname))
    const container = new Container({ world, log, hostname, ports: this.ports }, asked)
    const entry = { container, isRunning: true }
    this.#containers.set(asked.name, entry)
    void container.exited.then(() => {
      entry.isRunning = false
    })
    return container
  }

  #run(spec: Json, restartCount: number): void {
    const name = textAt(spec, 'name')
    const startedAt = this.#now()
    const container = this.#open(spec)
    this.#states.set(name, { name, restartCount, state: { running: { startedAt } } })
    void container.exited.then((exitCode) => {
      if (this.#isOver) return
      const reason = exitCode === 0 ? 'Completed' : 'Error'
      const terminated = { exitCode, reason, startedAt, finishedAt: this.#now() }
      this.#states.set(name, { name, restartCount, state: { terminated } })
      if (this.#restarts(exitCode)) this.#restartLater(spec, restartCount)
      this.#report()
    })
  }

  #restarts(exitCode: number): boolean {
    const policy = textAt(this.#pod, 'spec', 'restartPolicy')
    return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0)
  }

  #restartLater(spec: Json, restartCount: number): void {
    const name = textAt(spec, 'name')
    const waiting = { reason: 'CrashLoopBackOff' }
    this.#states.set(name, { name, restartCount, state: { waiting } })
    const delay = Math.min(FIRST_BACKOFF_MS * 2 ** restartCount, LAST_BACKOFF_MS)
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#run(spec, restartCount + 1)
      this.#report()
    }, delay)
    timer.unref()
    this.#timers.add(timer)
  }

  #report(): void {
    const { namespace = '', name = '', uid } = this.#pod.metadata
    const pod = this.#deps.storage.get(PODS, namespace, name)
    if (!pod || pod.metadata.uid !== uid) return
    const status = podStatus(pod, this.#place, [...this.#states.values()])
    this.#deps.storage.put(PODS, { ...pod, status })
  }

  #now(): string {
    return `${this.#deps.world.now().toISOString().slice(0, 19)}Z`
  }
}
