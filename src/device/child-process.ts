import { type ChildProcess, spawn } from 'node:child_process'
import { messageOf, NotFoundError, UsageError } from '../errors.ts'

/** Programs that mcm starts for a person. Knows processes and signals, nothing of clusters. */

type Environment = Readonly<Record<string, string | undefined>>

export interface ChildEnd {
  /** null when a signal ended it. */
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Child {
  /** undefined where it is the person's own. */
  readonly stdout?: AsyncIterable<Uint8Array>
  readonly stderr?: AsyncIterable<Uint8Array>
  /** When it has ended and said all. @throws NotFoundError MCM_PROGRAM_UNKNOWN, UsageError MCM_USAGE when it cannot be run */
  readonly ended: Promise<ChildEnd>
  /** Sends it a signal; a detached one with everything it has started. */
  kill(signal: NodeJS.Signals): void
}

export interface ChildOptions {
  readonly env: Environment
  /**
   * attached: the person's own input, output and terminal. detached: no input, output to be read, and a process
   * group of its own, so that all of it can be ended.
   */
  readonly kind: 'attached' | 'detached'
}

/** The first word is the program, found in PATH of the environment given. */
export type StartChild = (command: readonly string[], options: ChildOptions) => Child

export const startChild: StartChild = ([program = '', ...args], { env, kind }) => {
  const isDetached = kind === 'detached'
  const child = spawn(program, args, {
    env,
    detached: isDetached,
    stdio: isDetached ? ['ignore', 'pipe', 'pipe'] : 'inherit',
  })
  let isOver = false
  const ended = new Promise<ChildEnd>((resolve, reject) => {
    child.once('error', (error) => reject(startError(program, error)))
    child.once('close', (exitCode, signal) => {
      isOver = true
      resolve({ exitCode, signal })
    })
  })
  return {
    ...(child.stdout && child.stderr ? { stdout: child.stdout, stderr: child.stderr } : {}),
    ended,
    kill(signal) {
      if (!isOver) sendSignal(child, isDetached, signal)
    },
  }
}

/** Starts programs that never outlive this process: what still runs at its end is killed. */
export function startUntilExit(start: StartChild, atExit: (work: () => void) => void): StartChild {
  const live = new Set<Child>()
  atExit(() => {
    for (const child of live) child.kill('SIGKILL')
  })
  return (command, options) => {
    const child = start(command, options)
    live.add(child)
    const forget = () => void live.delete(child)
    child.ended.then(forget, forget)
    return child
  }
}

function sendSignal(child: ChildProcess, isGroup: boolean, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(isGroup ? -child.pid : child.pid, signal)
  } catch {
    // It has just ended by itself.
  }
}

const KUBECTL_HINT = 'install it: https://kubernetes.io/docs/tasks/tools/#kubectl'

function startError(program: string, cause: Error): NotFoundError | UsageError {
  const { code } = cause as NodeJS.ErrnoException
  if (code === 'ENOENT') {
    const isPath = program.includes('/')
    const problem = `there is no program ${program}${isPath ? '' : ' in PATH'}`
    const hint = program === 'kubectl' ? KUBECTL_HINT : 'check its name, or give its whole path'
    return new NotFoundError('MCM_PROGRAM_UNKNOWN', problem, { hint, cause })
  }
  const hint = 'check that it is a program and that you may run it'
  return new UsageError('MCM_USAGE', `${program} cannot be run: ${messageOf(cause)}`, {
    hint,
    cause,
  })
}
