/**
 * The one node of the sandbox: it takes every pod, runs its containers, simulated, and says in the pod's status
 * how they are. What a pod's spec asks beyond commands, environment and ports is not done here.
 */
import { type Duplex, duplexPair } from 'node:stream'
import type { Log, World } from '../../world.ts'
import { isJsonObject, type KubeObject, textAt } from '../json.ts'
import { resourceNamed } from '../objects/resources.ts'
import type { Storage } from '../objects/storage.ts'
import type { Container } from './container.ts'
import { RunningPod } from './running-pod.ts'

/** Its name, as in the seed. */
export const NODE = 'sandbox-node'

export interface NodeDeps {
  readonly world: World
  readonly log: Log
  readonly storage: Storage
}

const FIRST_ADDRESS = 20
const PODS = resourceNamed('pods')

export class SandboxNode {
  readonly #deps: NodeDeps
  readonly #pods = new Map<string, RunningPod>()
  #address = FIRST_ADDRESS
  #unsubscribe = () => {}

  constructor(deps: NodeDeps) {
    this.#deps = deps
  }

  /** Runs the pods there are, and with `takesNewPods` every one that comes. */
  start(takesNewPods: boolean): void {
    const { storage } = this.#deps
    for (const pod of storage.list(PODS)) this.#adopt(pod)
    this.#unsubscribe = storage.subscribe(PODS, ({ type, object }) => {
      if (type === 'DELETED') this.#end(object)
      // The request that creates it is answered first.
      else if (type === 'ADDED' && takesNewPods) setImmediate(() => this.#take(object))
    })
  }

  stop(): void {
    this.#unsubscribe()
    for (const pod of this.#pods.values()) pod.kill()
    this.#pods.clear()
  }

  /** A container that runs now. */
  containerOf(pod: KubeObject, name: string): Container | undefined {
    return this.#pods.get(uidOf(pod))?.running(name)
  }

  /** A container's log lives longer than what wrote it. */
  logOf(pod: KubeObject, name: string): Container['log'] | undefined {
    return this.#pods.get(uidOf(pod))?.latest(name)?.log
  }

  /** A connection to a port within the pod; undefined where nobody listens. */
  connect(pod: KubeObject, port: number): Duplex | undefined {
    const listener = this.#pods.get(uidOf(pod))?.ports.get(port)
    if (!listener) return undefined
    const [here, there] = duplexPair()
    for (const end of [here, there]) end.on('error', () => end.destroy())
    // A pair of duplexes does not tell that one of them was destroyed.
    here.once('close', () => there.destroy())
    there.once('close', () => here.destroy())
    listener(there)
    return here
  }

  /** A pod that is said to run from the start. */
  #adopt(pod: KubeObject): void {
    if (textAt(pod, 'spec', 'nodeName') !== NODE) return
    const running = new RunningPod(this.#deps, pod, { podIP: '', startTime: '' })
    this.#pods.set(uidOf(pod), running)
    running.startSilently()
  }

  #take({ metadata: { namespace = '', name = '', uid } }: KubeObject): void {
    const pod = this.#deps.storage.get(PODS, namespace, name)
    const asked = textAt(pod, 'spec', 'nodeName')
    if (!pod || pod.metadata.uid !== uid || (asked !== '' && asked !== NODE)) return
    const { storage, world } = this.#deps
    const spec = isJsonObject(pod.spec) ? pod.spec : {}
    const placed = storage.put(PODS, { ...pod, spec: { ...spec, nodeName: NODE } })
    this.#address += 1
    const podIP = `10.244.${this.#address >> 8}.${this.#address & 255}`
    const startTime = `${world.now().toISOString().slice(0, 19)}Z`
    const running = new RunningPod(this.#deps, placed, { podIP, startTime })
    this.#pods.set(uidOf(pod), running)
    running.start()
  }

  #end(pod: KubeObject): void {
    this.#pods.get(uidOf(pod))?.kill()
    this.#pods.delete(uidOf(pod))
  }
}

function uidOf(pod: KubeObject): string {
  return pod.metadata.uid ?? ''
}
