/**
 * A child process that cannot outlive us: it has its own process group, which `stop` ends whole, and
 * on Linux the kernel kills it when the thread that started it dies, however that happens.
 */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { TOOL_PATH } from './run-command.ts'

/** util-linux has it; busybox has one that does not know the flag. */
const DYING_WITH_US = ['setpriv', '--pdeathsig', 'KILL', '--']
const canDieWithUs = spawnSync(DYING_WITH_US[0]!, [...DYING_WITH_US.slice(1), 'true']).status === 0

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
  /** SIGTERM to its group, and SIGKILL after `graceMs`; 0 means at once. Safe to call twice. */
  stop(graceMs: number): Promise<void>
}

const alive = new Set<number>()
// Where setpriv cannot do it this is the only net, and a SIGKILL falls through it.
process.on('exit', () => {
  for (const pid of alive) signalGroup(pid, 'SIGKILL')
})

/**
 * Starts a program; returns at once.
 * @throws Error when it cannot be started at all
 */
export function startProcess(options: ProcessOptions): RunningProcess {
  const prefix = canDieWithUs ? DYING_WITH_US : []
  const [command, ...args] = [...prefix, options.command, ...options.args]
  const log = openSync(options.logPath, 'a', 0o600)
  const child = spawn(command!, args, {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: options.workingDirectory,
    env: { ...process.env, PATH: TOOL_PATH },
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
    stop: (graceMs) => stopGroup(pid, graceMs, exited, hasExited),
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

async function stopGroup(
  pid: number,
  graceMs: number,
  exited: Promise<number | null>,
  hasExited: () => boolean,
): Promise<void> {
  if (!hasExited()) signalGroup(pid, graceMs > 0 ? 'SIGTERM' : 'SIGKILL')
  const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), graceMs)
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
