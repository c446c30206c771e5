import { type Grant, requireGrant } from '../access/grant.ts'
import { type AccessRequest, requestStatus } from '../directory/access-request.ts'
import type { ApprovalDetail } from '../directory/details.ts'
import { AccessDeniedError, EXIT_SOME_FAILED, UsageError } from '../errors.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { type ClusterAccess, withCluster } from './cluster-access.ts'
import { type ClusterChange, reported } from './cluster-bindings.ts'
import { requireCluster } from './cluster-lookup.ts'
import type { FleetSession } from './fleet-session.ts'
import { tryGrant, writeGrant } from './grant.ts'
import { removeOverRequests } from './request-bindings.ts'
import { type RequestSummary, requireRequest, summaryOf } from './requests.ts'

/** Saying yes or no to an access request, and ending one (PROTOCOL §3.7). */

export interface DecidedRequest {
  readonly request: RequestSummary
  /** What was done in the cluster itself; absent for whoever may not. */
  readonly change?: ClusterChange
}

/** 0 when all was done; what was decided counts in any case. */
export function exitCodeOfDecision({ change }: DecidedRequest): number {
  return change?.problem === undefined ? 0 : EXIT_SOME_FAILED
}

/**
 * Approves with the administrator's own identity: while others have to as well the API server is only asked whether
 * they may give that role; the last one binds the request's group, and signs. `confirm` is shown what it is
 * before anything is done. @throws NotFoundError MCM_NOT_FOUND, AccessDeniedError also where RBAC lets one not give
 * that role, UsageError MCM_USAGE for one that does not wait
 */
export async function approveRequest(
  session: FleetSession,
  id: number,
  confirm: (request: RequestSummary) => Promise<void> = async () => {},
): Promise<DecidedRequest> {
  requireAdmin(session, 'approve requests')
  const request = requireApprovable(session, id)
  await confirm(summaryOf(session, request))
  const cluster = requireCluster(session.directory, request.cluster)
  const inCluster = (work: (access: ClusterAccess) => Promise<string[]>) =>
    session.device.progress.step(`preparing in ${cluster.name}`, () =>
      withCluster(session, cluster, work),
    )
  const bind = (access: ClusterAccess) => writeGrant(session, cluster, grantOf(request), access)
  const isLast = isLastApproval(session, request)
  const changed = await inCluster(async (access) => {
    const swept = await removeOverRequests(session, cluster, access.kubernetes)
    if (isLast) return [...swept, ...(await bind(access))]
    await tryGrant(session, cluster, grantOf(request), access)
    return swept
  })
  const after = await sign(session, (current) => approvalOf(current, id))
  const approved = summaryOf(after, requireRequest(after, id))
  // Another administrator approved at the same moment, and neither was to be the last.
  const isOurs = !isLast && approved.status === 'running'
  const late = isOurs ? await inCluster(bind) : []
  const all = [...new Set([...changed, ...late])]
  return { request: approved, change: { cluster: cluster.name, id: cluster.id, changed: all } }
}

/** What a request asks for. @throws UsageError for a role that nobody may be given */
function grantOf({ user: name, role, namespace, seq: request }: AccessRequest): Grant {
  const where = namespace === undefined ? {} : { namespace }
  return requireGrant({ subject: { kind: 'user', name }, role, ...where, request })
}

/** Whether it runs with one approval more. */
function isLastApproval(session: FleetSession, request: AccessRequest): boolean {
  const { admins } = session.directory.state
  const standing = request.approvals.filter(({ key }) => admins.has(key))
  return standing.length + 1 >= neededFor(session, request)
}

function neededFor({ directory }: FleetSession, { needed, cluster }: AccessRequest): number {
  return Math.max(needed, directory.state.clusters.get(cluster)?.approvals ?? 1)
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
  const needed = neededFor(session, requireApprovable(session, id))
  const both = needed === 2 ? { needed: 2 as const } : {}
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
  const since = session.directory.state.admins.get(session.key.id)?.since ?? 0
  if (since > request.seq)
    throw new AccessDeniedError(
      'MCM_FORBIDDEN',
      `request ${id} is older than your being an administrator`,
      {
        hint: 'ask another administrator, or for a new request',
      },
    )
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
