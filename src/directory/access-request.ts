import { timedGroupOf } from '../access/timed-group.ts'

/** Somebody asks for a role for some time, and others say yes or no (PROTOCOL §3.7). */

export interface AccessRequest {
  /** The number of its statement, by which people name it. */
  readonly seq: number
  /** Cluster id. */
  readonly cluster: string
  readonly user: string
  /** Key id of the device that asked. */
  readonly device: string
  /** A ClusterRole's whole name. */
  readonly role: string
  /** Absent: all namespaces. */
  readonly namespace?: string
  readonly seconds: number
  readonly reason: string
  readonly since: Date
  /** How many users have to approve it. */
  readonly needed: number
  /** Those that counted when they were given, in order. */
  readonly approvals: readonly Approval[]
  /** Once it has what it needs. */
  readonly running?: { readonly from: Date; readonly until: Date }
  /** How it was stopped before its time. */
  readonly end?: RequestEnd
}

export interface Approval {
  readonly user: string
  /** Key id. */
  readonly key: string
  readonly at: Date
}

export interface RequestEnd {
  readonly action: 'deny' | 'end'
  /** Absent where a revocation ended it. */
  readonly by?: string
  readonly at: Date
}

export type RequestStatus = 'waiting' | 'running' | 'denied' | 'ended' | 'over' | 'lapsed'

export const MIN_REQUEST_SECONDS = 60
export const MAX_REQUEST_SECONDS = 12 * 3_600
/** How long it waits for its approvals. */
const REQUEST_WAITS_MS = 24 * 3_600_000
/** Of one user within 24 hours: the chain keeps every one of them for ever. */
export const MAX_REQUESTS_A_DAY = 16
/** Of one user at a time: somebody has to read them. */
export const MAX_WAITING_REQUESTS = 4
/** How far a clock may be behind that of the last approver. */
export const APPROVERS_CLOCK_AHEAD_MS = 10 * 60_000

/** How it stands at that moment. */
export function requestStatus(request: AccessRequest, at: Date): RequestStatus {
  const { end, running, since } = request
  if (end) return end.action === 'deny' ? 'denied' : 'ended'
  if (running) return at < running.until ? 'running' : 'over'
  return at <= lapsesAt({ since }) ? 'waiting' : 'lapsed'
}

/** The last moment at which it waits. */
export function lapsesAt({ since }: Pick<AccessRequest, 'since'>): Date {
  return new Date(since.getTime() + REQUEST_WAITS_MS)
}

/** The timed group (PROTOCOL §3.5) that stands for this request alone, approved or not. */
export function requestGroup({
  seq,
  user,
  role,
  namespace,
}: Pick<AccessRequest, 'seq' | 'user' | 'role' | 'namespace'>): string {
  const where = namespace === undefined ? {} : { namespace }
  return timedGroupOf({ subject: { kind: 'user', name: user }, role, ...where, request: seq })
}
