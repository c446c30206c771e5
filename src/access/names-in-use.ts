import { prefixedName } from './identity.ts'
import type { ImpersonatorNames } from './impersonator.ts'
import { timedGroupName } from './timed-group.ts'

/** What the directory says of one cluster, as far as names are concerned. All names bare. */
export interface PeopleOfCluster {
  /** Before every name, as `mcm:`. */
  readonly prefix: string
  /** Who may reach the cluster now. */
  readonly members: readonly { readonly kind: 'user' | 'group'; readonly name: string }[]
  readonly users: readonly {
    readonly name: string
    readonly groups: readonly string[]
    /** Whether their power in the fleet has ended. */
    readonly isRevoked: boolean
  }[]
  /** `grant:…` of grants that are not over. */
  readonly timedGroups: readonly string[]
}

/**
 * The names that the agent of a cluster has to speak for, and no others: members, whoever is in a group that
 * is a member, those groups, and timed groups. A user who was revoked is not in use, whatever else is said.
 */
export function namesInUse(people: PeopleOfCluster): ImpersonatorNames {
  const { prefix, members, users, timedGroups } = people
  const named = (kind: 'user' | 'group') =>
    members.filter((member) => member.kind === kind).map(({ name }) => name)
  const memberUsers = new Set(named('user'))
  const memberGroups = new Set(named('group'))
  const isInUse = ({ name, groups }: PeopleOfCluster['users'][number]) =>
    memberUsers.has(name) || groups.some((group) => memberGroups.has(group))
  const standing = users.filter((user) => !user.isRevoked && isInUse(user))
  return {
    users: standing.map(({ name }) => prefixedName(name, prefix)).sort(),
    groups: [
      ...[...memberGroups].map((group) => prefixedName(group, prefix)),
      ...timedGroups.map((group) => timedGroupName(group, prefix)),
    ].sort(),
  }
}
