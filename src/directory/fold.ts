import { keyId } from '../protocol/keys.ts'
import type { Admission } from './admission.ts'
import type {
  AdminDetail,
  ClusterDetail,
  Detail,
  DeviceDetail,
  GrantDetail,
  GroupsDetail,
  HubDetail,
  InviteDetail,
  MemberDetail,
  RevokeDetail,
} from './details.ts'
import { membershipOf } from './membership.ts'
import type { OidcDetail } from './provider.ts'
import { ProviderFold } from './provider-fold.ts'
import { clusterRecord, hubRecord } from './replaceable.ts'
import { RequestFold } from './request-fold.ts'
import {
  type AdminRecord,
  type ClusterRecord,
  type DeviceRecord,
  DirectoryState,
  type HubRecord,
  type InviteRecord,
  type Membership,
  type StandingUser,
  subjectKey,
  type TimedGrant,
  timedGrantKey,
} from './state.ts'
import type { Statement } from './statement.ts'
import { parseTime } from './time.ts'

/**
 * From a valid chain to what it says (PROTOCOL §3.3), in the order of the chain, whatever order the details
 * came in. Deny by default: a statement whose detail is unknown, or does not fit what came before,
 * changes nothing. Whoever was admitted by a token comes after all of it.
 * Long because every statement type changes the one state that all others are judged by.
 */
export function foldState(
  statements: readonly Statement[],
  details: ReadonlyMap<number, Detail | undefined>,
  admissions: readonly Admission[],
): DirectoryState {
  const fold = new Fold()
  for (const statement of statements) fold.take(statement, details)
  fold.providerFold.dropDoubted()
  fold.admit(admissions)
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
  readonly admins = new Map<string, AdminRecord>()
  confirmed: Date | undefined
  hubs: HubRecord[] = []
  readonly clusters = new Map<string, ClusterRecord>()
  readonly users = new Map<string, FoldedUser>()
  readonly ownerOfKey = new Map<string, FoldedUser>()
  readonly members = new Map<string, Map<string, Membership>>()
  readonly timedGrants = new Map<string, Map<string, TimedGrant>>()
  readonly withoutEffect = new Map<number, string>()
  readonly providerFold = new ProviderFold()
  readonly #requestFold = new RequestFold({
    adminOf: (key) => this.admins.get(key),
    userOf: (key) => (this.#revokedKeys.has(key) ? undefined : this.ownerOfKey.get(key)?.name),
    approvalsOf: (id) => {
      const cluster = this.clusters.get(id)
      return cluster && (cluster.approvals ?? 1)
    },
  })
  readonly #revokedKeys = new Set<string>()
  readonly #invites = new Map<number, { user: FoldedUser; record: Mutable<InviteRecord> }>()

  get requests() {
    return this.#requestFold.records
  }

  get providers() {
    return this.providerFold.records
  }

  /** A detail that is known and could not be read is there, as undefined. */
  take(statement: Statement, details: ReadonlyMap<number, Detail | undefined>): void {
    // Which invite was used is in the chain itself, for everybody to see.
    if (statement.type === 'device') this.#useInvite(statement.invite!)
    this.#confirm(statement)
    if (statement.type === 'oidc' && !details.get(statement.seq)) this.#missProvider(statement)
    if (!details.has(statement.seq)) return
    const refusal = this.#apply(statement, details.get(statement.seq))
    if (refusal) this.withoutEffect.set(statement.seq, refusal)
  }

  #confirm({ type, time, signers }: Statement): void {
    const isAdmins = type === 'fleet' || this.admins.has(signers[0]!)
    if (isAdmins) this.confirmed = time
  }

  #apply(statement: Statement, known: Detail | undefined): Refusal {
    if (!known) return 'its detail makes no sense'
    if (known.type === 'fleet') {
      const { user, device } = known.detail
      const founder = this.#newUser(user, statement.time)
      this.#addDevice(founder, { user, ...device }, statement.time)
      this.admins.set(keyId(device.key), { user, since: statement.seq })
      return undefined
    }
    if (known.type === 'device') return this.#joinDevice(statement, known.detail)
    const signer = statement.signers[0]!
    if (known.type === 'removal')
      return this.#removeDevice(statement.time, signer, known.detail.device)
    if (known.type === 'request') return this.#requestFold.ask(statement, known.detail)
    if (known.type === 'approval') return this.#requestFold.decide(statement, known.detail)
    if (!this.admins.has(signer)) return 'its signer has been revoked'
    return this.#applyOfAdmin(statement, known)
  }

  #applyOfAdmin(statement: Statement, known: Detail): Refusal {
    switch (known.type) {
      case 'admin':
        return this.#changeAdmin(statement.seq, known.detail)
      case 'hub':
        return this.#setHub(statement, known.detail)
      case 'cluster':
        return this.#setCluster(statement, known.detail)
      case 'invite':
        return this.#invite(statement, known.detail)
      case 'member':
        return this.#changeMember(statement, known.detail)
      case 'revoke':
        return this.#revoke(statement.time, known.detail)
      case 'groups':
        return this.#setGroups(statement.time, known.detail)
      case 'grant':
        return this.#setTimedGrant(known.detail)
      case 'oidc':
        return this.#setProvider(statement, known.detail)
      case 'confirm':
        return undefined
      default:
        return 'an admin does not sign this'
    }
  }

  #changeAdmin(seq: number, { action, user, key }: AdminDetail): Refusal {
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
    const known = this.admins.get(key)
    this.admins.set(key, { user, since: known?.user === user ? known.since : seq })
    return undefined
  }

  /** The same hub is one that an endpoint in common leads to. */
  #setHub(statement: Statement, detail: HubDetail): Refusal {
    const { endpoints, privateEndpoints } = detail
    const own = new Set([...endpoints, ...privateEndpoints])
    const isOther = (hub: HubRecord) =>
      ![...hub.endpoints, ...hub.privateEndpoints].some((endpoint) => own.has(endpoint))
    this.hubs = [...this.hubs.filter(isOther), hubRecord(statement, detail)]
    return undefined
  }

  #setCluster(statement: Statement, detail: ClusterDetail): Refusal {
    this.clusters.set(detail.id, clusterRecord(statement, detail))
    return undefined
  }

  /** A user's first invite, or the first after a revocation, brings the user; each sets the groups. */
  #invite(statement: Statement, detail: InviteDetail): Refusal {
    const provider = this.providerFold.of(detail.user)
    if (provider) return `provider ${provider.name} gives names under @${provider.domain}`
    const known = this.users.get(detail.user)
    const standing = known?.revoked ? undefined : known
    if (standing && standing.bot !== detail.bot)
      return `${detail.user} is the name of a ${standing.bot ? 'bot' : 'person'}`
    if (detail.bot && detail.groups.length > 0) return IN_NO_GROUP
    const user = standing ?? this.#newUser(detail.user, statement.time)
    const record = {
      seq: statement.seq,
      key: statement.inviteKey!,
      expires: parseTime(detail.expires)!,
      used: false,
    }
    user.bot = detail.bot
    if (detail.lifetime === undefined) delete user.lifetime
    else user.lifetime = detail.lifetime
    putIntoGroups(user, detail.groups, statement.time)
    user.invites.push(record)
    this.#invites.set(statement.seq, { user, record })
    return undefined
  }

  #setGroups(time: Date, { user: name, groups, nickname }: GroupsDetail): Refusal {
    const user = this.users.get(name)
    if (!user || user.revoked) return `there is no user ${name}`
    if (user.bot && groups.length > 0) return IN_NO_GROUP
    putIntoGroups(user, groups, time)
    if (nickname === undefined) delete user.nickname
    else user.nickname = nickname
    return undefined
  }

  /** The latest of a subject, cluster and group counts, also where it ends earlier. */
  #setTimedGrant({ subject, cluster, group, expires }: GrantDetail): Refusal {
    if (!this.clusters.has(cluster)) return `there is no cluster ${cluster}`
    const grants = this.timedGrants.get(cluster) ?? new Map<string, TimedGrant>()
    this.timedGrants.set(cluster, grants)
    const grant = { subject, group, expires: parseTime(expires)! }
    grants.set(timedGrantKey(grant), grant)
    return undefined
  }

  #changeMember(statement: Statement, detail: MemberDetail): Refusal {
    const { action, subject, cluster } = detail
    if (!this.clusters.has(cluster)) return `there is no cluster ${cluster}`
    const members = this.members.get(cluster) ?? new Map<string, Membership>()
    this.members.set(cluster, members)
    const key = subjectKey(subject)
    if (action === 'add' && subject.kind === 'user') this.providerFold.nameAgain(subject.name)
    if (action === 'add') members.set(key, membershipOf(detail, statement.time, members.get(key)))
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
      this.timedGrants.delete(detail.cluster)
      this.#requestFold.endOfCluster(detail.cluster, time)
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
    // A key that nobody knows may be one that a provider's people use.
    if (!device) return this.providers.size > 0 ? undefined : 'there is no such device'
    device.revoked ??= time
    return undefined
  }

  /** Whoever has lost a device ends it with another one; what an admin's key may is for admins to end. */
  #removeDevice(time: Date, signer: string, key: string): Refusal {
    const user = this.ownerOfKey.get(signer)
    if (!user || this.#revokedKeys.has(signer)) return 'its signer has been revoked'
    if (!user.devices.has(key)) return 'it is for a device of somebody else'
    if (this.admins.has(key)) return 'it is for an admin’s device'
    return this.#revokeDevice(time, key)
  }

  #setProvider(statement: Statement, detail: OidcDetail): Refusal {
    return this.providerFold.set(statement, detail, this.users.keys())
  }

  /** Everybody is shown these details, so one that is missing is being withheld. */
  #missProvider({ seq, signers }: Statement): void {
    if (this.admins.has(signers[0]!)) this.providerFold.miss(seq)
  }

  /** People whom a token admits, as if invited (PROTOCOL §11.3). The newest token of each says the groups. */
  admit(admissions: readonly Admission[]): void {
    const byAge = [...admissions].sort((a, b) => a.tokenTime.getTime() - b.tokenTime.getTime())
    const invited = new Set(this.users.keys())
    for (const admission of byAge)
      if (!invited.has(admission.user) && this.#isAdmitted(admission)) this.#admitOne(admission)
  }

  #isAdmitted({ provider: seq, user, tokenTime, device }: Admission): boolean {
    const provider = this.providerFold.of(user)
    const isKeyFree = !this.#revokedKeys.has(device.id) && !this.#isOthers(device.id, user)
    return provider?.seq === seq && this.providerFold.isNamed(user, tokenTime) && isKeyFree
  }

  #isOthers(key: string, user: string): boolean {
    const owner = this.ownerOfKey.get(key)
    return owner !== undefined && owner.name !== user
  }

  #admitOne({ user: name, bot, groups, device, until }: Admission): void {
    const user = this.users.get(name) ?? this.#newUser(name, EVER)
    user.bot = bot
    user.groups = []
    user.groupsSince = new Map()
    putIntoGroups(user, bot ? [] : groups, EVER)
    // What an agent alone has revoked stays so until an admin names them anew.
    user.devices.set(device.id, { ...device, since: this.#namedSince(name) ?? EVER, until })
    this.ownerOfKey.set(device.id, user)
  }

  /** Since when the last of the memberships by name stands. */
  #namedSince(name: string): Date | undefined {
    const key = subjectKey({ kind: 'user', name })
    const starts = [...this.members.values()].flatMap((each) => each.get(key)?.since ?? [])
    return starts.sort((a, b) => b.getTime() - a.getTime())[0]
  }

  /** Ends devices, invites and memberships of before; a later invite starts afresh. */
  #revokeUser(time: Date, name: string): Refusal {
    const adminKeys = [...this.admins].filter(([, admin]) => admin.user === name)
    if (adminKeys.length > 0 && adminKeys.length === this.admins.size) return 'it is the last admin'
    for (const [key] of adminKeys) this.admins.delete(key)
    const subject = { kind: 'user', name } as const
    for (const members of this.members.values()) members.delete(subjectKey(subject))
    for (const grants of this.timedGrants.values())
      for (const grant of [...grants.values()])
        if (subjectKey(grant.subject) === subjectKey(subject)) grants.delete(timedGrantKey(grant))
    this.#requestFold.endOfUser(name, time)
    const user = this.users.get(name)
    if (!user && this.providerFold.of(name)) return this.providerFold.endName(time, name)
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

const EVER = new Date(0)
const IN_NO_GROUP = 'a bot is in no group'

/** Whoever stays in a group is in it since they came. */
function putIntoGroups(user: FoldedUser, groups: readonly string[], time: Date): void {
  user.groups = [...new Set(groups)]
  user.groupsSince = new Map(
    user.groups.map((group) => [group, user.groupsSince.get(group) ?? time]),
  )
}
