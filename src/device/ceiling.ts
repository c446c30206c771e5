import { resolve } from 'node:path'
import { ceilingRole } from '../access/ceiling.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { isMcmError, TrustError } from '../errors.ts'
import type { ConnectOptions } from '../kubeconfig/connect.ts'
import type { KubeconfigFiles } from '../kubeconfig/file.ts'
import { toYaml } from '../kubeconfig/yaml.ts'
import type { ClusterFacts as Protection } from '../protocol/messages.ts'
import { applyManifest, readClusterFacts } from './apply-manifest.ts'
import { type CeilingWish, ceilingOf } from './ceiling-wish.ts'
import { withCluster } from './cluster-access.ts'
import { requireCluster } from './cluster-lookup.ts'
import { requireThisCluster, withApiServer } from './direct-api.ts'
import type { FleetSession } from './fleet-session.ts'
import { setForm } from './impersonator-list.ts'

/**
 * The ceiling of a cluster: what nobody does through mcm. It is set with the owner's own, direct access and
 * never through mcm: the agent would refuse it.
 */

/** What limits everybody in a cluster, as its agent says. */
export interface ClusterCeiling {
  readonly cluster: string
  readonly id: string
  /** Absent when its agent could not be asked. */
  readonly protection?: Protection
  /** Why it could not. */
  readonly problem?: string
}

/** @throws NotFoundError MCM_CLUSTER_UNKNOWN; TrustError */
export async function showCeiling(
  session: FleetSession,
  nameOrId: string,
): Promise<ClusterCeiling> {
  const cluster = requireCluster(session.directory, nameOrId)
  return { cluster: cluster.name, id: cluster.id, ...(await askProtection(session, cluster)) }
}

/** The agent's word, or why there is none. @throws TrustError, and bugs */
export async function askProtection(
  session: FleetSession,
  cluster: ClusterRecord,
): Promise<Pick<ClusterCeiling, 'protection' | 'problem'>> {
  try {
    return { protection: await withCluster(session, cluster, ({ agent }) => agent.clusterFacts()) }
  } catch (error) {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    return { problem: error.message }
  }
}

/**
 * Writes the ceiling as YAML for `kubectl apply`.
 * @throws UsageError, NotFoundError MCM_CLUSTER_UNKNOWN
 */
export async function writeCeiling(
  session: FleetSession,
  nameOrId: string,
  wish: CeilingWish,
  output: string,
  files: KubeconfigFiles,
): Promise<ClusterCeiling> {
  const cluster = requireCluster(session.directory, nameOrId)
  const { progress } = session.device
  const ceiling = ceilingOf(wish, await customGroupsThrough(session, cluster))
  await files.writeFileAtomic(resolve(output), toYaml([ceilingRole(ceiling)]), 0o644)
  progress.say(`written: ${resolve(output)}`)
  progress.say(
    `try, with your own access to ${cluster.name}: kubectl apply --server-side -f ${output}`,
  )
  return { cluster: cluster.name, id: cluster.id, ...(await askProtection(session, cluster)) }
}

/** Custom resources as this person sees them through mcm; none where that is not allowed. */
async function customGroupsThrough(
  session: FleetSession,
  cluster: ClusterRecord,
): Promise<readonly string[]> {
  try {
    return await withCluster(session, cluster, async ({ kubernetes }) => {
      const { customGroups } = await readClusterFacts(kubernetes)
      return customGroups
    })
  } catch (error) {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    session.device.progress.say(
      `custom resources of ${cluster.name} are not known (${error.message}): what a named ceiling allows leaves them out`,
    )
    return []
  }
}

/** How a ceiling is set. */
export interface CeilingAccess {
  /** The owner's own access. */
  readonly connect: ConnectOptions
  /** The owner says that the API server has no constrained impersonation (any more). */
  readonly isLegacy: boolean
}

/** Puts the ceiling into the cluster with the owner's own access. */
export async function applyCeiling(
  session: FleetSession,
  nameOrId: string,
  wish: CeilingWish,
  { connect, isLegacy }: CeilingAccess,
  files: KubeconfigFiles,
): Promise<ClusterCeiling> {
  const cluster = requireCluster(session.directory, nameOrId)
  return withApiServer(connect, files, async (kubernetes) => {
    await requireThisCluster(kubernetes, cluster)
    return setCeiling(session, cluster, kubernetes, wish, isLegacy)
  })
}

/**
 * The ceiling, and the list of names in the form that lets the API server enforce it, where it can. The form
 * without that wall is taken at the owner's word and never at the agent's.
 * @param kubernetes the cluster as its owner
 */
export async function setCeiling(
  session: FleetSession,
  cluster: ClusterRecord,
  kubernetes: KubernetesApi,
  wish: CeilingWish,
  isLegacy: boolean,
): Promise<ClusterCeiling> {
  const { progress } = session.device
  const facts = await progress.step('asking the cluster', () => readClusterFacts(kubernetes))
  const ceiling = ceilingOf(wish, facts.customGroups)
  await progress.step('setting the ceiling', () =>
    applyManifest(kubernetes, [ceilingRole(ceiling)]),
  )
  if (isLegacy && (await setForm(kubernetes, 'legacy'))) progress.say(WALL_GONE)
  const { protection, problem } = await askProtection(session, cluster)
  const at = { cluster: cluster.name, id: cluster.id }
  if (!protection) return { ...at, ...(problem === undefined ? {} : { problem }) }
  const isConstrained = !isLegacy && protection.impersonation.server === 'constrained'
  if (isConstrained) await setForm(kubernetes, 'constrained')
  const list = isLegacy ? 'legacy' : isConstrained ? 'constrained' : facts.form
  const impersonation = { ...protection.impersonation, list }
  return { ...at, protection: { impersonation, ceiling: ceiling.name } }
}

const WALL_GONE =
  'the list of names is in its legacy form now: the agent alone enforces the ceiling, the API server does not'
