/**
 * A network of an agent's own, as behind a NAT: it reaches this machine over one link, nothing reaches it, and
 * its cluster's API server is there on loopback. Linux, as root; the kernel takes all of it down at the end.
 */
import { randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Possibility } from '../cluster/possibility.ts'
import { LongRunning, runProgram } from './program.ts'

const PREFIX = 'mcm-outage-'
const FORWARD = join(import.meta.dirname, 'fixtures', 'forward.mjs')

/** Whether namespaces, links and firewall rules can be made here. */
export async function networkIsPossible(): Promise<Possibility> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { possible: false, reason: 'network namespaces need Linux and root' }
  try {
    const network = await AgentNetwork.open()
    await network.close()
    return { possible: true }
  } catch (error) {
    return { possible: false, reason: (error as Error).message }
  }
}

export class AgentNetwork {
  /** Where a hub can listen so that the agent reaches it. */
  readonly hostAddress: string
  /** Where the agent is; nobody gets an answer from there. */
  readonly agentAddress: string
  readonly #name: string
  readonly #link = `mcmo${randomInt(1_000_000)}`
  readonly #directory: string
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()
  readonly #programs: LongRunning[] = []

  private constructor(name: string, prefix: string, directory: string) {
    this.#name = name
    this.#directory = directory
    this.hostAddress = `${prefix}.1`
    this.agentAddress = `${prefix}.2`
  }

  static async open(): Promise<AgentNetwork> {
    await sweep()
    const name = `${PREFIX}${process.pid}-${randomInt(1_000_000)}`
    // Set aside for test networks (RFC 2544), so nothing real is hidden by it.
    const prefix = `198.${18 + randomInt(2)}.${randomInt(256)}`
    const directory = await mkdtemp(join(tmpdir(), 'mcm-test-network-'))
    const network = new AgentNetwork(name, prefix, directory)
    await network.#make()
    return network
  }

  async #make(): Promise<void> {
    const link = this.#link
    await must('ip', 'netns', 'add', this.#name)
    await must(
      'ip',
      'link',
      'add',
      link,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      this.#name,
    )
    await must('ip', 'address', 'add', `${this.hostAddress}/30`, 'dev', link)
    await must('ip', 'link', 'set', link, 'up')
    await this.inside('ip', 'address', 'add', `${this.agentAddress}/30`, 'dev', 'eth0')
    await this.inside('ip', 'link', 'set', 'eth0', 'up')
    await this.inside('ip', 'link', 'set', 'lo', 'up')
    const inward = ['-A', 'INPUT', '-i', 'eth0']
    await this.inside(
      'iptables',
      ...inward,
      '-m',
      'conntrack',
      '--ctstate',
      'ESTABLISHED',
      '-j',
      'ACCEPT',
    )
    await this.inside('iptables', ...inward, '-j', 'DROP')
  }

  /** Makes something that listens on our loopback reachable at the same port inside. */
  async bring(port: number): Promise<void> {
    const path = join(this.#directory, `${port}.sock`)
    const server = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => to.destroy())
        from.on('close', () => to.destroy())
        from.pipe(to)
      }
    })
    await new Promise<void>((resolve) => server.listen(path, resolve))
    this.#servers.push(server)
    await this.start(process.execPath, [FORWARD, String(port), path], {}).shows(/forwarding/)
  }

  /** A program inside; it ends with the network at the latest. */
  start(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): LongRunning {
    const inside = ['netns', 'exec', this.#name, command, ...args]
    const program = new LongRunning('ip', inside, env)
    this.#programs.push(program)
    return program
  }

  /** Runs a command inside. @throws Error with its words unless it exits 0 */
  async inside(command: string, ...args: string[]): Promise<string> {
    return must('ip', 'netns', 'exec', this.#name, command, ...args)
  }

  /** The agent's own port of its established connection to a port of ours. @throws Error unless there is one */
  async portTo(port: number): Promise<number> {
    const ESTABLISHED = '01'
    const table = await this.inside('cat', '/proc/net/tcp')
    const ports = table
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , remote, state]) => state === ESTABLISHED && portOf(remote) === port)
      .map(([, local]) => portOf(local))
    if (ports.length === 1) return ports[0]!
    throw new Error(`${ports.length} connections to port ${port} instead of one`)
  }

  /** From now on every packet of the link, or of one TCP port of the agent, is lost in silence. */
  async drop(port?: number): Promise<void> {
    await this.#rules('-I', port)
  }

  async restore(port?: number): Promise<void> {
    await this.#rules('-D', port)
  }

  async #rules(action: '-I' | '-D', port: number | undefined): Promise<void> {
    const of = (direction: string) =>
      port === undefined ? [] : ['-p', 'tcp', direction, String(port)]
    await this.inside('iptables', action, 'OUTPUT', '-o', 'eth0', ...of('--sport'), '-j', 'DROP')
    await this.inside('iptables', action, 'INPUT', '-i', 'eth0', ...of('--dport'), '-j', 'DROP')
  }

  async close(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.stop('SIGKILL')))
    for (const server of this.#servers) server.close()
    for (const socket of this.#sockets) socket.destroy()
    // The kernel would take it down as well, but only with the last socket that lingers inside.
    await runProgram('ip', ['link', 'delete', this.#link])
    await runProgram('ip', ['netns', 'delete', this.#name])
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** Of `ADDRESS:PORT` in hex. */
function portOf(address: string | undefined): number {
  return Number.parseInt(address?.split(':')[1] ?? '', 16)
}

/** Namespaces of test runs that were killed; nothing of ours runs in them any more. */
async function sweep(): Promise<void> {
  const { stdout } = await runProgram('ip', ['netns', 'list'])
  for (const line of stdout.split('\n').filter((each) => each.startsWith(PREFIX))) {
    const name = line.split(' ')[0]!
    if (!isAlive(Number.parseInt(name.slice(PREFIX.length), 10)))
      await runProgram('ip', ['netns', 'delete', name])
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function must(command: string, ...args: string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await runProgram(command, args)
  if (exitCode === 0) return stdout
  throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`)
}
