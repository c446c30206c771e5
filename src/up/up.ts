/**
 * `mcm up`: a hub, an agent, a login and a kubeconfig on one machine, for a cluster at hand or a sandbox. It is
 * the only place that stands over several programs. Invariant: whatever was started or applied is ended or
 * taken away again, in the opposite order, also when a step fails.
 */

import { join } from 'node:path'
import type { AgentDeps } from '../agent/agent-deps.ts'
import { applyManifest } from '../device/apply-manifest.ts'
import { requireCluster } from '../device/cluster-lookup.ts'
import type { Device } from '../device/device.ts'
import { withFleet } from '../device/fleet-session.ts'
import { kubeconfigFor } from '../device/kubeconfig.ts'
import { login } from '../device/login.ts'
import { completeRegistration, prepareRegistration } from '../device/register.ts'
import type { KubernetesObject } from '../kube/object.ts'
import type { KubeconfigFiles } from '../kubeconfig/file.ts'
import { mergeEntries } from '../kubeconfig/merge.ts'
import type { Log, World } from '../world.ts'
import { startLocalAgent } from './local-agent.ts'
import { startLocalHub } from './local-hub.ts'
import { type RoundTrip, requestGoingRound } from './round-trip.ts'
import type { TargetCluster } from './target-cluster.ts'

export interface UpDeps {
  readonly world: World
  readonly log: Log
  readonly signal: AbortSignal
  readonly runtime: AgentDeps['runtime']
  /** A home of its own under `directory`. */
  readonly device: Device
  /** Everything this makes on disk is below it. */
  readonly directory: string
  readonly files: KubeconfigFiles
  /** How kubectl starts this mcm, and with what in its environment. */
  readonly self: { readonly command: string; readonly args: readonly string[] }
  readonly env: Readonly<Record<string, string>>
  /** Says that a step is done, and what came of it. */
  done(step: string, result: string): void
}

export interface UpOptions {
  readonly version: string
  readonly user: string
  readonly clusterName: string
}

export interface Up {
  readonly kubeconfig: string
  readonly hub: string
  readonly cluster: { readonly id: string; readonly name: string }
  readonly roundTrip: RoundTrip
  stop(): Promise<void>
}

const REGISTRATION_MS = 60_000

/** @throws as the steps; by then everything is taken away again */
export async function startUp(
  deps: UpDeps,
  options: UpOptions,
  openCluster: () => Promise<TargetCluster>,
): Promise<Up> {
  const endings: (() => Promise<void>)[] = []
  const stop = async () => {
    while (endings.length > 0) await endings.pop()!()
  }
  try {
    return { ...(await takeSteps(deps, options, openCluster, endings)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function takeSteps(
  deps: UpDeps,
  options: UpOptions,
  openCluster: () => Promise<TargetCluster>,
  endings: (() => Promise<void>)[],
): Promise<Omit<Up, 'stop'>> {
  const { device, done } = deps
  const cluster = await openCluster()
  const applied: KubernetesObject[] = []
  endings.push(() => cluster.leave(applied))
  done('cluster', cluster.title)

  const hub = await startLocalHub(deps, options.version)
  endings.push(() => hub.stop())
  done('hub', `${hub.endpoint}, no CA, cannot read what passes`)

  const link = hub.startLink
  const who = { link, user: options.user, deviceName: 'this machine', endpoint: 'public' } as const
  const founder = await login(device, who)
  done('login', `${founder.user} founded fleet ${founder.fleet.slice(0, 8)}…, device key made here`)

  const registered = await register(deps, options, cluster, applied, endings)
  done(
    'agent',
    `dialled out; cluster ${registered.name} is ${registered.id}, signed into the directory`,
  )

  const kubeconfig = join(deps.directory, 'kubeconfig')
  await writeKubeconfig(deps, kubeconfig)
  done('kubeconfig', kubeconfig)

  const roundTrip = await withFleet(device, (session) =>
    requestGoingRound(session, requireCluster(session.directory, registered.id)),
  )
  done(
    'request',
    `${roundTrip.request}: ${roundTrip.status} as ${roundTrip.user} in ${roundTrip.ms} ms`,
  )
  return { kubeconfig, hub: hub.endpoint, cluster: registered, roundTrip }
}

async function register(
  deps: UpDeps,
  options: UpOptions,
  cluster: TargetCluster,
  applied: KubernetesObject[],
  endings: (() => Promise<void>)[],
): Promise<{ id: string; name: string }> {
  const registration = { name: options.clusterName, labels: {}, endpoint: 'public' } as const
  return withFleet(deps.device, async (session) => {
    const { objects } = await prepareRegistration(session, registration)
    applied.push(...objects)
    await applyManifest(cluster.kubernetes, objects)
    const agent = await startLocalAgent(deps, cluster, options.version)
    endings.push(() => agent.stop())
    return completeRegistration(session, registration, REGISTRATION_MS)
  })
}

async function writeKubeconfig(deps: UpDeps, path: string): Promise<void> {
  const { self, env, files } = deps
  const entries = await withFleet(deps.device, (session) =>
    kubeconfigFor(session, { clusters: [], mode: 'exec', self, env }),
  )
  await files.writeFileAtomic(path, mergeEntries(undefined, entries, { file: path }), 0o600)
}
