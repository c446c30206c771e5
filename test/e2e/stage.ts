/**
 * A whole fleet of real processes on one machine: a hub, people with homes of their own, and clusters
 * whose agents run outside (`mcm agent --kubeconfig`). Everything is used as a person would: by command.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Finished, LongRunning, MCM, type RunOptions, runProgram } from './program.ts'

export interface Person {
  readonly name: string
  readonly home: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Runs `mcm …` as this person. */
  mcm(args: readonly string[], options?: RunOptions): Promise<Finished>
  /** As `mcm`, and fails the test with its text unless it exits 0. Gives stdout. */
  must(args: readonly string[], options?: RunOptions): Promise<string>
  start(args: readonly string[]): LongRunning
  /** Writes a kubeconfig of all clusters in a mode and gives its path. */
  kubeconfig(mode: 'exec' | 'static' | 'proxy'): Promise<string>
}

/** Anything that has an admin kubeconfig: a kube-apiserver, a whole node, the sandbox. */
export interface ClusterAccess {
  readonly adminKubeconfig: string
}

export class Stage {
  readonly directory: string
  hub!: LongRunning
  hubHost = '127.0.0.1'
  hubPort = 0
  /** Other ports at which the hub may be found; it listens on one at a time. */
  hubOtherPorts: readonly number[] = []
  startLink = ''
  /** For hubs and agents that are started from now on. */
  hubEnv: Readonly<Record<string, string>> = {}
  agentEnv: Readonly<Record<string, string>> = {}
  readonly agents = new Map<string, LongRunning>()
  readonly #people = new Map<string, Person>()
  readonly #started: LongRunning[] = []

  private constructor(directory: string) {
    this.directory = directory
  }

  /** A hub that has just started; nobody is in yet. */
  static async open(host = '127.0.0.1', ports: readonly number[] = []): Promise<Stage> {
    const stage = new Stage(await mkdtemp(join(tmpdir(), 'mcm-test-stage-')))
    stage.hubHost = host
    stage.hubPort = ports[0] ?? 0
    stage.hubOtherPorts = ports.slice(1)
    await stage.startHub()
    return stage
  }

  get hubData(): string {
    return join(this.directory, 'hub')
  }

  /** @param flags more than a hub always gets here */
  async startHub(host = this.hubHost, flags: readonly string[] = []): Promise<void> {
    const args = [
      'hub',
      'start',
      '--host',
      host,
      ...this.hubOtherPorts.flatMap((port) => ['--host', `${host}:${port}`]),
      '--listen',
      `${host === 'localhost' ? '127.0.0.1' : host}:${this.hubPort}`,
      '--data',
      this.hubData,
      '--json',
      ...flags,
    ]
    this.hub = new LongRunning(process.execPath, [MCM, ...args], {
      MCM_HOME: join(this.directory, 'hub-home'),
      ...this.hubEnv,
    })
    const line = JSON.parse((await this.hub.shows(/^\{.*"listening".*\}$/m))[0]) as {
      address: string
      link?: string
    }
    this.hubPort = Number(line.address.split(':').at(-1))
    if (line.link) this.startLink = line.link
  }

  /** The hub goes, and comes back at the next of its ports. */
  async moveHub(): Promise<void> {
    await this.hub.stop('SIGKILL')
    const [next, ...rest] = this.hubOtherPorts
    if (next === undefined) throw new Error('the hub has one port only')
    this.hubOtherPorts = [...rest, this.hubPort]
    this.hubPort = next
    await this.startHub()
  }

  person(name: string): Person {
    const known = this.#people.get(name)
    if (known) return known
    const home = join(this.directory, 'people', name)
    const env = {
      MCM_HOME: home,
      MCM_KEYCHAIN: 'never',
      KUBECONFIG: join(home, 'kubeconfig'),
      HOME: home,
      NO_COLOR: '1',
      HTTPS_PROXY: undefined,
      https_proxy: undefined,
    }
    const mcm = (args: readonly string[], options: RunOptions = {}) =>
      runProgram(process.execPath, [MCM, ...args], { ...options, env: { ...env, ...options.env } })
    const must = async (args: readonly string[], options: RunOptions = {}) => {
      const result = await mcm(args, options)
      if (result.exitCode === 0) return result.stdout
      throw new Error(
        `mcm ${args.join(' ')} exited ${result.exitCode}\n${result.stdout}\n${result.stderr}`,
      )
    }
    const person: Person = {
      name,
      home,
      env,
      mcm,
      must,
      start: (args) => {
        const program = new LongRunning(process.execPath, [MCM, ...args], env)
        this.#started.push(program)
        return program
      },
      kubeconfig: async (mode) => {
        const path = join(home, `kubeconfig-${mode}`)
        await must(['kubeconfig', '--all', '--mode', mode, '--output', path])
        return path
      },
    }
    this.#people.set(name, person)
    return person
  }

  /** The first admin founds the fleet. */
  async found(name = 'alice'): Promise<Person> {
    const person = this.person(name)
    await person.must(['login', this.startLink, '--name', name])
    return person
  }

  /** Registers a cluster by the owner's hand and runs one agent for it outside. */
  async addCluster(
    owner: Person,
    name: string,
    cluster: ClusterAccess,
    flags: readonly string[] = [],
    agentFlags: readonly string[] = [],
  ): Promise<void> {
    const registering = owner.must(
      [
        'register',
        name,
        '--apply',
        '--kubeconfig',
        cluster.adminKubeconfig,
        '--without-deployment',
        '--timeout',
        '60',
        ...flags,
      ],
      { timeoutMs: 90_000 },
    )
    registering.catch(() => {})
    const agent = await this.startAgent(name, cluster, 'a', agentFlags)
    await Promise.race([
      registering,
      agent.ended.then(() => {
        throw new Error(`agent ended: ${agent.stderr}`)
      }),
    ])
  }

  /** An agent outside the cluster; it waits until the registration has put its Secret there. */
  async startAgent(
    name: string,
    cluster: ClusterAccess,
    replica = 'a',
    flags: readonly string[] = [],
  ): Promise<LongRunning> {
    const agent = new LongRunning(
      process.execPath,
      [MCM, 'agent', '--kubeconfig', cluster.adminKubeconfig, '--replica', replica, ...flags],
      { MCM_HOME: join(this.directory, 'agent-home'), ...this.agentEnv },
    )
    this.agents.set(`${name}/${replica}`, agent)
    return agent
  }

  /** Invites somebody and logs them in. */
  async join(admin: Person, name: string, grant: readonly string[]): Promise<Person> {
    const link = (await admin.must(['invite', name, ...grant])).trim()
    const person = this.person(name)
    await person.must(['login', link])
    return person
  }

  async close(): Promise<void> {
    await Promise.all(
      [...this.#started, ...this.agents.values(), this.hub].map((program) =>
        program.stop('SIGKILL'),
      ),
    )
    await rm(this.directory, { recursive: true, force: true })
  }
}
