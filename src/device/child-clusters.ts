import { isIP } from 'node:net'
import type { ClusterRecord } from '../directory/state.ts'
import { NotFoundError, UnreachableError } from '../errors.ts'
import { mergeEntries } from '../kubeconfig/merge.ts'
import { contextName, type KubeconfigEntries } from '../kubeconfig/model.ts'
import type { Clusters } from './cluster-lookup.ts'
import type { Device } from './device.ts'
import { offlineDirectory } from './directory-cache.ts'
import { withFleet } from './fleet-session.ts'
import { clusterEntries, type KubeconfigSource, pluginAccess, proxyAccess } from './kubeconfig.ts'
import type { LocalProxy } from './local-proxy.ts'
import { openPrivateDirectory } from './private-directory.ts'
import { runningProxy } from './running-proxy.ts'
import { requireState } from './state.ts'

/**
 * Clusters for programs that mcm starts: each gets a kubeconfig of its own that holds exactly the clusters
 * chosen. The way is the local proxy when one runs (no handshake, no plugin), else the hub with the plugin, which
 * puts no key into the file. Invariant: nobody else can read the files, and they end with the command.
 */

type Environment = Readonly<Record<string, string | undefined>>

export type ChildMode = 'exec' | 'proxy'

/** What of this process its children get. */
export interface ChildWorld {
  readonly env: Environment
  readonly self: { readonly command: string; readonly args: readonly string[] }
  readonly selfEnv: Readonly<Record<string, string>>
  /** Where private files of a running program go, the best first. */
  readonly runtimeDirectories: readonly string[]
  /** Does something when this process ends, however it comes to that. */
  atExit(work: () => void): void
}

export interface ChildWish {
  /** proxy when one runs, else exec, unless told. */
  readonly mode?: ChildMode
  /** Chooses among the clusters of the verified directory. */
  pick(directory: Clusters, user: string): readonly ClusterRecord[]
}

export interface ChildClusters {
  readonly mode: ChildMode
  readonly clusters: readonly ClusterRecord[]
  /** The environment of a program for some of them; `current` is that of its current context, if any. */
  environment(clusters: readonly ClusterRecord[], current?: ClusterRecord): Promise<Environment>
  /** Takes the files away. */
  remove(): void
}

/** @throws UnreachableError, NotFoundError MCM_CLUSTER_UNKNOWN, AccessDeniedError, StateError, TrustError, what `pick` throws */
export async function openChildClusters(
  device: Device,
  world: ChildWorld,
  wish: ChildWish,
): Promise<ChildClusters> {
  const proxy = wish.mode === 'exec' ? undefined : await runningProxy(device)
  if (wish.mode === 'proxy' && !proxy) throw noProxy()
  const { clusters, entries } = await fromDirectory(device, proxy !== undefined, (source) =>
    choose(source, world, wish, proxy),
  )
  const directory = await openPrivateDirectory(world.runtimeDirectories)
  world.atExit(() => directory.remove())
  let written = 0
  return {
    mode: proxy ? 'proxy' : 'exec',
    clusters,
    async environment(wanted, current) {
      const text = kubeconfigText(wanted, entries, current)
      const path = await directory.write(`kubeconfig-${++written}`, text)
      return childEnvironment(world.env, path, wanted, { current, isProxy: proxy !== undefined })
    },
    remove: () => directory.remove(),
  }
}

interface Chosen {
  readonly clusters: readonly ClusterRecord[]
  readonly entries: ReadonlyMap<string, KubeconfigEntries>
}

function choose(
  source: KubeconfigSource,
  world: ChildWorld,
  wish: ChildWish,
  proxy: LocalProxy | undefined,
): Chosen {
  const clusters = wish.pick(source.directory, source.state.user)
  const plugin = { self: world.self, env: world.selfEnv }
  const chosen = clusters.map((cluster) => ({
    cluster,
    mode: proxy ? proxyAccess(proxy, cluster) : pluginAccess(plugin, cluster),
  }))
  const entries = clusterEntries(source, chosen)
  return { clusters, entries: new Map(entries.map((entry) => [entry.clusterId, entry])) }
}

/**
 * The hub's directory, or while no hub answers the copy kept here. Beside a running proxy the copy comes first, since
 * the proxy keeps it up to date; the hub is asked only about what is not in it.
 */
async function fromDirectory<T>(
  device: Device,
  isProxy: boolean,
  choose: (source: KubeconfigSource) => T,
): Promise<T> {
  if (isProxy) {
    try {
      return choose(await copyOf(device))
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
    }
  }
  try {
    return await withFleet(device, async (session) => choose(session))
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error
    return chooseFromCopy(await copyOf(device), choose, error)
  }
}

function chooseFromCopy<T>(
  source: KubeconfigSource,
  choose: (source: KubeconfigSource) => T,
  unreachable: UnreachableError,
): T {
  try {
    return choose(source)
  } catch (error) {
    // Not in the copy: what matters is that nobody could be asked.
    throw error instanceof NotFoundError ? unreachable : error
  }
}

async function copyOf(device: Device): Promise<KubeconfigSource> {
  const state = await requireState(device.home)
  return { device, state, directory: await offlineDirectory(device.home) }
}

function kubeconfigText(
  wanted: readonly ClusterRecord[],
  entries: ReadonlyMap<string, KubeconfigEntries>,
  current: ClusterRecord | undefined,
): string {
  const own = wanted.map(({ id }) => entries.get(id)!)
  // Without one chosen there is none: kubectl then asks for --context instead of taking the first.
  const context = current ? contextName(current.name) : ''
  return mergeEntries(undefined, own, { file: 'kubeconfig', current: context })
}

const LOOPBACK = ['127.0.0.1', 'localhost', '::1']

/** MCM_CLUSTER and MCM_CLUSTERS are for prompts and scripts. */
function childEnvironment(
  env: Environment,
  kubeconfig: string,
  clusters: readonly ClusterRecord[],
  { current, isProxy }: { current: ClusterRecord | undefined; isProxy: boolean },
): Environment {
  return {
    ...env,
    KUBECONFIG: kubeconfig,
    MCM_CLUSTER: current?.name,
    MCM_CLUSTERS: clusters.map(({ name }) => name).join(','),
    ...(isProxy ? withoutForwardProxy(env) : {}),
  }
}

/**
 * Some clients (Python) send even loopback to HTTPS_PROXY unless told. kube-rs 5 is told by that proxy itself, which
 * nobody else reaches through a proxy anyhow.
 */
function withoutForwardProxy(env: Environment): Environment {
  const listed = (env['no_proxy'] ?? env['NO_PROXY'] ?? '').split(/[\s,]+/).filter(Boolean)
  const proxies = ['https_proxy', 'HTTPS_PROXY'].flatMap((name) => endpointOf(env[name]) ?? [])
  const all = [...new Set([...listed, ...LOOPBACK, ...proxies])].join(',')
  return { no_proxy: all, NO_PROXY: all }
}

/** As kube-rs compares it: an address, or a name with its port. */
function endpointOf(proxy = ''): string | undefined {
  const url = URL.parse(proxy.includes('://') ? proxy : `http://${proxy}`)
  const host = url?.hostname.replace(/^\[|\]$/g, '')
  if (!url || !host) return undefined
  if (isIP(host)) return host
  return `${host}:${url.port || (url.protocol === 'https:' ? 443 : 80)}`
}

function noProxy(): UnreachableError {
  return new UnreachableError('MCM_HUB_UNREACHABLE', 'no mcm proxy runs on this machine', {
    hint: 'start one in another terminal: mcm proxy',
  })
}
