import type { Directory } from '../directory/directory.ts'
import { UsageError } from '../errors.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import type { FleetSession } from './fleet-session.ts'
import { unknownUser } from './grant.ts'

/** Who may sign for the fleet: invite, register, revoke. It is a device that may, not a name. */
export interface Administrator {
  readonly user: string
  /** Key id of the device. */
  readonly id: string
  /** What its owner calls the device; absent when that is not shown to you. */
  readonly device?: string
}

/** By user, then device. */
export function listAdmins(directory: Directory): Administrator[] {
  return [...directory.state.admins]
    .map(([id, { user }]) => {
      const device = directory.state.deviceOwner(id)?.device.name
      return { user, id, ...(device === undefined ? {} : { device }) }
    })
    .sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

/**
 * Makes every device a user has now an administrator's. Gives those that are new.
 * @throws NotFoundError MCM_USER_UNKNOWN, UsageError MCM_USAGE for a user who has no device yet
 */
export async function addAdmin(session: FleetSession, user: string): Promise<Administrator[]> {
  requireAdmin(session, 'name administrators')
  const devices = liveDevices(session, user)
  if (devices.length === 0) throw noDevice(user)
  const after = await appendStatements(session, ({ directory, key }) =>
    devices
      .filter((id) => !directory.state.admins.has(id))
      .map((id) => ({
        type: 'admin',
        detail: { action: 'add', user, key: id },
        signers: [key],
      })),
  )
  return listAdmins(after.directory).filter(
    ({ id }) => devices.includes(id) && !session.directory.state.admins.has(id),
  )
}

/** Ends a user's being an administrator, on all devices. Gives those that were. */
export async function removeAdmin(session: FleetSession, user: string): Promise<Administrator[]> {
  requireAdmin(session, 'remove administrators')
  const gone = listAdmins(session.directory).filter((admin) => admin.user === user)
  if (gone.length === session.directory.state.admins.size) throw lastAdmin(user)
  // One's own key last: after its removal it signs nothing more.
  const isOwn = ({ id }: Administrator) => Number(id === session.key.id)
  const inOrder = gone.toSorted((a, b) => isOwn(a) - isOwn(b))
  await appendStatements(session, ({ directory, key }) =>
    inOrder
      .filter(({ id }) => directory.state.admins.has(id))
      .map(({ id }) => ({
        type: 'admin',
        detail: { action: 'remove', user, key: id },
        signers: [key],
      })),
  )
  return gone
}

function liveDevices({ directory }: FleetSession, user: string): string[] {
  const known = directory.state.users.get(user)
  if (!known || known.revoked) throw unknownUser(user, [...directory.state.users.keys()])
  return [...known.devices.values()].filter(({ revoked }) => !revoked).map(({ id }) => id)
}

function key({ user, id }: Administrator): string {
  return `${user} ${id}`
}

function noDevice(user: string): UsageError {
  return new UsageError('MCM_USAGE', `${user} has not logged in on any device yet`, {
    hint: `run it again when ${user} has used the invite`,
  })
}

function lastAdmin(user: string): UsageError {
  return new UsageError('MCM_USAGE', `without ${user} this fleet has no administrator`, {
    hint: 'nobody could invite or register afterwards: mcm admins add USER first',
  })
}
