import type { DirectAddress } from '../directory/details.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { requireCluster } from './cluster-lookup.ts'
import { clusterDetailOf } from './cluster-statement.ts'
import type { FleetSession } from './fleet-session.ts'

/** The address at which a cluster's agent listens itself, as an admin says it (PROTOCOL §8.1). */

export interface ClusterAddress {
  readonly name: string
  readonly id: string
  /** Absent when it has none. */
  readonly direct?: DirectAddress
}

/** Sets, changes or (undefined) removes it. @throws NotFoundError MCM_CLUSTER_UNKNOWN, AccessDeniedError */
export async function setDirectAddress(
  session: FleetSession,
  nameOrId: string,
  direct: DirectAddress | undefined,
): Promise<ClusterAddress> {
  requireAdmin(session, 'change where clusters are reached')
  const { id, name } = requireCluster(session.directory, nameOrId)
  await appendStatements(session, ({ directory, key }) => {
    const cluster = requireCluster(directory, id)
    if (isSame(cluster.direct, direct)) return []
    const detail = clusterDetailOf({ ...cluster, direct })
    return [{ type: 'cluster', detail, signers: [key] }]
  })
  return { name, id, ...(direct ? { direct } : {}) }
}

function isSame(one: DirectAddress | undefined, other: DirectAddress | undefined): boolean {
  return one?.sessions === other?.sessions && one?.enrolment === other?.enrolment
}
