import { type AccessRequest, requestStatus } from '../directory/access-request.ts'
import type { ApprovalDetail } from '../directory/details.ts'
import { AccessDeniedError, UsageError } from '../errors.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { withCluster } from './cluster-access.ts'
import { type ClusterChange, reported } from './cluster-bindings.ts'
import { requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { writeGrant } from './grant.ts'
import { removeOverRequests } from './request-bindings.ts'
import { type RequestSummary, requireRequest, summaryOf } from './requests.ts'

/** Saying yes or no to an access request, and ending one (PROTOCOL §3.7). */

export interface DecidedRequest {
  readonly request: RequestSummary
  /** What was done in the cluster itself; absent for whoever may not. */
  readonly change?: ClusterChange
}

/**
 * Binds the request's group with the administrator's own identity, and signs. The last approval that is needed
 * makes it run. @throws NotFoundError MCM_NOT_FOUND, AccessDeniedError also where RBAC lets one not give that
 * role, UsageError MCM_USAGE for one that does not wait
 */
export async function approveRequest(session: FleetSession, id: number): Promise<DecidedRequest> {
  requireAdmin(session, 'approve requests')
  const request = requireApprovable(session, id)
  const { user: name, role, namespace } = request
  const where = namespace === undefined ? {} : { namespace }
  const grant = { subject: { kind: 'user', name } as const, role, ...where, request: id }
  const cluster = requireCluster(session.directory, request.cluster)
  const changed = await session.device.progress.step(`preparing in ${cluster.name}`, () =>
    withCluster(session, cluster, async (access) => [
      ...(await writeGrant(session, cluster, grant, access)),
      ...(await removeOverRequests(session, cluster, access.kubernetes)),
    ]),
  )
  const after = await sign(session, (current) => approvalOf(current, id))
  const change = { cluster: cluster.name, id: cluster.id, changed: [...new Set(changed)] }
  return { request: summaryOf(after, requireRequest(after, id)), change }
}

/** @throws NotFoundError MCM_NOT_FOUND, AccessDeniedError, UsageError MCM_USAGE for one that does not wait */
export async function denyRequest(session: FleetSession, id: number): Promise<DecidedRequest> {
  requireAdmin(session, 'deny requests')
  const after = await sign(session, (current) => {
    requireWaiting(current, id)
    return { action: 'deny', request: id }
  })
  return { request: summaryOf(after, requireRequest(after, id)), ...(await swept(after, id)) }
}

/**
 * Takes a request back, or the access it gave: one's own, for an administrator anybody's. Agents heed it at once,
 * whatever of it stays in the cluster. @throws NotFoundError MCM_NOT_FOUND, UsageError MCM_USAGE
 */
export async function endRequest(session: FleetSession, id: number): Promise<DecidedRequest> {
  const after = await sign(session, (current) => {
    requireOpen(current, id)
    return { action: 'end', request: id }
  })
  const isAdmin = after.directory.state.admins.has(after.key.id)
  const change = isAdmin ? await swept(after, id) : {}
  return { request: summaryOf(after, requireRequest(after, id)), ...change }
}

async function sign(
  session: FleetSession,
  detailFor: (session: FleetSession) => ApprovalDetail,
): Promise<FleetSession> {
  return appendStatements(session, (current) => [
    { type: 'approval', detail: detailFor(current), signers: [current.key] },
  ])
}

/** How many are needed is said in it: a hub may keep from the agent that the cluster wants two. */
function approvalOf(session: FleetSession, id: number): ApprovalDetail {
  const { needed, cluster } = requireApprovable(session, id)
  const wanted = session.directory.state.clusters.get(cluster)?.approvals ?? 1
  const both = Math.max(needed, wanted) === 2 ? { needed: 2 as const } : {}
  return { action: 'approve', request: id, ...both }
}

/** What is left gives nothing; a cluster that is down is swept by whoever comes next. */
async function swept(session: FleetSession, id: number): Promise<{ change?: ClusterChange }> {
  const cluster = session.directory.state.clusters.get(requireRequest(session, id).cluster)
  if (!cluster) return {}
  const change = await reported(cluster, () =>
    withCluster(session, cluster, ({ kubernetes }) =>
      removeOverRequests(session, cluster, kubernetes),
    ),
  )
  return { change }
}

function requireApprovable(session: FleetSession, id: number): AccessRequest {
  const request = requireWaiting(session, id)
  const { user } = session.state
  if (request.user === user)
    throw new AccessDeniedError('MCM_FORBIDDEN', 'nobody approves their own request', {
      hint: 'ask another administrator of the fleet',
    })
  if (request.approvals.some((each) => each.user === user))
    throw new UsageError('MCM_USAGE', `you have approved request ${id} already`, {
      hint: 'it waits for another administrator',
    })
  return request
}

function requireWaiting(session: FleetSession, id: number): AccessRequest {
  const request = requireRequest(session, id)
  const status = requestStatus(request, session.device.world.now())
  if (status === 'waiting') return request
  const hint = status === 'running' ? `mcm requests end ${id} takes it back` : undefined
  throw new UsageError('MCM_USAGE', `request ${id} does not wait any more: it is ${status}`, {
    ...(hint === undefined ? {} : { hint }),
  })
}

function requireOpen(session: FleetSession, id: number): AccessRequest {
  const request = requireRequest(session, id)
  const status = requestStatus(request, session.device.world.now())
  if (status === 'waiting' || status === 'running') return request
  throw new UsageError('MCM_USAGE', `there is nothing to end: request ${id} is ${status}`)
}
