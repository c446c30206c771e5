import { keyId, sha256 } from '../protocol/keys.ts'
import type {
  AdminDetail,
  ClusterDetail,
  Detail,
  DeviceDetail,
  HubDetail,
  InviteDetail,
  MemberDetail,
  RevokeDetail,
} from './details.ts'
import {
  type ClusterRecord,
  type DeviceRecord,
  DirectoryState,
  type HubRecord,
  type InviteRecord,
  type Membership,
  type StandingUser,
  subjectKey,
} from './state.ts'
import type { Statement } from './statement.ts'
import { parseTime } from './time.ts'

/**
 * From a valid chain to what it says (PROTOCOL §3.3), in the order of the chain, whatever order the details
 * came in. Deny by default: a statement whose detail is unknown, or does not fit what came before,
 * changes nothing.
 */
export function foldState(
  statements: readonly Statement[],
  details: ReadonlyMap<number, Detail | undefined>,
): DirectoryState {
  const fold = new Fold()
  for (const statement of statements) fold.take(statement, details)
  return new DirectoryState(fold)
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

interface FoldedUser extends Omit<Mutable<StandingUser>, 'devices' | 'invites' | 'groupsSince'> {
  devices: Map<string, Mutable<DeviceRecord>>
  invites: Mutable<InviteRecord>[]
  groupsSince: Map<string, Date>
}

/** Why a statement has no effect; undefined when it has. */
type Refusal = string | undefined

class Fold {
  readonly admins = new Map<string, { user: string }>()
  hubs: HubRecord[] = []
  readonly clusters = new Map<string, ClusterRecord>()
  readonly users = new Map<string, FoldedUser>()
  readonly ownerOfKey = new Map<string, FoldedUser>()
  readonly members = new Map<string, Map<string, Membership>>()
  readonly withoutEffect = new Map<number, string>()
  readonly #revokedKeys = new Set<string>()
  readonly #invites = new Map<number, { user: FoldedUser; record: Mutable<InviteRecord> }>()

  /** A detail that is known and could not be read is there, as undefined. */
  take(statement: Statement, details: ReadonlyMap<number, Detail | undefined>): void {
    // Which invite was used is in the chain itself, for everybody to see.
    if (statement.type === 'device') this.#useInvite(statement.invite!)
    if (!details.has(statement.seq)) return
    const refusal = this.#apply(statement, details.get(statement.seq))
    if (refusal) this.withoutEffect.set(statement.seq, refusal)
  }

  #apply(statement: Statement, known: Detail | undefined): Refusal {
    if (!known) return 'its detail makes no sense'
    if (known.type === 'fleet') {
      const { user, device } = known.detail
      const founder = this.#newUser(user, statement.time)
      this.#addDevice(founder, { user, ...device }, statement.time)
      this.admins.set(keyId(device.key), { user })
      return undefined
    }
    if (known.type === 'device') return this.#joinDevice(statement, known.detail)
    if (!this.admins.has(statement.signers[0]!)) return 'its signer has been revoked'
    return this.#applyOfAdmin(statement, known)
  }

  #applyOfAdmin(statement: Statement, known: Detail): Refusal {
    switch (known.type) {
      case 'admin':
        return this.#changeAdmin(known.detail)
      case 'hub':
        return this.#setHub(statement.seq, known.detail)
      case 'cluster':
        return this.#setCluster(statement.seq, known.detail)
      case 'invite':
        return this.#invite(statement, known.detail)
      case 'member':
        return this.#changeMember(statement, known.detail)
      case 'revoke':
        return this.#revoke(statement.time, known.detail)
      default:
        return 'an admin does not sign this'
    }
  }

  #changeAdmin({ action, user, key }: AdminDetail): Refusal {
    if (action === 'remove') {
      if (!this.admins.has(key)) return 'this key is not an admin’s'
      if (this.admins.size === 1) return 'the last admin cannot be removed'
      this.admins.delete(key)
      return undefined
    }
    const owner = this.ownerOfKey.get(key)
    if (owner && owner.name !== user) return `this device is not ${user}’s`
    if (this.#revokedKeys.has(key)) return 'this device has been revoked'
    if (this.users.get(user)?.revoked) return `${user} has been revoked`
    this.admins.set(key, { user })
    return undefined
  }

  /** The same hub is one that an endpoint in common leads to. */
  #setHub(seq: number, detail: HubDetail): Refusal {
    const { endpoints, privateEndpoints } = detail
    const own = new Set([...endpoints, ...privateEndpoints])
    const isOther = (hub: HubRecord) =>
      ![...hub.endpoints, ...hub.privateEndpoints].some((endpoint) => own.has(endpoint))
    const certificateDer = Buffer.from(detail.certificate, 'base64')
    const pin = sha256(certificateDer)
    const record = { seq, endpoints, privateEndpoints, certificateDer, pin }
    this.hubs = [...this.hubs.filter(isOther), record]
    return undefined
  }

  #setCluster(seq: number, detail: ClusterDetail): Refusal {
    const { serverCa, userCa, ...fields } = detail
    const serverCaDer = Buffer.from(serverCa, 'base64')
    const userCaDer = Buffer.from(userCa, 'base64')
    this.clusters.set(detail.id, { seq, ...fields, serverCaDer, userCaDer })
    return undefined
  }

  /** A user's first invite, or the first after a revocation, brings the user; each sets the groups. */
  #invite(statement: Statement, detail: InviteDetail): Refusal {
    const known = this.users.get(detail.user)
    const user = known && !known.revoked ? known : this.#newUser(detail.user, statement.time)
    const record = {
      seq: statement.seq,
      key: statement.inviteKey!,
      expires: parseTime(detail.expires)!,
      used: false,
    }
    user.bot = detail.bot
    user.groups = [...new Set(detail.groups)]
    user.groupsSince = new Map(
      user.groups.map((group) => [group, user.groupsSince.get(group) ?? statement.time]),
    )
    user.invites.push(record)
    this.#invites.set(statement.seq, { user, record })
    return undefined
  }

  #changeMember(statement: Statement, { action, subject, cluster }: MemberDetail): Refusal {
    if (!this.clusters.has(cluster)) return `there is no cluster ${cluster}`
    const members = this.members.get(cluster) ?? new Map<string, Membership>()
    this.members.set(cluster, members)
    const key = subjectKey(subject)
    if (action === 'add' && !members.has(key)) members.set(key, { subject, since: statement.time })
    if (action === 'remove' && !members.delete(key))
      return `${subject.kind} ${subject.name} is not a member`
    return undefined
  }

  #useInvite(seq: number): void {
    const invite = this.#invites.get(seq)
    if (invite) invite.record.used = true
  }

  #joinDevice(statement: Statement, detail: DeviceDetail): Refusal {
    const id = keyId(detail.key)
    const invite = this.#invites.get(statement.invite!)
    if (!invite) return 'its invite is unknown or has been ended'
    const { user, record } = invite
    if (user.name !== detail.user) return `its invite is for ${user.name}, not ${detail.user}`
    if (statement.signers[1] !== id) return 'another key has signed it'
    if (statement.time > record.expires) return 'its invite had expired'
    if (this.ownerOfKey.has(id) || this.#revokedKeys.has(id)) return 'its key is already known'
    this.#addDevice(user, detail, statement.time)
    return undefined
  }

  #revoke(time: Date, detail: RevokeDetail): Refusal {
    if ('cluster' in detail) {
      this.members.delete(detail.cluster)
      return this.clusters.delete(detail.cluster) ? undefined : `there is no ${detail.cluster}`
    }
    if ('user' in detail) return this.#revokeUser(time, detail.user)
    return this.#revokeDevice(time, detail.device)
  }

  #revokeDevice(time: Date, key: string): Refusal {
    if (this.admins.has(key) && this.admins.size === 1) return 'it is the last admin’s device'
    this.admins.delete(key)
    this.#revokedKeys.add(key)
    const device = this.ownerOfKey.get(key)?.devices.get(key)
    if (!device) return 'there is no such device'
    device.revoked ??= time
    return undefined
  }

  /** Ends devices, invites and memberships of before; a later invite starts afresh. */
  #revokeUser(time: Date, name: string): Refusal {
    const adminKeys = [...this.admins].filter(([, admin]) => admin.user === name)
    if (adminKeys.length > 0 && adminKeys.length === this.admins.size) return 'it is the last admin'
    for (const [key] of adminKeys) this.admins.delete(key)
    for (const members of this.members.values()) members.delete(subjectKey({ kind: 'user', name }))
    const user = this.users.get(name)
    if (!user) return `there is no user ${name}`
    user.revoked ??= time
    for (const device of user.devices.values()) this.#endDevice(device, time)
    for (const invite of user.invites) this.#invites.delete(invite.seq)
    user.invites = []
    user.groups = []
    user.groupsSince = new Map()
    return undefined
  }

  #endDevice(device: Mutable<DeviceRecord>, time: Date): void {
    device.revoked ??= time
    this.admins.delete(device.id)
    this.#revokedKeys.add(device.id)
  }

  /** A user's fresh start. Devices of before stay known, so that a revoked key never comes back. */
  #newUser(name: string, since: Date): FoldedUser {
    const devices = this.users.get(name)?.devices ?? new Map<string, Mutable<DeviceRecord>>()
    const fresh = { name, bot: false, groups: [], invites: [], groupsSince: new Map() }
    const user: FoldedUser = { ...fresh, devices, since }
    this.users.set(name, user)
    for (const key of devices.keys()) this.ownerOfKey.set(key, user)
    return user
  }

  #addDevice(user: FoldedUser, { name, key }: DeviceDetail, since: Date): void {
    const id = keyId(key)
    user.devices.set(id, { id, key, name, since })
    this.ownerOfKey.set(id, user)
  }
}
