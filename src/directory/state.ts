import type { PublicJwk } from '../protocol/keys.ts'
import type { DirectAddress, MemberSubject } from './details.ts'

/**
 * What a directory says, as records and questions. `fold.ts` makes it; nobody changes it after.
 */

export interface HubRecord {
  readonly seq: number
  readonly endpoints: readonly string[]
  readonly privateEndpoints: readonly string[]
  readonly certificateDer: Buffer
  readonly pin: string
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
}

export interface DeviceRecord {
  /** Key id. */
  readonly id: string
  readonly key: PublicJwk
  readonly name: string
  readonly since: Date
  readonly revoked?: Date
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
  /** Those of the latest invite. */
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
}

/** The records a state consists of. */
export interface StateRecords {
  readonly admins: ReadonlyMap<string, { readonly user: string }>
  readonly hubs: readonly HubRecord[]
  readonly clusters: ReadonlyMap<string, ClusterRecord>
  readonly users: ReadonlyMap<string, StandingUser>
  /** By the key id of each device that ever was. */
  readonly ownerOfKey: ReadonlyMap<string, StandingUser>
  /** By cluster id and `subjectKey`. */
  readonly members: ReadonlyMap<string, ReadonlyMap<string, Membership>>
  readonly withoutEffect: ReadonlyMap<number, string>
}

/** What a valid chain says, as far as its details are known. Immutable. */
export class DirectoryState {
  /** Admins' key ids. Fewer than the chain's own where a key's user or device was revoked. */
  readonly admins: StateRecords['admins']
  readonly hubs: readonly HubRecord[]
  /** By id; removed ones are gone. */
  readonly clusters: ReadonlyMap<string, ClusterRecord>
  /** By name; revoked ones stay, marked. */
  readonly users: ReadonlyMap<string, UserRecord>
  /** Why a valid statement whose detail is known changed nothing, by number. A hub refuses to append these. */
  readonly withoutEffect: ReadonlyMap<number, string>
  readonly #records: StateRecords

  constructor(records: StateRecords) {
    this.admins = records.admins
    this.hubs = records.hubs
    this.clusters = records.clusters
    this.users = records.users
    this.withoutEffect = records.withoutEffect
    this.#records = records
  }

  /** Whose device a key is, revoked ones included. */
  deviceOwner(key: string): { user: UserRecord; device: DeviceRecord } | undefined {
    const user = this.#records.ownerOfKey.get(key)
    const device = user?.devices.get(key)
    return user && device && { user, device }
  }

  /** Whether a key is a device's that is not revoked. */
  isLiveDevice(key: string): boolean {
    const owner = this.deviceOwner(key)
    return owner !== undefined && !owner.device.revoked && !owner.user.revoked
  }

  /** Whether a user may see and reach a cluster, by name or through a group. */
  isMember(user: string, clusterId: string): boolean {
    return this.memberSince(user, clusterId) !== undefined
  }

  /** Since when a user has been a member without a break; undefined when not one now. */
  memberSince(userName: string, clusterId: string): Date | undefined {
    const user = this.#records.users.get(userName)
    const members = this.#records.members.get(clusterId)
    if (!user || user.revoked || !members || !this.clusters.has(clusterId)) return undefined
    const direct = members.get(subjectKey({ kind: 'user', name: userName }))
    const starts = direct ? [later(direct.since, user.since)] : []
    for (const [group, since] of user.groupsSince) {
      const membership = members.get(subjectKey({ kind: 'group', name: group }))
      if (membership) starts.push(later(membership.since, since))
    }
    return starts.reduce<Date | undefined>((a, b) => (a && a < b ? a : b), undefined)
  }

  /** The users and groups that are members of a cluster, whether anyone by that name exists or not. */
  members(clusterId: string): readonly MemberSubject[] {
    return [...(this.#records.members.get(clusterId)?.values() ?? [])].map(({ subject }) => subject)
  }
}

/** One text for a subject, for looking it up. A name holds no colon. */
export function subjectKey({ kind, name }: MemberSubject): string {
  return `${kind}:${name}`
}

function later(a: Date, b: Date): Date {
  return a > b ? a : b
}
