import { setTimeout } from 'node:timers/promises'
import { requireGrant } from '../access/grant.ts'
import {
  type AccessRequest,
  lapsesAt,
  MAX_REQUEST_SECONDS,
  MIN_REQUEST_SECONDS,
  type RequestStatus,
  requestStatus,
} from '../directory/access-request.ts'
import { formatTime } from '../directory/time.ts'
import { AccessDeniedError, NotFoundError, UsageError } from '../errors.ts'
import { appendStatements } from './append.ts'
import { requireReachable } from './cluster-lookup.ts'
import { type FleetSession, syncDirectory } from './fleet-session.ts'

/** Asking for a role for some time, and who has asked (PROTOCOL §3.7). */

/** Times are RFC 3339. */
export interface RequestSummary {
  /** By which people name it. */
  readonly id: number
  readonly status: RequestStatus
  readonly user: string
  readonly role: string
  readonly namespace?: string
  /** Its name; the id of one that is gone. */
  readonly cluster: string
  readonly seconds: number
  readonly reason: string
  readonly since: string
  /** While it waits: when it lapses; once it was approved: when its time is over. Absent where somebody stopped it. */
  readonly until?: string
  readonly needed: number
  readonly approvals: readonly { readonly user: string; readonly at: string }[]
  readonly end?: { readonly action: 'deny' | 'end'; readonly by?: string; readonly at: string }
}

export interface RequestWish {
  /** Short or whole. */
  readonly role: string
  readonly cluster: string
  readonly namespace?: string
  readonly forMs: number
  readonly reason: string
}

/**
 * Asks, as this device's own user. @throws UsageError MCM_USAGE MCM_BAD_NAME, NotFoundError MCM_CLUSTER_UNKNOWN,
 * AccessDeniedError MCM_NO_GRANT for a cluster one is no member of, MCM_FORBIDDEN for whom a token admitted
 */
export async function requestAccess(
  session: FleetSession,
  wish: RequestWish,
): Promise<RequestSummary> {
  const { user, provided } = session.state
  if (provided !== undefined) throw askedByGuest(user)
  const cluster = requireReachable(session.directory, user, wish.cluster)
  const { role, namespace } = requireGrant({
    subject: { kind: 'user', name: user },
    role: wish.role,
    ...(wish.namespace === undefined ? {} : { namespace: wish.namespace }),
  })
  const where = namespace === undefined ? {} : { namespace }
  const seconds = requireSeconds(wish.forMs)
  const detail = { cluster: cluster.id, user, role, ...where, seconds, reason: wish.reason }
  const after = await appendStatements(session, ({ key }) => [
    { type: 'request', detail, signers: [key] },
  ])
  return summaryOf(after, after.directory.state.requests.get(after.directory.head!.seq)!)
}

/** Those that this person may see, oldest first: their own, for an administrator everybody's. */
export function listRequests(session: FleetSession, which: 'open' | 'all'): RequestSummary[] {
  return [...session.directory.state.requests.values()]
    .map((request) => summaryOf(session, request))
    .filter(({ status }) => which === 'all' || status === 'waiting' || status === 'running')
}

const POLL_MS = 2_000

/** Each that is open at first, and each again when it has changed, until the signal. @throws UnreachableError */
export async function* watchRequests(
  session: FleetSession,
  signal: AbortSignal,
  pollMs = POLL_MS,
): AsyncGenerator<RequestSummary> {
  const seen = new Map<number, string>()
  for (let current = session; ; current = await syncDirectory(current)) {
    for (const request of listRequests(current, 'all')) {
      const text = JSON.stringify(request)
      const isNews = seen.has(request.id) ? seen.get(request.id) !== text : isOpen(request)
      seen.set(request.id, text)
      if (isNews) yield request
    }
    await setTimeout(pollMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
  }
}

/** As `mcm requests` shows it. */
export function summaryOf({ directory, device }: FleetSession, request: AccessRequest) {
  const { seq: id, user, role, namespace, seconds, reason, needed, approvals, end } = request
  const status = requestStatus(request, device.world.now())
  const stands = status === 'waiting' ? lapsesAt(request) : request.running?.until
  const until = end ? undefined : stands
  const summary: RequestSummary = {
    id,
    status,
    user,
    role,
    ...(namespace === undefined ? {} : { namespace }),
    cluster: directory.state.clusters.get(request.cluster)?.name ?? request.cluster,
    seconds,
    reason,
    since: formatTime(request.since),
    ...(until ? { until: formatTime(until) } : {}),
    needed,
    approvals: approvals.map((each) => ({ user: each.user, at: formatTime(each.at) })),
    ...(end ? { end: { ...end, at: formatTime(end.at) } } : {}),
  }
  return summary
}

/** @throws NotFoundError MCM_NOT_FOUND */
export function requireRequest({ directory }: FleetSession, id: number): AccessRequest {
  const found = directory.state.requests.get(id)
  if (found) return found
  throw new NotFoundError('MCM_NOT_FOUND', `no access request ${id} is known to you`, {
    hint: 'mcm requests lists them',
  })
}

function isOpen({ status }: RequestSummary): boolean {
  return status === 'waiting' || status === 'running'
}

function requireSeconds(forMs: number): number {
  const seconds = Math.floor(forMs / 1000)
  if (seconds >= MIN_REQUEST_SECONDS && seconds <= MAX_REQUEST_SECONDS) return seconds
  throw new UsageError('MCM_USAGE', 'access is asked for between a minute and 12 hours', {
    hint: 'write --for 1h; for longer an administrator grants it: mcm grant … --for 7d',
  })
}

/** Their device key is in no statement, so nobody could check what it signs. */
function askedByGuest(user: string): AccessDeniedError {
  const message = `${user} logged in at an identity provider, and only invited people can ask`
  return new AccessDeniedError('MCM_FORBIDDEN', message, {
    hint: `ask an administrator: mcm grant ${user} --role ROLE --cluster CLUSTER --for 1h`,
  })
}
