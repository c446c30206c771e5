/**
 * A child process that cannot outlive us: it has its own process group, which `stop` ends whole, and
 * on Linux the kernel kills it when this process dies, however that happens.
 */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const STOP_GRACE_MS = 5_000
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))

export interface ProcessOptions {
  /** What errors call it. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** Gets its stdout and stderr, appended. */
  readonly logPath: string
  readonly workingDirectory?: string
}

export interface RunningProcess {
  readonly name: string
  readonly pid: number
  /** Resolves with the exit code, or null after a signal. */
  readonly exited: Promise<number | null>
  hasExited(): boolean
  /** The last lines it logged. */
  lastWords(): string
  /** SIGTERM to its group, SIGKILL after five seconds. Safe to call twice. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

const alive = new Set<number>()
// Where setpriv is missing this is the only net, and a SIGKILL falls through it.
process.on('exit', () => {
  for (const pid of alive) signalGroup(pid, 'SIGKILL')
})

/**
 * Starts a program; returns at once.
 * @throws Error when it cannot be started at all
 */
export function startProcess(options: ProcessOptions): RunningProcess {
  const [command, ...args] = dyingWithUs([options.command, ...options.args])
  const log = openSync(options.logPath, 'a', 0o600)
  const child = spawn(command!, args, {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: options.workingDirectory,
  })
  closeSync(log)
  const { pid } = child
  if (pid === undefined) throw new Error(`${options.name} did not start (${options.command})`)
  alive.add(pid)
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  void exited.then(() => alive.delete(pid))
  const hasExited = () => child.exitCode !== null || child.signalCode !== null
  return {
    name: options.name,
    pid,
    exited,
    hasExited,
    lastWords: () => lastLines(options.logPath),
    stop: (signal = 'SIGTERM') => stopGroup(pid, signal, exited, hasExited),
  }
}

/**
 * Polls until `check` is true.
 * @throws Error after `timeoutMs`, or at once when one of `processes` has ended; with its last words
 */
export async function waitUntil(
  what: string,
  check: () => Promise<boolean>,
  options: { timeoutMs: number; processes?: readonly RunningProcess[] },
): Promise<void> {
  const processes = options.processes ?? []
  const deadline = Date.now() + options.timeoutMs
  while (!(await check())) {
    const ended = processes.find((one) => one.hasExited())
    if (ended) throw new Error(`${ended.name} ended before ${what}:\n${ended.lastWords()}`)
    if (Date.now() > deadline) {
      const words = processes.map((one) => `--- ${one.name}\n${one.lastWords()}`)
      throw new Error([`${what}: not within ${options.timeoutMs} ms`, ...words].join('\n'))
    }
    await sleep(50)
  }
}

function dyingWithUs(command: string[]): string[] {
  return SETPRIV === undefined ? command : [SETPRIV, '--pdeathsig', 'KILL', '--', ...command]
}

async function stopGroup(
  pid: number,
  signal: NodeJS.Signals,
  exited: Promise<number | null>,
  hasExited: () => boolean,
): Promise<void> {
  if (!hasExited()) signalGroup(pid, signal)
  const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), STOP_GRACE_MS)
  await exited
  clearTimeout(timer)
  // Its children may have stayed behind in the group.
  signalGroup(pid, 'SIGKILL')
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // The group is gone already.
  }
}

function lastLines(path: string): string {
  if (!existsSync(path)) return ''
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-15).join('\n')
}
