import {
  type AccessRequest,
  lapsesAt,
  MAX_REQUESTS_A_DAY,
  MAX_WAITING_REQUESTS,
  requestStatus,
} from './access-request.ts'
import type { ApprovalDetail, RequestDetail } from './details.ts'
import type { AdminRecord } from './state.ts'
import type { Statement } from './statement.ts'

/** Requests and what was said to them, in the order of the chain (PROTOCOL §3.7). */

/** What the chain says of the signers and the cluster at this statement. */
export interface RequestContext {
  /** The user for whom a key is an admin's, and since which statement it has been one. */
  adminOf(key: string): AdminRecord | undefined
  /** The user whose device a key is that is not revoked. */
  userOf(key: string): string | undefined
  /** How many approvals the cluster wants; undefined when there is none. */
  approvalsOf(cluster: string): number | undefined
}

type Refusal = string | undefined
type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export class RequestFold {
  /** By number. */
  readonly records = new Map<number, Mutable<AccessRequest>>()
  readonly #byUser = new Map<string, Mutable<AccessRequest>[]>()
  readonly #context: RequestContext

  constructor(context: RequestContext) {
    this.#context = context
  }

  ask({ seq, time, signers }: Statement, detail: RequestDetail): Refusal {
    const [device] = signers
    if (this.#context.userOf(device!) !== detail.user)
      return `it is not signed by a device of ${detail.user}`
    const needed = this.#context.approvalsOf(detail.cluster)
    if (needed === undefined) return `there is no cluster ${detail.cluster}`
    const own = this.#byUser.get(detail.user) ?? []
    const latest = own.slice(-MAX_LATEST)
    if (latest.filter((each) => time <= lapsesAt(each)).length >= MAX_REQUESTS_A_DAY)
      return `${detail.user} has made ${MAX_REQUESTS_A_DAY} requests within a day`
    const isWaiting = (each: AccessRequest) => requestStatus(each, time) === 'waiting'
    if (latest.filter(isWaiting).length >= MAX_WAITING_REQUESTS)
      return `${detail.user} has ${MAX_WAITING_REQUESTS} requests that wait`
    const request = { seq, ...detail, device: device!, since: time, needed, approvals: [] }
    this.records.set(seq, request)
    own.push(request)
    this.#byUser.set(detail.user, own)
    return undefined
  }

  decide({ time, signers }: Statement, { action, request: seq, needed }: ApprovalDetail): Refusal {
    const request = this.records.get(seq)
    if (!request) return `there is no request ${seq}`
    const status = requestStatus(request, time)
    const isStoppable = status === 'waiting' || (status === 'running' && action === 'end')
    if (!isStoppable) return `request ${seq} is ${status}`
    const signer = signers[0]!
    const admin = this.#context.adminOf(signer)?.user
    if (action === 'approve') return this.#approve(request, { key: signer, at: time, needed })
    const isOwn = action === 'end' && this.#context.userOf(signer) === request.user
    const by = admin ?? (isOwn ? request.user : undefined)
    if (by === undefined) return 'its signer has no say in this request'
    request.end = { action, by, at: time }
    return undefined
  }

  /** What the revocation of a user ends. */
  endOfUser(user: string, at: Date): void {
    for (const request of this.#byUser.get(user) ?? []) endIfOpen(request, at)
  }

  /** What the removal of a cluster ends. */
  endOfCluster(cluster: string, at: Date): void {
    for (const request of this.records.values())
      if (request.cluster === cluster) endIfOpen(request, at)
  }

  /** `needed`: how many its signer knew to be needed, which a hub may have kept from whoever reads this. */
  #approve(
    request: Mutable<AccessRequest>,
    { key, at, needed = 1 }: { key: string; at: Date; needed?: number | undefined },
  ): Refusal {
    const admin = this.#context.adminOf(key)
    if (admin === undefined) return 'its signer is no admin'
    const { user, since } = admin
    // Or whoever has one admin's device would make a second admin of a key of their own, and be two.
    if (since > request.seq) return 'its signer was no admin when the request was made'
    if (user === request.user || this.#context.userOf(key) === request.user)
      return 'nobody approves their own request'
    if (this.#context.userOf(request.device) === undefined)
      return 'the device that asked is revoked'
    const standing = request.approvals.filter(
      (each) => this.#context.adminOf(each.key) !== undefined,
    )
    if (standing.some((each) => each.user === user))
      return `${user} has approved request ${request.seq} already`
    const approvals = [...standing, { user, key, at }]
    request.approvals = approvals
    const wanted = this.#context.approvalsOf(request.cluster) ?? 1
    request.needed = Math.max(request.needed, wanted, needed)
    if (approvals.length < request.needed) return undefined
    request.running = { from: at, until: new Date(at.getTime() + request.seconds * 1000) }
    return undefined
  }
}

/** What was made within a day is among so many of a user's last: to look at all each time would cost their square. */
const MAX_LATEST = 2 * MAX_REQUESTS_A_DAY

function endIfOpen(request: Mutable<AccessRequest>, at: Date): void {
  const status = requestStatus(request, at)
  if (status === 'waiting' || status === 'running') request.end = { action: 'end', at }
}
