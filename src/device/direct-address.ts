import type { ClusterDetail, DirectAddress } from '../directory/details.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { requireCluster } from './cluster-lookup.ts'
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
    return [{ type: 'cluster', detail: detailOf(cluster, direct), signers: [key] }]
  })
  return { name, id, ...(direct ? { direct } : {}) }
}

function isSame(one: DirectAddress | undefined, other: DirectAddress | undefined): boolean {
  return one?.sessions === other?.sessions && one?.enrolment === other?.enrolment
}

/** What the directory says of it, with another address. */
function detailOf(cluster: ClusterRecord, direct: DirectAddress | undefined): ClusterDetail {
  const { id, name, labels, serverCaDer, userCaDer, agentKey, issuer, prefix } = cluster
  const { approvals } = cluster
  const [serverCa, userCa] = [serverCaDer, userCaDer].map((der) => der.toString('base64'))
  const kept = { id, name, labels, serverCa: serverCa!, userCa: userCa!, agentKey, issuer, prefix }
  return { ...kept, ...(direct ? { direct } : {}), ...(approvals ? { approvals } : {}) }
}
