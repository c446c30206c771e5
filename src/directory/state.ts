import type { PublicJwk } from '../protocol/keys.ts'
import { type AccessRequest, APPROVERS_CLOCK_AHEAD_MS, requestGroup } from './access-request.ts'
import type { DirectAddress, MemberSubject } from './details.ts'
import { isNameOf, type ProviderDetail } from './provider.ts'

/**
 * What a directory says, as records and questions. `fold.ts` makes it; nobody changes it after.
 */

export interface HubRecord {
  readonly seq: number
  readonly endpoints: readonly string[]
  readonly privateEndpoints: readonly string[]
  readonly certificateDer: Buffer
  readonly pin: string
  /** What it shows until then, in place of that (PROTOCOL §12.3). */
  readonly previous?: {
    readonly certificateDer: Buffer
    readonly pin: string
    readonly until: Date
    /** Until when clients take it, whose clocks may be late. */
    readonly graceUntil: Date
  }
}

export interface ClusterRecord {
  readonly seq: number
  readonly id: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly serverCaDer: Buffer
  readonly userCaDer: Buffer
  /** Key id. */
  readonly agentKey: string
  readonly issuer: 'agent' | 'local'
  readonly prefix: string
  readonly direct?: DirectAddress | undefined
  /** The CAs that stand beside them until then (PROTOCOL §12.2). */
  readonly previous?: {
    readonly serverCaDer: Buffer
    readonly userCaDer: Buffer
    readonly until: Date
    /** Until when clients take it, whose clocks may be late. */
    readonly graceUntil: Date
  }
  /** How many users have to approve a request there; one where it says nothing. */
  readonly approvals?: 2 | undefined
}

export interface DeviceRecord {
  /** Key id. */
  readonly id: string
  readonly key: PublicJwk
  readonly name: string
  readonly since: Date
  readonly revoked?: Date
  /** Until when a token admits it; absent for a device of the directory. */
  readonly until?: Date
}

/** An identity provider that admins let speak (PROTOCOL §11.1). */
export interface ProviderRecord extends Omit<ProviderDetail, 'action' | 'ca'> {
  readonly seq: number
  /** The hash in its statement, by which links name it. */
  readonly detailHash: string
  readonly caDer?: Buffer
}

export interface InviteRecord {
  readonly seq: number
  /** Key id of the invite key. */
  readonly key: string
  readonly expires: Date
  readonly used: boolean
}

export interface UserRecord {
  readonly name: string
  readonly bot: boolean
  /** Of its certificates, in seconds, where its latest invite says it. */
  readonly lifetime?: number
  /** How people call the user. */
  readonly nickname?: string
  /** Those of the latest `invite` or `groups`. */
  readonly groups: readonly string[]
  /** By key id; revoked ones stay, marked. */
  readonly devices: ReadonlyMap<string, DeviceRecord>
  readonly revoked?: Date
  /** Those that no revocation has ended. */
  readonly invites: readonly InviteRecord[]
}

/** A user while the chain is folded, and with what membership is counted from. */
export interface StandingUser extends UserRecord {
  /** Since when the user has stood without a break. */
  readonly since: Date
  /** Since when the user has been in each of the groups without a break. */
  readonly groupsSince: ReadonlyMap<string, Date>
}

export interface Membership {
  readonly subject: MemberSubject
  readonly since: Date
  /** No effect after it. */
  readonly expires?: Date
}

/** Somebody in a timed group (PROTOCOL §3.5). */
export interface TimedGrant {
  readonly subject: MemberSubject
  /** `grant:…`. */
  readonly group: string
  /** Nobody is in it before; absent where it has always begun. */
  readonly from?: Date
  readonly expires: Date
  /** The number of the request that was approved; absent for a `grant`. */
  readonly request?: number
}

/** A key that may sign for the fleet. */
export interface AdminRecord {
  readonly user: string
  /** The number of the statement since which it has without a break. */
  readonly since: number
}

/** The records a state consists of. */
export interface StateRecords {
  readonly confirmed: Date | undefined
  readonly admins: ReadonlyMap<string, AdminRecord>
  readonly hubs: readonly HubRecord[]
  readonly clusters: ReadonlyMap<string, ClusterRecord>
  readonly users: ReadonlyMap<string, StandingUser>
  /** By the key id of each device that ever was. */
  readonly ownerOfKey: ReadonlyMap<string, StandingUser>
  /** By cluster id and `subjectKey`. */
  readonly members: ReadonlyMap<string, ReadonlyMap<string, Membership>>
  /** By cluster id and `timedGrantKey`; those that are over as well. */
  readonly timedGrants: ReadonlyMap<string, ReadonlyMap<string, TimedGrant>>
  /** By name. */
  readonly providers: ReadonlyMap<string, ProviderRecord>
  /** By number. */
  readonly requests: ReadonlyMap<number, AccessRequest>
  readonly withoutEffect: ReadonlyMap<number, string>
}

/** A moment at which no membership is over: for whoever leaves it to hub and agent to look at the clock. */
export const WHENEVER = new Date(0)

/** What a valid chain says, as far as its details are known. Immutable. */
export class DirectoryState {
  /** Admins' key ids. Fewer than the chain's own where a key's user or device was revoked. */
  readonly admins: StateRecords['admins']
  /** When an admin last signed anything, and so that this is the directory up to there. */
  readonly confirmed: Date | undefined
  readonly hubs: readonly HubRecord[]
  /** By id; removed ones are gone. */
  readonly clusters: ReadonlyMap<string, ClusterRecord>
  /** By name; revoked ones stay, marked. */
  readonly users: ReadonlyMap<string, UserRecord>
  /** Why a valid statement whose detail is known changed nothing, by number. A hub refuses to append these. */
  readonly withoutEffect: ReadonlyMap<number, string>
  /** By name. */
  readonly providers: ReadonlyMap<string, ProviderRecord>
  /** By number; whatever became of them. */
  readonly requests: ReadonlyMap<number, AccessRequest>
  readonly #records: StateRecords
  /** By cluster id and user; made once, because every request of every user asks. */
  readonly #approved: ReadonlyMap<string, ReadonlyMap<string, readonly TimedGrant[]>>

  constructor(records: StateRecords) {
    this.admins = records.admins
    this.confirmed = records.confirmed
    this.hubs = records.hubs
    this.clusters = records.clusters
    this.users = records.users
    this.withoutEffect = records.withoutEffect
    this.providers = records.providers
    this.requests = records.requests
    this.#records = records
    this.#approved = approvedByCluster(records.requests)
  }

  /** Whose device a key is, revoked ones included. */
  deviceOwner(key: string): { user: UserRecord; device: DeviceRecord } | undefined {
    const user = this.#records.ownerOfKey.get(key)
    const device = user?.devices.get(key)
    return user && device && { user, device }
  }

  /** The provider that gives such a name, if there is one. */
  providerOf(user: string): ProviderRecord | undefined {
    return [...this.providers.values()].find(({ domain }) => isNameOf(domain, user))
  }

  /** Whether a key is a device's that is not revoked. */
  isLiveDevice(key: string): boolean {
    const owner = this.deviceOwner(key)
    return owner !== undefined && !owner.device.revoked && !owner.user.revoked
  }

  /**
   * Whether a user may see and reach a cluster, by name or through a group.
   * @param at a membership that ends counts for who says what time it is, and for nobody else
   */
  isMember(user: string, clusterId: string, at?: Date): boolean {
    return this.memberSince(user, clusterId, at) !== undefined
  }

  /** Since when a user has been a member without a break; undefined when not one. `at` as in `isMember`. */
  memberSince(userName: string, clusterId: string, at?: Date): Date | undefined {
    const user = this.#records.users.get(userName)
    const members = this.#records.members.get(clusterId)
    if (!user || user.revoked || !members || !this.clusters.has(clusterId)) return undefined
    const standing = (kind: MemberSubject['kind'], name: string) => {
      const membership = members.get(subjectKey({ kind, name }))
      return membership && isStanding(membership, at) ? membership : undefined
    }
    const direct = standing('user', userName)
    const starts = direct ? [later(direct.since, user.since)] : []
    for (const [group, since] of user.groupsSince) {
      const membership = standing('group', group)
      if (membership) starts.push(later(membership.since, since))
    }
    return starts.reduce<Date | undefined>((a, b) => (a && a < b ? a : b), undefined)
  }

  /** The users and groups that are members of a cluster, whether anyone by that name exists or not. */
  members(clusterId: string): readonly MemberSubject[] {
    return this.memberships(clusterId).map(({ subject }) => subject)
  }

  /** The same with their times; those that are over as well. */
  memberships(clusterId: string): readonly Membership[] {
    return [...(this.#records.members.get(clusterId)?.values() ?? [])]
  }

  /** Who is in a timed group of a cluster, or was: by a grant, or by a request that was approved and not ended. */
  timedGrants(clusterId: string): readonly TimedGrant[] {
    const approved = this.#approved.get(clusterId)?.values() ?? []
    return [...this.#granted(clusterId), ...[...approved].flat()]
  }

  /** What puts a user with these groups into timed groups at that moment. */
  timedGrantsOf(
    user: string,
    groups: readonly string[],
    clusterId: string,
    at: Date,
  ): readonly TimedGrant[] {
    const isOf = ({ kind, name }: MemberSubject) =>
      kind === 'user' ? name === user : groups.includes(name)
    const approved = this.#approved.get(clusterId)?.get(user) ?? []
    return [...this.#granted(clusterId), ...approved].filter(
      ({ subject, from, expires }) => isOf(subject) && (!from || from <= at) && at < expires,
    )
  }

  #granted(clusterId: string): Iterable<TimedGrant> {
    return this.#records.timedGrants.get(clusterId)?.values() ?? []
  }
}

function approvedByCluster(
  requests: StateRecords['requests'],
): ReadonlyMap<string, ReadonlyMap<string, readonly TimedGrant[]>> {
  const approved = new Map<string, Map<string, TimedGrant[]>>()
  for (const request of requests.values()) {
    const timed = requestTimedGrant(request)
    if (!timed) continue
    const users = approved.get(request.cluster) ?? new Map<string, TimedGrant[]>()
    approved.set(request.cluster, users)
    const known = users.get(request.user)
    if (known) known.push(timed)
    else users.set(request.user, [timed])
  }
  return approved
}

function isStanding({ expires }: Membership, at: Date | undefined): boolean {
  return expires === undefined || (at !== undefined && at < expires)
}

/** One text for a subject, for looking it up. A name holds no colon. */
export function subjectKey({ kind, name }: MemberSubject): string {
  return `${kind}:${name}`
}

/** Who is in its group until when; undefined for one that is not approved, or was ended. */
function requestTimedGrant(request: AccessRequest): TimedGrant | undefined {
  const { running, end, user: name, seq } = request
  if (!running || end) return undefined
  const subject = { kind: 'user', name } as const
  // One that is dated ahead opens late, and so lasts no longer than was asked for.
  const from = new Date(running.from.getTime() - APPROVERS_CLOCK_AHEAD_MS)
  return { subject, group: requestGroup(request), from, expires: running.until, request: seq }
}

/** One text for a subject in a timed group. */
export function timedGrantKey({ subject, group }: Pick<TimedGrant, 'subject' | 'group'>): string {
  return `${subjectKey(subject)} ${group}`
}

function later(a: Date, b: Date): Date {
  return a > b ? a : b
}
