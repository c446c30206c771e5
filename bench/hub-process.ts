/**
 * A real `mcm hub start` process at which this process is everybody else: it founds the fleet, is its
 * only person, and dials as the agents of as many clusters as it likes.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { dialHub } from '../src/client/dial.ts'
import { openHub } from '../src/client/hub.ts'
import { Directory } from '../src/directory/directory.ts'
import { generateSigningKey, type SigningKey, signingKeyPem } from '../src/directory/signing-key.ts'
import { signStatement } from '../src/directory/statement.ts'
import { createAuthority } from '../src/pki/authority.ts'
import { createKeyCertificate } from '../src/pki/profiles.ts'
import { parseLink } from '../src/protocol/link.ts'
import type { DirectoryAppend, Head } from '../src/protocol/messages.ts'
import { ALPN_HTTP2, ALPN_TUNNEL, clusterHost, newClusterId } from '../src/protocol/names.ts'
import { realWorld } from '../src/runtime.ts'
import type { Secret } from '../src/secret.ts'
import { serveTunnel } from '../src/tunnel/agent-end.ts'
import type { TunnelEnd } from '../src/tunnel/session.ts'
import { type Draft, p256 } from '../test/directory/fleet.ts'
import { LongRunning, MCM } from '../test/e2e/program.ts'
import { residentBytes } from './process-facts.ts'

export interface BenchCluster {
  readonly id: string
  readonly authority: string
  readonly agentKey: SigningKey
}

export interface Identity {
  readonly keyPem: Secret<string>
  readonly certPem: string
}

export interface Memory {
  readonly residentBytes: number
  readonly heapUsed: number
}

const COLLECTOR = join(import.meta.dirname, 'fixtures', 'collect-garbage.mjs')
const POLL_MS = 50
const silent = { info() {}, warn() {}, error() {} }
const world = realWorld()

export class BenchHub {
  #program!: LongRunning
  #endpoint = '127.0.0.1:0'
  #pin = ''
  #token = ''
  #certificate: Buffer | undefined
  #book = Directory.empty()
  #collections = 0
  readonly #directory: string
  readonly #mcm: string
  readonly #nodeArguments: readonly string[]
  readonly #alice = generateSigningKey()

  private constructor(directory: string, mcm: string, nodeArguments: readonly string[]) {
    this.#directory = directory
    this.#mcm = mcm
    this.#nodeArguments = nodeArguments
  }

  /** A hub whose fleet is founded. `nodeArguments` go to its Node; `mcm` may be another build. */
  static async start(nodeArguments: readonly string[] = [], mcm = MCM): Promise<BenchHub> {
    const directory = await mkdtemp(join(tmpdir(), 'mcm-bench-hub-'))
    const hub = new BenchHub(directory, mcm, nodeArguments)
    const { link } = await hub.#launch()
    const start = parseLink(link!)
    if (start.kind !== 'start') throw new Error(`the hub printed no start link but ${start.kind}`)
    hub.#pin = start.hubPin
    hub.#token = start.token
    await hub.#found()
    return hub
  }

  get pid(): number {
    return this.#program.child.pid!
  }

  /** Ends the process and starts another on the same data and port. */
  async restart(): Promise<void> {
    await this.#program.stop()
    await this.#launch()
  }

  async stop(): Promise<void> {
    await this.#program.stop('SIGKILL')
    await rm(this.#directory, { recursive: true, force: true })
  }

  async #launch(): Promise<{ link?: string }> {
    const node = ['--expose-gc', `--import=${COLLECTOR}`, ...this.#nodeArguments]
    const data = join(this.#directory, 'hub')
    const place = ['--host', '127.0.0.1', '--listen', this.#endpoint, '--data', data]
    this.#program = new LongRunning(
      process.execPath,
      [...node, this.#mcm, 'hub', 'start', ...place, '--json'],
      { MCM_HOME: join(this.#directory, 'home') },
    )
    this.#collections = 0
    const [line] = await this.#program.shows(/^\{.*"listening".*\}$/m)
    const { address, link } = JSON.parse(line) as { address: string; link?: string }
    this.#endpoint = address
    return link === undefined ? {} : { link }
  }

  async #found(): Promise<void> {
    const socket = await this.#dial(this.#alice, ALPN_HTTP2)
    const certificate = this.#certificate!.toString('base64')
    const fleetKey = generateSigningKey()
    const device = { key: p256(this.#alice), name: 'bench' }
    const genesis = await sign(
      { type: 'fleet', detail: { fleetKey: p256(fleetKey), user: 'alice', device } },
      [fleetKey, this.#alice],
      null,
    )
    const endpoints = [this.#endpoint]
    const detail = { endpoints, privateEndpoints: [], certificate }
    const hub = await sign({ type: 'hub', detail }, [this.#alice], genesis.head)
    const update = {
      statements: [genesis.text, hub.text],
      details: [genesis.detail, hub.detail],
    }
    const api = openHub(socket)
    await api.foundFleet({ token: this.#token, ...update })
    api.close()
    this.#book = await this.#book.extend(update)
  }

  /** Puts clusters into the directory of which alice is a member, each with an agent key of its own. */
  async addClusters(count: number): Promise<BenchCluster[]> {
    const { certificateDer } = await createAuthority(world, { commonName: 'CA' })
    const ca = certificateDer.toString('base64')
    const clusters = Array.from({ length: count }, () => {
      const id = newClusterId(world.random)
      return { id, authority: `${clusterHost(id)}:443`, agentKey: generateSigningKey() }
    })
    for (let start = 0; start < count; start += 200)
      await this.#append(
        clusters.slice(start, start + 200).flatMap(({ id, agentKey }): Draft[] => {
          const names = { id, name: id, labels: {}, prefix: 'mcm:' }
          const keys = { serverCa: ca, userCa: ca, agentKey: agentKey.id }
          const subject = { kind: 'user', name: 'alice' } as const
          return [
            { type: 'cluster', detail: { ...names, ...keys, issuer: 'agent' } },
            { type: 'member', detail: { action: 'add', subject, cluster: id } },
          ]
        }),
      )
    return clusters
  }

  async #append(drafts: readonly Draft[]): Promise<void> {
    const update: DirectoryAppend = { statements: [], details: [] }
    let after = this.#book.head
    for (const draft of drafts) {
      const signed = await sign(draft, [this.#alice], after)
      update.statements.push(signed.text)
      update.details.push(signed.detail)
      after = signed.head
    }
    const api = openHub(await this.#dial(this.#alice, ALPN_HTTP2))
    await api.append(update)
    api.close()
    this.#book = await this.#book.extend(update)
  }

  /** A key and its certificate that nobody knows. */
  identity(): Promise<Identity> {
    return identityOf(generateSigningKey())
  }

  /** A connection as alice. */
  person(alpn: string): Promise<TLSSocket> {
    return this.#dial(this.#alice, alpn)
  }

  async #dial(key: SigningKey, alpn: string): Promise<TLSSocket> {
    const check = (der: Buffer) => {
      this.#certificate = der
    }
    const identity = await identityOf(key)
    return dialHub({ endpoint: this.#endpoint, alpn, pin: this.#pin, check, ...identity })
  }

  /** The tunnel of a cluster's agent, which has every statement already. */
  async tunnel(
    cluster: BenchCluster,
    onStream: (stream: Duplex) => void = (stream) => stream.destroy(),
  ): Promise<TunnelEnd> {
    const hello = {
      version: '1.0.0',
      cluster: cluster.id,
      replica: 'a',
      kubernetesVersion: 'v1.36.3',
      directory: this.#book.head,
    }
    const head = this.#book.head
    return serveTunnel(
      await this.#dial(cluster.agentKey, ALPN_TUNNEL),
      {
        request: async (_method, path) => ({
          status: 200,
          body: path === '/.mcm/v1/hello' ? hello : head,
        }),
        connect: (_authority, _headers, stream) => onStream(stream),
      },
      { log: silent },
    )
  }

  /** Waits until so many lines of its log name this event. */
  async hasLogged(event: string, times: number): Promise<void> {
    while (this.#program.stderr.split(`"msg":"${event}"`).length - 1 < times) await pause(POLL_MS)
  }

  /** What the process holds, after its garbage has been collected. */
  async memory(): Promise<Memory> {
    this.#collections += 1
    this.#program.child.kill('SIGUSR2')
    const said = new RegExp(`^collected ${this.#collections} (.*)$`, 'm')
    const [, text] = await this.#program.shows(said)
    const { heapUsed } = JSON.parse(text!) as { heapUsed: number }
    return { residentBytes: await residentBytes(this.pid), heapUsed }
  }
}

async function sign(draft: Draft, signers: readonly SigningKey[], after: Head | null) {
  const { statement, detail } = await signStatement(
    { ...draft, after, time: world.now(), salt: randomBytes(16) },
    signers,
  )
  return { text: statement.text, detail, head: { seq: statement.seq, hash: statement.hash } }
}

async function identityOf(key: SigningKey): Promise<Identity> {
  const keyPem = signingKeyPem(key)
  return { keyPem, certPem: await createKeyCertificate(world, keyPem) }
}
