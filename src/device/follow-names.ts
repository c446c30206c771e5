import { withoutNames } from '../access/impersonator.ts'
import { PARALLEL_CLUSTERS } from './access-plan.ts'
import { withCluster } from './cluster-access.ts'
import { type ClusterChange, reported } from './cluster-bindings.ts'
import { reachableClusters } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { addNames, removeNames } from './impersonator-list.ts'
import { inParallel } from './in-parallel.ts'
import { namesInUseOf } from './names-in-use.ts'

/**
 * After a change of people: each cluster's agent may speak for who is in use there since, and no longer for who
 * is not. Clusters where nothing changes are not asked; what cannot be reached now is reported.
 */
export async function followNames(
  before: FleetSession,
  after: FleetSession,
): Promise<ClusterChange[]> {
  const now = after.device.world.now()
  const clusters = reachableClusters(after.directory, after.state.user).flatMap((cluster) => {
    const had = namesInUseOf(before.directory, cluster, now)
    const has = namesInUseOf(after.directory, cluster, now)
    const [added, removed] = [withoutNames(has, had), withoutNames(had, has)]
    return added.users.length + removed.users.length > 0 ? [{ cluster, added, removed }] : []
  })
  return inParallel(clusters, PARALLEL_CLUSTERS, ({ cluster, added, removed }) =>
    reported(cluster, () =>
      withCluster(after, cluster, async ({ kubernetes }) => {
        const isLess = await removeNames(kubernetes, removed)
        const isMore = await addNames(kubernetes, added)
        return isLess || isMore ? ['ClusterRole mcm-impersonator'] : []
      }),
    ),
  )
}
