/**
 * A machine inside this one: Linux namespaces for processes, mounts and network, whose end ends
 * everything in them. Containers, shims, mounts, bridges, firewall rules and pods' networks cannot be
 * left behind, not even when this process is killed: the kernel takes them down with process 1.
 *
 * A veth pair joins it to us: `hostAddress` is our end, `address` its own.
 */
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { joinNetworks, linkOf } from './machine-network.ts'
import type { CommandResult } from './run-command.ts'
import { runCommand } from './run-command.ts'
import type { ProcessOptions, RunningProcess } from './running-process.ts'
import { startProcess, waitUntil } from './running-process.ts'

const STOP_TIMEOUT_MS = 15_000

export interface Machine {
  readonly hostName: string
  /** Where its programs listen; we reach it, and so do its pods. */
  readonly address: string
  /** Where we can listen so that it, and its pods, reach us. */
  readonly hostAddress: string
  /** Starts a program inside, with `workingDirectory` required to be absolute. */
  launch(options: ProcessOptions): RunningProcess
  /** Runs a command inside to its end; a failure is a result. */
  run(command: string, args: readonly string[]): Promise<CommandResult>
  /** Ends process 1 and so everything inside. Safe to call twice. */
  stop(): Promise<void>
}

/**
 * Starts a machine whose state folder is `directory` (named MACHINE_PREFIX…); needs root.
 * @throws Error with the last words of the command that failed
 */
export async function startMachine(directory: string): Promise<Machine> {
  const hostName = 'mcm-test'
  const { init, initPid } = await startInit(directory, hostName)
  const enter = `--target ${initPid} --mount --net --uts --ipc --pid --`.split(' ')
  const run = (command: string, args: readonly string[]) =>
    runCommand('nsenter', [...enter, command, ...args])
  const stop = async () => {
    // Process 1 first: unshare waits for it, and it for everything inside.
    if (!init.hasExited()) await runCommand('kill', ['-KILL', String(initPid)])
    await Promise.race([init.exited, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })])
    await init.stop(0)
    await runCommand('ip', ['link', 'delete', linkOf(directory)])
  }
  try {
    const addresses = await joinNetworks(linkOf(directory), initPid, run)
    const launch = (options: ProcessOptions) => startProcess(entering(enter, options))
    return { hostName, ...addresses, launch, run, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startInit(directory: string, hostName: string) {
  const script = join(directory, 'init.sh')
  const ready = join(directory, 'machine-is-ready')
  await writeFile(script, initScript(hostName, ready))
  const namespaces = ['--mount', '--net', '--uts', '--ipc', '--pid', '--fork', '--mount-proc']
  const init = startProcess({
    name: 'machine',
    command: 'unshare',
    args: [...namespaces, '--kill-child=SIGKILL', 'sh', script],
    logPath: join(directory, 'machine.log'),
  })
  const isReady = async () => existsSync(ready)
  try {
    await waitUntil('the machine is up', isReady, { timeoutMs: 10_000, processes: [init] })
    return { init, initPid: await childOf(init) }
  } catch (error) {
    await init.stop(0)
    throw error
  }
}

/** What the programs write to fixed paths stays inside: /run is empty, /var/lib and /var/log layered. */
function initScript(hostName: string, ready: string): string {
  return `set -e
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns
for each in lib log; do
  mkdir -p /run/layers/$each/upper /run/layers/$each/work
  layers=lowerdir=/var/$each,upperdir=/run/layers/$each/upper,workdir=/run/layers/$each/work
  mount -t overlay -o $layers overlay /var/$each
done
echo 1 > /proc/sys/net/ipv4/ip_forward
hostname ${hostName}
ip link set lo up
touch ${ready}
# Nobody waits for orphans here: with the signal ignored, the kernel does.
exec env --ignore-signal=CHLD sleep infinity
`
}

async function childOf(parent: RunningProcess): Promise<number> {
  const children = await readFile(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8')
  const pid = Number.parseInt(children, 10)
  if (!Number.isInteger(pid)) throw new Error(`the machine has no process 1: ${parent.lastWords()}`)
  return pid
}

/**
 * nsenter stays until the program inside has ended, whatever it is told: else `stop` would be over while
 * the program still holds its port. Entering also loses the working directory: it is set again inside.
 */
function entering(enter: readonly string[], options: ProcessOptions): ProcessOptions {
  const { command, args, workingDirectory } = options
  const chdir = workingDirectory === undefined ? [] : [`--chdir=${workingDirectory}`]
  const inside = ['env', '--default-signal=TERM', ...chdir, command, ...args]
  return {
    ...options,
    command: 'env',
    args: ['--ignore-signal=TERM', 'nsenter', ...enter, ...inside],
  }
}
