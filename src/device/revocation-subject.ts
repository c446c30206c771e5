import { NotFoundError, UsageError } from '../errors.ts'
import type { Revocation } from '../protocol/messages.ts'
import type { CertificateList } from './certificate-list.ts'
import type { Traveller } from './way-to-agent.ts'

/** Whom a revocation at agents is about, out of what somebody typed: a device or a user. */

type Known = Pick<Traveller, 'directory' | 'state'>

/**
 * The directory's word on who there is comes before that of agents, who could otherwise make a beginning fit what they
 * like. Of several devices of one name it is one's own. @throws NotFoundError MCM_NOT_FOUND, UsageError MCM_USAGE
 */
export function revocationOf(
  session: Known,
  { device, user }: { readonly device?: string; readonly user?: string },
  found: CertificateList,
): Revocation {
  if (device === undefined) return { user: requireKnownUser(session, user!, found) }
  const { users } = session.directory.state
  const rows = found.certificates
  const isIt = ({ id, name }: { readonly id: string; readonly name?: string }) =>
    id.startsWith(device) || name === device
  const stated = (name: string) => [...(users.get(name)?.devices.values() ?? [])].filter(isIt)
  const shown = (name: string) =>
    rows.filter((row) => row.user === name && isIt(row.device)).map((row) => row.device)
  const self = user ?? session.state.user
  const others = user === undefined ? [...users.keys(), ...rows.map((row) => row.user)] : []
  const ways = [stated(self), ...[others.flatMap(stated), shown(self), others.flatMap(shown)]].map(
    (devices) => new Set(devices.map(({ id }) => id)),
  )
  return { device: onlyOne(ways.find(({ size }) => size > 0) ?? new Set(), device) }
}

function onlyOne(ids: ReadonlySet<string>, device: string): string {
  const [id] = ids
  if (id !== undefined && ids.size === 1) return id
  if (id === undefined)
    throw new NotFoundError(
      'MCM_NOT_FOUND',
      `no device ${JSON.stringify(device)} is known to you`,
      {
        hint: 'mcm devices lists them',
      },
    )
  throw new UsageError('MCM_USAGE', `${ids.size} devices match ${JSON.stringify(device)}`, {
    hint: `name one by its id: ${[...ids].map((each) => each.slice(0, 8)).join(', ')}`,
  })
}

/** A slip of the finger would end nobody, and say that it is done. Who could not ask everybody cannot tell. */
function requireKnownUser(
  { directory, state }: Known,
  user: string,
  { certificates, problems }: CertificateList,
): string {
  const isStated = user === state.user || directory.state.users.has(user)
  const isShown = certificates.some((row) => row.user === user)
  if (isStated || isShown || problems.length > 0) return user
  throw new NotFoundError('MCM_NOT_FOUND', `no user ${JSON.stringify(user)} is known to you`, {
    hint: 'mcm users lists them',
  })
}

/** The whole id: what was typed may be a beginning, or the name of several. */
export function nameOfDevice(
  { directory }: Pick<Known, 'directory'>,
  revocation: Revocation,
): string {
  const id = 'device' in revocation ? revocation.device : ''
  const owner = directory.state.deviceOwner(id)
  return owner ? `device ${id} (${owner.device.name} of ${owner.user.name})` : `device ${id}`
}
