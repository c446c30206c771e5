/** A fleet that was set up honestly, one cluster and one person, whose hub then turns hostile. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { type Authority, loadAuthority } from '../../src/pki/authority.ts'
import { clusterHost } from '../../src/protocol/names.ts'
import { Secret } from '../../src/secret.ts'
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { HostileHub } from './hostile-hub.ts'
import { type Finished, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

export type Mode = 'exec' | 'static' | 'proxy'
export const CLUSTER = 'idc-k8s'
export const CONTEXT = `mcm-${CLUSTER}`

export interface Victim {
  readonly stage: Stage
  readonly cluster: ApiServer
  readonly alice: Person
  readonly clusterId: string
  readonly host: string
  /** The one CA that may vouch for the cluster; an attacker does not have it. */
  readonly serverCa: Authority
  kubeconfig(mode: Mode): string
  kubectl(version: KubernetesVersion, path: string, args: readonly string[]): Promise<Finished>
  /** A copy of a kubeconfig that trusts `insteadPem` in the place of one certificate of its bundle. */
  trusting(mode: Mode, certificatePem: string, insteadPem: string): Promise<string>
  /** Ends the true hub, puts a hostile one into its place and waits for the agents. */
  turnHostile(): Promise<HostileHub>
  stop(): Promise<void>
}

export interface VictimOptions {
  /** How people reach the hub. */
  readonly hubHost: string
  readonly modes: readonly Mode[]
  /** `HOST:PORT,PORT`, where the agent listens itself. */
  readonly direct?: string
  /** Runs while the hub is honest. */
  readonly prepare?: (stage: Stage, alice: Person) => Promise<void>
}

/** @throws whatever failed, after everything that had started has ended */
export async function openVictim(options: VictimOptions): Promise<Victim> {
  const home = await mkdtemp(join(tmpdir(), 'mcm-test-kubectl-'))
  const cluster = await startApiServer({ version: '1.36.3' })
  const stage = await Stage.open(options.hubHost)
  let hub: HostileHub | undefined
  const stop = async () => {
    await hub?.stop()
    await stage.close()
    await cluster.stop()
    await rm(home, { recursive: true, force: true })
  }
  try {
    const takeOver = async () => {
      const at = { host: '127.0.0.1', port: stage.hubPort }
      hub = await HostileHub.takeOver(stage.hubData, at)
      return hub
    }
    return await setUp({ home, cluster, stage, options, takeOver, stop })
  } catch (error) {
    await stop()
    throw error
  }
}

interface Parts extends Pick<Victim, 'cluster' | 'stage' | 'stop'> {
  readonly home: string
  readonly options: VictimOptions
  readonly takeOver: () => Promise<HostileHub>
}

async function setUp(parts: Parts): Promise<Victim> {
  const { home, cluster, stage, options, takeOver, stop } = parts
  const alice = await stage.found('alice')
  const { direct } = options
  const flags = direct === undefined ? [] : ['--direct', direct]
  const agentFlags = direct === undefined ? [] : ['--direct-listen', direct]
  await stage.addCluster(alice, CLUSTER, cluster, flags, agentFlags)
  await options.prepare?.(stage, alice)
  const paths: Partial<Record<Mode, string>> = {}
  for (const mode of options.modes) paths[mode] = await alice.kubeconfig(mode)
  const { clusterId, serverCa } = await identityOf(cluster)
  return {
    stop,
    ...{ stage, cluster, alice, clusterId, serverCa },
    host: clusterHost(clusterId),
    kubeconfig: (mode) => paths[mode]!,
    async kubectl(version, path, args) {
      const env = { ...alice.env, HOME: home, KUBECONFIG: path }
      return runProgram(await kubectlPath(version), ['--context', CONTEXT, ...args], { env })
    },
    async trusting(mode, certificatePem, insteadPem) {
      const path = join(home, `trusting-${mode}`)
      await writeFile(
        path,
        withTrust(await readFile(paths[mode]!, 'utf8'), certificatePem, insteadPem),
      )
      return path
    },
    async turnHostile() {
      await stage.hub.stop('SIGKILL')
      const hub = await takeOver()
      await hubHasAgent(hub, clusterId)
      return hub
    },
  }
}

export async function hubHasAgent(hub: HostileHub, clusterId: string): Promise<void> {
  await vi.waitUntil(() => hub.agentsOf(clusterId) > 0, { timeout: 40_000, interval: 20 })
}

/** What only the cluster itself knows: read with its administrator's own kubeconfig. */
export async function identityOf(
  cluster: ApiServer,
): Promise<{ clusterId: string; serverCa: Authority; secrets: Readonly<Record<string, string>> }> {
  const args = ['-n', 'mcm-system', 'get', 'secrets', '-o', 'json']
  const { stdout } = await runKubectl('1.36.3', args, { kubeconfig: cluster.adminKubeconfig })
  const { items } = JSON.parse(stdout) as {
    items: { metadata: { name: string }; data?: Record<string, string> }[]
  }
  const identity = items.find(({ metadata }) => metadata.name.startsWith('mcm-identity-c-'))!
  const secrets = Object.fromEntries(
    items.flatMap(({ metadata, data = {} }) =>
      Object.entries(data).map(([key, value]) => [
        `${metadata.name}/${key}`,
        Buffer.from(value, 'base64').toString(),
      ]),
    ),
  )
  const { name } = identity.metadata
  const key = new Secret(secrets[`${name}/serverCa.key`]!)
  return {
    clusterId: name.slice('mcm-identity-'.length),
    serverCa: loadAuthority(secrets[`${name}/serverCa.crt`]!, key),
    secrets,
  }
}

const BUNDLE = /(certificate-authority-data: )(\S+)/

function withTrust(kubeconfig: string, certificatePem: string, insteadPem: string): string {
  return kubeconfig.replace(BUNDLE, (_, key: string, data: string) => {
    const bundle = Buffer.from(data, 'base64').toString()
    if (!bundle.includes(certificatePem.trim())) throw new Error('the bundle holds no such thing')
    const changed = bundle.replace(certificatePem.trim(), insteadPem.trim())
    return `${key}${Buffer.from(changed).toString('base64')}`
  })
}
