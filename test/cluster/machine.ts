/**
 * A machine inside this one: Linux namespaces for processes, mounts and network, whose end ends
 * everything in them. Containers, shims, mounts, bridges, firewall rules and pods' networks cannot be
 * left behind, not even when this process is killed: the kernel takes them down with process 1.
 *
 * A veth pair joins it to us: `hostAddress` is our end, `address` its own.
 */
import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProcessOptions, RunningProcess } from './running-process.ts'
import { startProcess, waitUntil } from './running-process.ts'

/** Folders of machines are named so, and cgroups by the folder. */
export const MACHINE_PREFIX = 'mcm-test-node-'
const LINK_PREFIX = 'mcmt-'
const STOP_TIMEOUT_MS = 15_000

export interface CommandResult {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

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
  const init = await startInit(directory, hostName)
  const initPid = await childOf(init)
  const enter = `--target ${initPid} --mount --net --uts --ipc --pid --`.split(' ')
  const run = (command: string, args: readonly string[]) =>
    runCommand('nsenter', [...enter, command, ...args])
  const stop = async () => {
    // Process 1 first: unshare waits for it, and it for everything inside.
    if (!init.hasExited()) process.kill(initPid, 'SIGKILL')
    await Promise.race([init.exited, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })])
    await init.stop('SIGKILL')
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

/** The network device that leads to the machine of a folder. */
export function linkOf(directory: string): string {
  return `${LINK_PREFIX}${basename(directory).slice(MACHINE_PREFIX.length)}`
}

/** Runs a command here to its end; a failure is a result. */
export function runCommand(command: string, args: readonly string[]): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(command, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : 127
      resolve({ stdout, stderr: stderr || (exitCode === 127 ? String(error) : ''), exitCode })
    })
  })
}

async function startInit(directory: string, hostName: string): Promise<RunningProcess> {
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
  await waitUntil('the machine is up', isReady, { timeoutMs: 10_000, processes: [init] })
  return init
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

/** 198.18.0.0/15 is set aside for test networks (RFC 2544), so nothing real is hidden by it. */
async function joinNetworks(link: string, initPid: number, run: Machine['run']) {
  const subnet = freeSubnet()
  const [hostAddress, address] = [`${subnet}.1`, `${subnet}.2`]
  const here = (words: string) => mustSucceed(runCommand('ip', words.split(' ')), words)
  const inside = (words: string) => mustSucceed(run('ip', words.split(' ')), words)
  await here(`link add ${link} type veth peer name eth0 netns ${initPid}`)
  await here(`address add ${hostAddress}/30 dev ${link}`)
  await here(`link set ${link} up`)
  await inside(`address add ${address}/30 dev eth0`)
  await inside('link set eth0 up')
  await inside(`route add default via ${hostAddress}`)
  return { hostAddress, address }
}

function freeSubnet(): string {
  const taken = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  for (;;) {
    const subnet = `198.18.${randomInt(256)}`
    if (!taken.some(({ address }) => address.startsWith(`${subnet}.`))) return subnet
  }
}

/** Entering the mounts of the machine loses the working directory: it is set again inside. */
function entering(enter: readonly string[], options: ProcessOptions): ProcessOptions {
  const { command, args, workingDirectory } = options
  const chdir = workingDirectory === undefined ? [] : ['env', `--chdir=${workingDirectory}`]
  return { ...options, command: 'nsenter', args: [...enter, ...chdir, command, ...args] }
}

async function mustSucceed(result: Promise<CommandResult>, what: string): Promise<void> {
  const { exitCode, stderr } = await result
  if (exitCode !== 0) throw new Error(`ip ${what}: ${stderr.trim()}`)
}
