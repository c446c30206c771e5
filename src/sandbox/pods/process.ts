/** What a simulated program is given: its words, its streams, its surroundings. No host process stands behind it. */
import { setImmediate } from 'node:timers/promises'
import type { ContainerParts } from './container-parts.ts'
import { resolvePath } from './file-system.ts'
import { BrokenPipe, type Sink, type Source } from './pipe.ts'
import type { Terminal } from './terminal.ts'

/** What a client connects to a process. */
export interface ProcessStreams {
  readonly stdin?: Source
  readonly stdout?: Sink
  readonly stderr?: Sink
  readonly isTerminal: boolean
}

/** Ends a process from within, wherever it is. */
export class Exit extends Error {
  readonly code: number

  constructor(code: number) {
    super(`exit ${code}`)
    this.name = 'Exit'
    this.code = code & 0xff
  }
}

/** Reason of an abort: the signal that ended a process. */
export class Killed extends Exit {
  constructor(signal: number) {
    super(128 + signal)
    this.name = 'Killed'
  }
}

/** Leaves a loop of a shell. */
export class LoopJump extends Error {
  readonly isBreak: boolean

  constructor(isBreak: boolean) {
    super('not in a loop')
    this.name = 'LoopJump'
    this.isBreak = isBreak
  }
}

export interface ProgramContext {
  readonly container: ContainerParts
  /** The program's name first. */
  readonly words: readonly string[]
  readonly stdin: Source
  readonly stdout: Sink
  readonly stderr: Sink
  readonly env: ReadonlyMap<string, string>
  readonly directory: string
  /** Of the process it runs in. */
  readonly pid: number
  /** Aborts with `Killed`. */
  readonly signal: AbortSignal
  readonly terminal: Terminal | undefined
}

const BROKEN_PIPE = 141
const BREATHE_EVERY_WRITES = 16

/** Runs to its end and tells the exit code. @throws Exit, BrokenPipe, FileError */
export type Program = (context: ProgramContext) => Promise<number>

/** The value of a promise, unless the process is killed before. @throws Killed */
export async function unlessKilled<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  // Whatever comes of it when nobody waits any more is nobody's business.
  promise.catch(() => {})
  signal.throwIfAborted()
  let onAbort = () => {}
  const killed = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([promise, killed])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** A source whose reader is killed with the process. */
export function killable(source: Source, signal: AbortSignal): Source {
  return {
    read: () => unlessKilled(signal, source.read(signal)),
    cancel: () => source.cancel(),
  }
}

/** A sink whose writer is killed with the process, and lets others run now and then. */
export function killableSink(sink: Sink, signal: AbortSignal): Sink {
  let writes = 0
  return {
    async write(bytes) {
      writes += 1
      if (writes % BREATHE_EVERY_WRITES === 0) await setImmediate()
      await unlessKilled(signal, sink.write(bytes))
    },
    end: () => sink.end(),
  }
}

/** The exit code of what ends in any way. */
export async function ended(running: Promise<number>): Promise<number> {
  try {
    return await running
  } catch (error) {
    if (error instanceof Exit) return error.code
    if (error instanceof BrokenPipe) return BROKEN_PIPE
    if (error instanceof LoopJump) return 0
    throw error
  }
}

export function say(sink: Sink, text: string): Promise<void> {
  return sink.write(Buffer.from(text))
}

/** An absolute path for one that the program was given. */
export function pathFor({ directory }: Pick<ProgramContext, 'directory'>, path: string): string {
  return resolvePath(directory, path)
}
