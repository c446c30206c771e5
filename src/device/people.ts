import type { UserRecord } from '../directory/state.ts'
import { UsageError } from '../errors.ts'
import { requirePrincipalName } from '../protocol/names.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import type { ClusterChange } from './cluster-bindings.ts'
import type { FleetSession } from './fleet-session.ts'
import { followNames } from './follow-names.ts'
import { unknownUser } from './grant.ts'

/** The people of the fleet, and their groups, as this person may see them in the directory. */

export interface Person {
  readonly name: string
  readonly nickname?: string
  readonly bot: boolean
  readonly groups: readonly string[]
  /** How many devices are not revoked. */
  readonly devices: number
  readonly isAdmin: boolean
  /** active; invited: nothing has joined yet; revoked. */
  readonly status: 'active' | 'invited' | 'revoked'
}

/** By name; people and bots apart. */
export function listPeople({ directory }: FleetSession, kind: 'people' | 'bots'): Person[] {
  const admins = new Set([...directory.state.admins.values()].map(({ user }) => user))
  return [...directory.state.users.values()]
    .filter(({ bot }) => bot === (kind === 'bots'))
    .map((user) => personOf(user, admins.has(user.name)))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

function personOf(user: UserRecord, isAdmin: boolean): Person {
  const { name, nickname, bot, groups } = user
  const devices = [...user.devices.values()].filter(({ revoked }) => !revoked).length
  return {
    name,
    ...(nickname === undefined ? {} : { nickname }),
    bot,
    groups,
    devices,
    isAdmin,
    status: user.revoked ? 'revoked' : devices > 0 ? 'active' : 'invited',
  }
}

export interface Group {
  readonly name: string
  readonly users: readonly string[]
  /** Names of the clusters where the group is granted something. */
  readonly clusters: readonly string[]
}

/** Every group that somebody is in or a cluster knows, by name. */
export function listGroups({ directory }: FleetSession): Group[] {
  const { state } = directory
  const groups = new Map<string, { users: string[]; clusters: string[] }>()
  const groupOf = (name: string) => {
    const group = groups.get(name) ?? { users: [], clusters: [] }
    groups.set(name, group)
    return group
  }
  for (const user of state.users.values())
    if (!user.revoked) for (const name of user.groups) groupOf(name).users.push(user.name)
  for (const { id, name: cluster } of state.clusters.values())
    for (const { kind, name } of state.members(id))
      if (kind === 'group') groupOf(name).clusters.push(cluster)
  return [...groups]
    .map(([name, group]) => ({ name, ...group }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

export interface GroupsSet {
  readonly user: string
  readonly groups: readonly string[]
  /** Where the agent had to be told of the name. */
  readonly clusters: readonly ClusterChange[]
}

/**
 * Puts a user into exactly these groups. Their clusters know at once; a new group counts from the next
 * certificate on. @throws NotFoundError MCM_USER_UNKNOWN, UsageError MCM_BAD_NAME
 */
export async function setGroups(
  session: FleetSession,
  user: string,
  names: readonly string[],
): Promise<GroupsSet> {
  requireAdmin(session, `change the groups of ${user}`)
  const groups = [...new Set(names.map((name) => requirePrincipalName(name, 'group')))]
  requirePerson(session, user, groups)
  const after = await appendStatements(session, ({ directory, key }) => {
    const known = directory.state.users.get(user)
    const isSame = [...(known?.groups ?? [])].sort().join() === [...groups].sort().join()
    const nickname = known?.nickname === undefined ? {} : { nickname: known.nickname }
    if (isSame) return []
    return [{ type: 'groups', detail: { user, groups, ...nickname }, signers: [key] }]
  })
  return { user, groups, clusters: await followNames(session, after) }
}

function requirePerson({ directory }: FleetSession, user: string, groups: readonly string[]): void {
  const known = directory.state.users.get(user)
  if (!known || known.revoked) throw unknownUser(user, [...directory.state.users.keys()])
  if (known.bot && groups.length > 0)
    throw new UsageError('MCM_USAGE', `${user} is a bot, and bots are in no group`, {
      hint: `grant the bot itself something: mcm grant ${user} --role ROLE --cluster CLUSTER`,
    })
}
