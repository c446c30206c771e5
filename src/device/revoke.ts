import { revocationDetails } from '../directory/revocation.ts'
import { UsageError } from '../errors.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements, type Draft } from './append.ts'
import type { ClusterChange } from './cluster-bindings.ts'
import type { FleetSession } from './fleet-session.ts'
import { unknownUser } from './grant.ts'
import { isRequestAlive } from './request-bindings.ts'
import { endEverywhere } from './ungrant.ts'

/** Ending a person or one of their devices, in the whole fleet. */

export interface Revocation {
  readonly user: string
  /** The one device, when it is not the whole person. */
  readonly device?: { readonly id: string; readonly name: string }
  readonly clusters: readonly ClusterChange[]
  /** Numbers of access requests that run by an approval of the user: they go on. */
  readonly approved?: readonly number[]
}

/**
 * Revokes a user: first the directory says so, which every agent heeds; then bindings and names go.
 * @throws NotFoundError MCM_USER_UNKNOWN, UsageError MCM_USAGE for the last administrator
 */
export async function revokeUser(
  session: FleetSession,
  user: string,
  reason: string,
): Promise<Revocation> {
  requireAdmin(session, `revoke ${user}`)
  requireNotLastAdmin(session, user)
  const known = session.directory.state.users.get(user)
  const isProvided = session.directory.state.providerOf(user) !== undefined
  if (!known && !isProvided) throw unknownUser(user, [...session.directory.state.users.keys()])
  requireNotOwnAdmin(session, user)
  const after = await appendStatements(session, (current) =>
    current.directory.state.users.get(user)?.revoked ? [] : drafts(current, { user }, reason),
  )
  return { user, clusters: await endEverywhere(after, user), ...stillApproved(after, user) }
}

function stillApproved(session: FleetSession, user: string): Pick<Revocation, 'approved'> {
  const approved = [...session.directory.state.requests.values()]
    .filter(({ approvals }) => approvals.some((each) => each.user === user))
    .map(({ seq }) => seq)
    .filter((seq) => isRequestAlive(session, seq))
  return approved.length > 0 ? { approved } : {}
}

/** Revokes one device of a user, named by its id, a beginning of it, or its name. */
export async function revokeDevice(
  session: FleetSession,
  user: string,
  nameOrId: string,
  reason: string,
): Promise<Revocation> {
  requireAdmin(session, `revoke a device of ${user}`)
  const device = requireDevice(session, user, nameOrId)
  if (device.id === session.key.id) throw oneself(user)
  await appendStatements(session, (current) =>
    current.directory.state.isLiveDevice(device.id)
      ? drafts(current, { device: device.id }, reason)
      : [],
  )
  return { user, device, clusters: [] }
}

/** What everybody must see comes first: that a key is no administrator's any more. */
function drafts(
  { directory, key }: FleetSession,
  who: { readonly user: string } | { readonly device: string },
  reason: string,
): Draft[] {
  return revocationDetails(directory.state, who, reason).map((each) => ({
    ...each,
    signers: [key],
  }))
}

/** After its own removal a key signs nothing more, not even the revocation. */
function requireNotOwnAdmin({ directory, key }: FleetSession, user: string): void {
  if (directory.state.admins.get(key.id)?.user === user) throw oneself(user)
}

function oneself(user: string): UsageError {
  return new UsageError('MCM_USAGE', `this device of ${user} cannot sign its own end`, {
    hint: 'ask another administrator to do it',
  })
}

function requireDevice(
  { directory }: FleetSession,
  user: string,
  nameOrId: string,
): { id: string; name: string } {
  const known = directory.state.users.get(user)
  if (!known) throw unknownUser(user, [...directory.state.users.keys()])
  const live = [...known.devices.values()].filter(({ revoked }) => !revoked)
  const found = live.filter(({ id, name }) => id.startsWith(nameOrId) || name === nameOrId)
  if (found.length === 1) return { id: found[0]!.id, name: found[0]!.name }
  const list = live.map(({ id, name }) => `${name} (${id.slice(0, 8)})`).join(', ')
  const many = found.length === 0 ? 'no device' : `${found.length} devices`
  throw new UsageError('MCM_USAGE', `${many} of ${user} match ${JSON.stringify(nameOrId)}`, {
    hint: list === '' ? `${user} has no device` : `there are: ${list}`,
  })
}

function requireNotLastAdmin({ directory }: FleetSession, user: string): void {
  const { admins } = directory.state
  if (admins.size === 0 || ![...admins.values()].every((admin) => admin.user === user)) return
  throw new UsageError('MCM_USAGE', `${user} is the only administrator of this fleet`, {
    hint: 'nobody could invite or register afterwards: mcm admins add USER first',
  })
}
