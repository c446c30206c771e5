/** Real agent, hub and proxy processes before an API server that pours and swallows as told. */
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { LongRunning } from './program.ts'
import { type Person, Stage } from './stage.ts'
import { answerOf, ask, type Endpoint, endpointOf, get } from './streams-client.ts'

export const FIXTURES = join(import.meta.dirname, 'fixtures')
export const MEBIBYTE = 1024 * 1024
const PIECE_BYTES = 256 * 1024
const LOOK_BYTES = 32 * MEBIBYTE

/** One number for each program. */
export type Sizes = Readonly<Record<string, number>>

export class StreamsStage {
  readonly kubeconfig: string
  readonly endpoint: Endpoint
  readonly #directory: string
  readonly #apiServer: LongRunning
  readonly #stage: Stage
  readonly #owner: Person
  readonly #programs: ReadonlyMap<string, number>

  private constructor(
    directory: string,
    apiServer: LongRunning,
    stage: Stage,
    owner: Person,
    access: { kubeconfig: string; endpoint: Endpoint },
    programs: ReadonlyMap<string, number>,
  ) {
    this.#directory = directory
    this.#apiServer = apiServer
    this.#stage = stage
    this.#owner = owner
    this.kubeconfig = access.kubeconfig
    this.endpoint = access.endpoint
    this.#programs = programs
  }

  static async open(): Promise<StreamsStage> {
    const directory = await mkdtemp(join(tmpdir(), 'mcm-test-streams-'))
    const fixture = join(FIXTURES, 'streams-api-server.ts')
    const apiServer = new LongRunning(process.execPath, [fixture], {})
    const [line] = await apiServer.shows(/^\{.*\}$/m)
    const adminKubeconfig = join(directory, 'admin')
    await writeFile(adminKubeconfig, JSON.parse(line).kubeconfig, { mode: 0o600 })
    const stage = await Stage.open()
    const alice = await stage.found()
    await stage.addCluster(alice, 'streams', { adminKubeconfig })
    const proxy = alice.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    const kubeconfig = await alice.kubeconfig('proxy')
    const endpoint = await endpointOf(kubeconfig)
    const programs = new Map([
      ['proxy', proxy.child.pid!],
      ['hub', stage.hub.child.pid!],
      ['agent', stage.agents.get('streams/a')!.child.pid!],
    ])
    await get(endpoint, '/version')
    return new StreamsStage(directory, apiServer, stage, alice, { kubeconfig, endpoint }, programs)
  }

  async close(): Promise<void> {
    await this.#stage.close()
    await this.#apiServer.stop('SIGKILL')
    await rm(this.#directory, { recursive: true, force: true })
  }

  descriptors(): Promise<Sizes> {
    return this.#ofEach(async (pid) => (await readdir(`/proc/${pid}/fd`)).length)
  }

  residentBytes(): Promise<Sizes> {
    return this.#ofEach(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
    })
  }

  /** A second person, with a `mcm proxy` of their own. */
  async join(name: string): Promise<Endpoint> {
    const person = await this.#stage.join(this.#owner, name, [
      '--cluster',
      'streams',
      '--role',
      'ops',
    ])
    const proxy = person.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    return endpointOf(await person.kubeconfig('proxy'))
  }

  /** How often the agent opened a tunnel so far. */
  tunnels(): number {
    return this.#stage.agents.get('streams/a')!.stderr.match(/tunnel_open/g)?.length ?? 0
  }

  /** Requests of this id that reached the API server, and those of them that have not ended. */
  async seen(id: string, by = this.endpoint): Promise<{ requests: number; open: number }> {
    return JSON.parse((await get(by, `/streams/seen?id=${id}`)).text)
  }

  /**
   * Sends one body of so many bytes, as fast as it goes or at so many bytes a second. Gives what the API
   * server counted, and by how much each program grew meanwhile at the most.
   */
  async upload(
    bodyBytes: number,
    bytesPerSecond = Number.POSITIVE_INFINITY,
  ): Promise<{ readonly bytes: number; readonly grown: Sizes }> {
    const before = await this.residentBytes()
    const request = ask(this.endpoint, '/streams/count?id=upload', { method: 'PATCH' })
    const answered = answerOf(request)
    const piece = Buffer.alloc(PIECE_BYTES)
    const startedMs = performance.now()
    let peak = before
    for (let sent = 0; sent < bodyBytes; sent += PIECE_BYTES) {
      if (!request.write(piece)) await once(request, 'drain')
      const earlyMs = startedMs + (sent / bytesPerSecond) * 1000 - performance.now()
      if (earlyMs > 0) await pause(earlyMs)
      if (sent % LOOK_BYTES === 0) peak = highest(peak, await this.residentBytes())
    }
    request.end()
    const { bytes } = JSON.parse((await answered).text)
    console.info('resident memory', inMebibytes(before), '->', inMebibytes(peak))
    return { bytes, grown: difference(peak, before) }
  }

  async #ofEach(measure: (pid: number) => Promise<number>): Promise<Sizes> {
    const entries = [...this.#programs].map(
      async ([name, pid]) => [name, await measure(pid)] as const,
    )
    return Object.fromEntries(await Promise.all(entries))
  }
}

export function inMebibytes(sizes: Sizes): Sizes {
  return mapped(sizes, (size) => Math.round(size / MEBIBYTE))
}

function highest(left: Sizes, right: Sizes): Sizes {
  return mapped(left, (size, name) => Math.max(size, right[name]!))
}

function difference(left: Sizes, right: Sizes): Sizes {
  return mapped(left, (size, name) => size - right[name]!)
}

function mapped(sizes: Sizes, change: (size: number, name: string) => number): Sizes {
  return Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, change(size, name)]))
}
