import {
  type AccessDifference,
  accessDifference,
  type DirectoryChange,
  directoryDifference,
} from '../access/access-difference.ts'
import { type PeopleDifference, peopleDifference } from '../access/people-difference.ts'
import { isForCluster, type WantedAccess, wantedAccess } from '../access/wanted-access.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { isMcmError, TrustError } from '../errors.ts'
import { directoryAccess, knownNames, readActualAccess } from './access-actual.ts'
import type { DeclaredAccess } from './access-file.ts'
import { requireAdmin } from './admin.ts'
import { withCluster } from './cluster-access.ts'
import { byName, reachableClusters, requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { inParallel } from './in-parallel.ts'
import { withoutRequests } from './request-bindings.ts'

/** What would have to change, everywhere, for a declared access to be true. */
export interface AccessPlan {
  readonly clusters: readonly ClusterPlan[]
  readonly people: PeopleDifference
}

export interface ClusterPlan {
  readonly cluster: ClusterRecord
  readonly wanted: WantedAccess
  /** Absent where it could not be seen what there is. */
  readonly difference?: AccessDifference
  /** Known also where the cluster cannot be reached. */
  readonly inDirectory: readonly DirectoryChange[]
  /** Why it could not be seen. */
  readonly problem?: string
}

/** How many clusters are talked to at a time. */
export const PARALLEL_CLUSTERS = 10

/**
 * Reads every cluster that this administrator is a member of, and compares.
 * @throws UsageError MCM_BAD_FILE a cluster that there is not; AccessDeniedError, TrustError
 */
export async function planAccess(
  session: FleetSession,
  declared: DeclaredAccess,
): Promise<AccessPlan> {
  requireAdmin(session, 'declare access')
  const clusters = clustersOf(session, declared)
  const { state } = session.directory
  const people = [...state.users.values()].filter(({ revoked }) => !revoked)
  return {
    clusters: await inParallel(clusters, PARALLEL_CLUSTERS, (cluster) =>
      planCluster(session, declared, cluster),
    ),
    people: peopleDifference(declared.access, people, session.state.user),
  }
}

/** All that can be reached, and those that are named although they cannot. */
function clustersOf(session: FleetSession, { access, wrong }: DeclaredAccess): ClusterRecord[] {
  const { directory, state } = session
  for (const [index, { clusters = [] }] of access.grants.entries())
    for (const [at, name] of clusters.entries())
      try {
        requireCluster(directory, name)
      } catch (error) {
        if (!isMcmError(error)) throw error
        const path = ['grants', index, 'clusters', at]
        throw wrong({ path, message: [error.message, error.hint].filter(Boolean).join('; ') })
      }
  const reachable = reachableClusters(directory, state.user)
  const isNamed = (cluster: ClusterRecord) =>
    access.grants.some((grant) => grant.clusters && isForCluster(grant, cluster))
  const named = [...directory.state.clusters.values()].filter(isNamed)
  return [...new Set([...reachable, ...named])].sort(byName)
}

async function planCluster(
  session: FleetSession,
  { access }: DeclaredAccess,
  cluster: ClusterRecord,
): Promise<ClusterPlan> {
  const { directory, device } = session
  const now = device.world.now()
  const wanted = wantedAccess(access, cluster, now)
  const inDirectory = directoryAccess(directory, cluster.id, now)
  const actor = session.state.user
  const known = knownNames(directory)
  const present = presentUsers(directory)
  try {
    return await device.progress.step(`reading ${cluster.name}`, () =>
      withCluster(session, cluster, async ({ kubernetes }) => {
        const read = await readActualAccess(kubernetes, wanted)
        const actual = { ...withoutRequests(session, cluster, read), ...inDirectory }
        const context = { prefix: cluster.prefix, actor, known, present }
        const difference = accessDifference(wanted, actual, context)
        return { cluster, wanted, difference, inDirectory: difference.inDirectory }
      }),
    )
  } catch (error) {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    const changes = directoryDifference(wanted, inDirectory, { actor })
    return { cluster, wanted, inDirectory: changes, problem: error.message }
  }
}

function presentUsers({ state }: FleetSession['directory']): ReadonlySet<string> {
  return new Set([...state.users.values()].flatMap(({ name, revoked }) => (revoked ? [] : [name])))
}
