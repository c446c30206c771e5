/** What the processes of one container share. */
import type { Duplex } from 'node:stream'
import type { World } from '../../world.ts'
import type { FileSystem } from './file-system.ts'
import type { Program } from './process.ts'

/** Takes a connection to a port of the pod; false refuses it. */
export type Listener = (connection: Duplex) => void

export interface ContainerParts {
  readonly world: World
  readonly hostname: string
  readonly files: FileSystem
  /** TCP ports somebody listens on; shared by all containers of the pod. */
  readonly ports: Map<number, Listener>
  /** Every command there is, by name. */
  readonly programs: ReadonlyMap<string, Program>
  /** Running processes by their id. */
  readonly processes: ProcessTable
}

export interface RunningProcess {
  readonly command: string
  kill(signal: number): void
}

export class ProcessTable {
  readonly #running = new Map<number, RunningProcess>()
  #last = 0

  add(process: RunningProcess): number {
    // The main process is number 1, as in every container.
    this.#last += 1
    this.#running.set(this.#last, process)
    return this.#last
  }

  remove(pid: number): void {
    this.#running.delete(pid)
  }

  get(pid: number): RunningProcess | undefined {
    return this.#running.get(pid)
  }

  list(): readonly (readonly [pid: number, process: RunningProcess])[] {
    return [...this.#running]
  }
}
