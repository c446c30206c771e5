import { UsageError } from '../errors.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { requireCluster } from './cluster-lookup.ts'
import { clusterDetailOf } from './cluster-statement.ts'
import type { FleetSession } from './fleet-session.ts'

/** How many administrators have to approve an access request in a cluster (PROTOCOL §3.7). */

export interface RequestPolicy {
  readonly name: string
  readonly id: string
  readonly approvals: 1 | 2
}

/** @throws NotFoundError MCM_CLUSTER_UNKNOWN, AccessDeniedError, UsageError MCM_USAGE where there are not so many */
export async function setApprovals(
  session: FleetSession,
  nameOrId: string,
  approvals: 1 | 2,
): Promise<RequestPolicy> {
  requireAdmin(session, 'say how many approvals a request needs')
  const { id, name } = requireCluster(session.directory, nameOrId)
  await appendStatements(session, ({ directory, key }) => {
    requireAdministrators(directory.state.admins, approvals)
    const cluster = requireCluster(directory, id)
    if ((cluster.approvals ?? 1) === approvals) return []
    const { approvals: _, ...kept } = clusterDetailOf(cluster)
    const detail = approvals === 2 ? { ...kept, approvals } : kept
    return [{ type: 'cluster', detail, signers: [key] }]
  })
  return { name, id, approvals }
}

function requireAdministrators(
  admins: ReadonlyMap<string, { readonly user: string }>,
  needed: number,
): void {
  const users = new Set([...admins.values()].map(({ user }) => user))
  if (users.size >= needed) return
  throw new UsageError('MCM_USAGE', `there are not ${needed} administrators who could approve`, {
    hint: 'mcm admins add makes another one',
  })
}
