/**
 * One simulated container: its files, its main process, and what is run in it. Everything happens in this
 * program's memory: no process, no file and no socket of the machine is touched.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log, World } from '../../world.ts'
import { ContainerLog } from './container-log.ts'
import { type ContainerParts, type Listener, ProcessTable } from './container-parts.ts'
import { FileSystem } from './file-system.ts'
import { NOTHING, NOWHERE, Pipe, type Sink, type Source } from './pipe.ts'
import {
  Exit,
  ended,
  Killed,
  killable,
  killableSink,
  type ProcessStreams,
  type ProgramContext,
  say,
} from './process.ts'
import { findProgram, PATH } from './program-path.ts'
import { PROGRAMS } from './programs.ts'
import { Terminal, type TerminalSize } from './terminal.ts'

/** What a pod's spec says of it. */
export interface ContainerSpec {
  readonly name: string
  /** Empty: the image's own, which is a server that says nothing. */
  readonly command: readonly string[]
  readonly env: readonly (readonly [name: string, value: string])[]
  readonly directory: string
  readonly hasStdin: boolean
  /** The first that attaches with stdin ends it for all. */
  readonly isStdinOnce: boolean
  readonly hasTerminal: boolean
}

export interface ContainerDeps {
  readonly world: World
  readonly log: Log
  readonly hostname: string
  /** Shared by all containers of the pod. */
  readonly ports: Map<number, Listener>
}

/** A process that a client is connected to. */
export interface Process {
  /** Its exit code. */
  readonly exited: Promise<number>
  resize(size: TerminalSize): void
  /** The client is gone. */
  detach(): void
}

const SIGKILL = 9
const SIGHUP = 1
const SIGINT = 2
const NOT_FOUND = 127
/** Together about three megabytes a second. */
const PACED_BYTES = 64 * 1024
const PACE_MS = 20
const SERVER = ['sleep', 'infinity']

export class Container implements ContainerParts {
  readonly world: World
  readonly hostname: string
  readonly files: FileSystem
  readonly ports: Map<number, Listener>
  readonly programs = PROGRAMS
  readonly processes = new ProcessTable()
  readonly log: ContainerLog
  readonly #deps: ContainerDeps
  readonly #spec: ContainerSpec
  readonly #stdin = new Pipe()
  readonly #attached = { stdout: new Set<Sink>(), stderr: new Set<Sink>() }
  readonly #main: Process
  #unpaced = 0

  constructor(deps: ContainerDeps, spec: ContainerSpec) {
    this.#deps = deps
    this.#spec = spec
    this.world = deps.world
    this.hostname = deps.hostname
    this.ports = deps.ports
    this.log = new ContainerLog(deps.world)
    this.files = new FileSystem(() => deps.world.now())
    fillFiles(this.files, deps.hostname)
    this.#main = this.#startMain()
  }

  /** The exit code of the main process. */
  get exited(): Promise<number> {
    return this.#main.exited
  }

  /** Runs a command beside the main process; it ends when its client goes. */
  exec(command: readonly string[], streams: ProcessStreams): Process {
    return this.#start(command, streams)
  }

  /** Connects a client to the main process. */
  attach(streams: ProcessStreams): Process {
    const { stdout, stderr } = streams
    if (stdout) this.#attached.stdout.add(stdout)
    if (stderr) this.#attached.stderr.add(stderr)
    const { promise: detached, resolve } = Promise.withResolvers<number>()
    if (streams.stdin) void this.#passStdin(streams.stdin)
    return {
      // How the main process ended is told by the pod's status.
      exited: Promise.race([this.#main.exited.then(() => 0), detached]),
      resize: (size) => this.#main.resize(size),
      detach: () => {
        if (stdout) this.#attached.stdout.delete(stdout)
        if (stderr) this.#attached.stderr.delete(stderr)
        if (streams.stdin && this.#spec.isStdinOnce) this.#stdin.end()
        resolve(0)
      },
    }
  }

  /** Ends every process. */
  kill(): void {
    for (const [, process] of this.processes.list()) process.kill(SIGKILL)
  }

  #startMain(): Process {
    const { command, hasStdin, hasTerminal } = this.#spec
    const output = (attached: Set<Sink>): Sink => ({
      write: (bytes) => this.#publish(bytes, attached),
      end: () => {},
    })
    const standard = hasStdin ? ['sh'] : SERVER
    const main = this.#start(command.length > 0 ? command : standard, {
      ...(hasStdin && { stdin: this.#stdin }),
      stdout: output(this.#attached.stdout),
      stderr: output(this.#attached.stderr),
      isTerminal: hasTerminal,
    })
    void main.exited.then(() => {
      this.log.flush()
      this.kill()
    })
    return main
  }

  async #publish(bytes: Buffer, attached: Set<Sink>): Promise<void> {
    this.log.append(bytes)
    await this.#pace(bytes.length)
    for (const sink of [...attached]) {
      try {
        await sink.write(bytes)
      } catch {
        attached.delete(sink)
      }
    }
  }

  /** A log is written no faster than to a disk, or one loud pod would take all the time there is. */
  async #pace(bytes: number): Promise<void> {
    this.#unpaced += bytes
    if (this.#unpaced < PACED_BYTES) return
    this.#unpaced = 0
    await sleep(PACE_MS)
  }

  async #passStdin(source: Source): Promise<void> {
    try {
      for (let bytes = await source.read(); bytes; bytes = await source.read())
        await this.#stdin.write(bytes)
    } catch {
      source.cancel()
    }
    if (this.#spec.isStdinOnce) this.#stdin.end()
  }

  #start(command: readonly string[], streams: ProcessStreams): Process {
    const controller = new AbortController()
    const kill = (signal: number) => controller.abort(new Killed(signal))
    const pid = this.processes.add({ command: command.join(' '), kill })
    const { stdin = NOTHING, stdout = NOWHERE, stderr = NOWHERE } = streams
    const terminal = streams.isTerminal ? new Terminal(stdin, stdout) : undefined
    if (terminal) terminal.onInterrupt = () => kill(SIGINT)
    const { signal } = controller
    const context: ProgramContext = {
      container: this,
      words: command,
      stdin: killable(terminal?.stdin ?? stdin, signal),
      stdout: killableSink(terminal?.stdout ?? stdout, signal),
      stderr: killableSink(terminal?.stdout ?? stderr, signal),
      env: this.#environment(terminal !== undefined),
      directory: this.#spec.directory,
      pid,
      signal,
      terminal,
    }
    const exited = this.#finish(this.#run(context), pid)
    return {
      exited,
      resize: (size) => {
        if (terminal) terminal.size = size
      },
      detach: () => kill(SIGHUP),
    }
  }

  async #run(context: ProgramContext): Promise<number> {
    const { words, directory, stderr } = context
    const found = words.length === 0 ? 'missing' : findProgram(this, directory, words)
    if (typeof found !== 'string') return await found.run({ ...context, words: found.words })
    const why = found === 'missing' ? 'executable file not found in $PATH' : 'permission denied'
    const name = JSON.stringify(words[0] ?? '')
    await say(
      stderr,
      `OCI runtime exec failed: exec failed: unable to start container process: exec: ${name}: ${why}: unknown\n`,
    )
    throw new Exit(NOT_FOUND)
  }

  async #finish(running: Promise<number>, pid: number): Promise<number> {
    try {
      return await ended(running)
    } catch (error) {
      // A program of ours has a mistake in it; the container is none the worse for it.
      this.#deps.log.error('sandbox.process.failed', { error })
      return 1
    } finally {
      this.processes.remove(pid)
    }
  }

  #environment(hasTerminal: boolean): ReadonlyMap<string, string> {
    return new Map([
      ['PATH', PATH],
      ['HOSTNAME', this.hostname],
      ['HOME', '/root'],
      ...(hasTerminal ? [['TERM', 'xterm'] as const] : []),
      ['KUBERNETES_SERVICE_HOST', '10.96.0.1'],
      ['KUBERNETES_SERVICE_PORT', '443'],
      ...this.#spec.env,
    ])
  }
}

const EXECUTABLE = 0o755

function fillFiles(files: FileSystem, hostname: string): void {
  for (const folder of ['/bin', '/etc', '/root', '/tmp', '/dev', '/var/log', '/home'])
    files.makeDirectory(folder)
  for (const name of PROGRAMS.keys()) files.write(`/bin/${name}`, Buffer.alloc(0), EXECUTABLE)
  const texts = {
    '/etc/hostname': `${hostname}\n`,
    '/etc/hosts': '127.0.0.1\tlocalhost\n',
    '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
    '/etc/os-release': 'NAME="mcm sandbox"\nID=sandbox\nPRETTY_NAME="mcm sandbox"\n',
  }
  for (const [path, text] of Object.entries(texts)) files.write(path, Buffer.from(text))
}
