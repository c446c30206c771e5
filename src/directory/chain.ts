import { keyId } from '../protocol/keys.ts'
import type { AdminDetail, Detail, FleetDetail } from './details.ts'
import { invalid, type Statement } from './statement.ts'

/**
 * The rules that everybody can check (PROTOCOL §3.3): who may sign what, from statements alone and the details
 * that everybody gets. What the other details mean is not known here, so two readers who see
 * different details never disagree about which chain is valid.
 */
export interface ChainRules {
  /** Key ids of admins, with the user named for each. */
  readonly admins: Map<string, string>
  /** Key id of each invite, by number. */
  readonly invites: Map<number, string>
  readonly usedInvites: Set<number>
  /** Key ids of all devices that ever joined: each may sign the end of another of its user, and requests. */
  readonly devices: Set<string>
}

export function newChainRules(): ChainRules {
  return { admins: new Map(), invites: new Map(), usedInvites: new Set(), devices: new Set() }
}

export function copyChainRules(rules: ChainRules): ChainRules {
  const { admins, invites, usedInvites, devices } = rules
  return {
    admins: new Map(admins),
    invites: new Map(invites),
    usedInvites: new Set(usedInvites),
    devices: new Set(devices),
  }
}

/**
 * Takes one more statement, in order, into the rules. `detail` is needed for `fleet` and `admin`.
 * @throws TrustError MCM_DIRECTORY_INVALID, and then the rules are not to be used any more
 */
export function followRules(rules: ChainRules, statement: Statement, detail?: Detail): void {
  if (statement.type === 'fleet') found(rules, statement, detail)
  else if (statement.type === 'device') useInvite(rules, statement)
  else if (statement.type === 'removal') requireDevice(rules, statement)
  else if (statement.type === 'request' || statement.type === 'approval')
    requireSomebody(rules, statement)
  else followAdmin(rules, statement, detail)
}

/** Signed by others than admins: whoever is one of them could put one on any chain. */
const BY_OTHERS: ReadonlySet<Statement['type']> = new Set([
  'device',
  'removal',
  'request',
  'approval',
])

/** Whether only an admin can have signed it, and with it all that comes before. */
export function isByAdmin({ type }: Pick<Statement, 'type'>): boolean {
  return !BY_OTHERS.has(type)
}

/** Whose device it ends is in its detail; whoever sees that knows whether it has any effect. */
function requireDevice({ devices }: ChainRules, statement: Statement): void {
  if (!devices.has(statement.signers[0]!)) throw refuse(statement, 'its signer is no device')
}

/** Whether it has any say in that request those know who are shown both. */
function requireSomebody(rules: ChainRules, statement: Statement): void {
  if (!rules.admins.has(statement.signers[0]!)) requireDevice(rules, statement)
}

function followAdmin(rules: ChainRules, statement: Statement, detail?: Detail): void {
  if (!rules.admins.has(statement.signers[0]!))
    throw refuse(statement, 'its signer is not an admin')
  if (statement.type === 'invite') rules.invites.set(statement.seq, statement.inviteKey!)
  if (statement.type === 'admin') changeAdmins(rules, statement, detail)
}

function found(rules: ChainRules, statement: Statement, detail?: Detail): void {
  const { fleetKey, device, user } = publicDetail<FleetDetail>(statement, detail)
  const [fleetSigner, deviceSigner] = statement.signers
  if (fleetSigner !== keyId(fleetKey) || deviceSigner !== keyId(device.key))
    throw refuse(statement, 'it is not signed by the keys that it names')
  rules.admins.set(keyId(device.key), user)
  rules.devices.add(keyId(device.key))
}

function changeAdmins(rules: ChainRules, statement: Statement, detail?: Detail): void {
  const { action, key, user } = publicDetail<AdminDetail>(statement, detail)
  if (action === 'add') rules.admins.set(key, user)
  else rules.admins.delete(key)
  if (rules.admins.size === 0) throw refuse(statement, 'it removes the last admin')
}

function useInvite(rules: ChainRules, statement: Statement): void {
  const invite = statement.invite!
  if (rules.invites.get(invite) !== statement.signers[0])
    throw refuse(statement, `it is not signed by the key of invite ${invite}`)
  if (rules.usedInvites.has(invite)) throw refuse(statement, `invite ${invite} is already used`)
  rules.usedInvites.add(invite)
  rules.devices.add(statement.signers[1]!)
}

/** Nobody can follow a chain past a change of admins that they are not shown. */
function publicDetail<T extends FleetDetail | AdminDetail>(
  statement: Statement,
  detail?: Detail,
): T {
  if (detail?.type === statement.type) return detail.detail as T
  throw refuse(statement, 'its detail is missing or makes no sense')
}

function refuse(statement: Statement, why: string) {
  return invalid(`statement ${statement.seq} (${statement.type}) is not allowed: ${why}`)
}
