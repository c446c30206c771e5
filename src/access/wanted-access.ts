import { UsageError } from '../errors.ts'
import type { ClusterRole, ClusterRoleBinding, RoleBinding } from '../kube/rbac.ts'
import { type AccessFile, type AccessGrant, subjectOfGrant } from './access-file.ts'
import { bindingOf, type Grant, type GrantSubject, grantKey, namesForGrant } from './grant.ts'
import type { ImpersonatorNames } from './impersonator.ts'
import { clusterRoleName, ownRole, presetOf, presetRole } from './role.ts'
import { timedGroupOf } from './timed-group.ts'

/** What a declared access means in one cluster: the objects there, and what the directory has to say of it. */

/** As much of a cluster as decides what is wanted in it. */
export interface AccessCluster {
  readonly id: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly prefix: string
}

export interface WantedGrant {
  readonly grant: Grant
  readonly binding: RoleBinding | ClusterRoleBinding
}

/** Who may reach the cluster; `expires` where everything they have there ends. */
export interface WantedMember {
  readonly subject: GrantSubject
  readonly expires?: Date
}

/** Who is in a timed group (PROTOCOL §3.5). */
export interface WantedTimedGrant {
  readonly subject: GrantSubject
  readonly group: string
  readonly expires: Date
}

export interface WantedAccess {
  readonly roles: readonly ClusterRole[]
  readonly grants: readonly WantedGrant[]
  readonly names: ImpersonatorNames
  readonly members: readonly WantedMember[]
  readonly timedGrants: readonly WantedTimedGrant[]
}

/** Whether a grant is for a cluster: by its name or id, or by its labels. */
export function isForCluster(
  { clusters, clusterSelector }: AccessGrant,
  { name, id, labels }: AccessCluster,
): boolean {
  if (clusters) return clusters.includes(name) || clusters.includes(id)
  const wanted = Object.entries(clusterSelector?.matchLabels ?? {})
  return wanted.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)
}

/**
 * What is wanted in a cluster at that moment; grants that are over are not there.
 * @throws UsageError MCM_BAD_FILE two grants of the same that end at different times
 */
export function wantedAccess(access: AccessFile, cluster: AccessCluster, now: Date): WantedAccess {
  const grants = [...grantsIn(access, cluster, now).values()]
  const nicknames = new Map(access.users.map(({ name, nickname }) => [name, nickname]))
  const { prefix } = cluster
  return {
    roles: rolesFor(access, grants),
    grants: grants.map((grant) => {
      const { kind, name } = grant.subject
      const nickname = kind === 'user' ? nicknames.get(name) : undefined
      return { grant, binding: bindingOf(grant, prefix, nickname) }
    }),
    names: namesOf(access, grants, prefix),
    members: membersOf(grants),
    timedGrants: grants.flatMap(({ expires, ...grant }) =>
      expires ? [{ subject: grant.subject, group: timedGroupOf(grant), expires }] : [],
    ),
  }
}

function grantsIn(access: AccessFile, cluster: AccessCluster, now: Date): Map<string, Grant> {
  const found = new Map<string, Grant>()
  for (const each of access.grants) {
    const expires = each.expires === undefined ? undefined : new Date(each.expires)
    if (!isForCluster(each, cluster) || (expires && expires <= now)) continue
    for (const namespace of each.namespaces ?? [undefined]) {
      const grant = {
        subject: subjectOfGrant(each),
        role: clusterRoleName(each.role),
        ...(namespace === undefined ? {} : { namespace }),
        ...(expires ? { expires } : {}),
      }
      const before = found.get(grantKey(grant))
      if (before && before.expires?.getTime() !== expires?.getTime()) throw otherEnd(grant, cluster)
      found.set(grantKey(grant), grant)
    }
  }
  return found
}

/** Every declared role, granted or not, and the presets in use; of `mcm:admin` registering takes care. */
function rolesFor(access: AccessFile, grants: readonly Grant[]): ClusterRole[] {
  const own = access.roles.map(({ name, rules, description }) =>
    ownRole(name, rules.map(withoutUndefined), description),
  )
  const presets = new Set(grants.map(({ role }) => presetOf(role)))
  return [
    ...own,
    ...[...presets].flatMap((preset) => (preset && preset !== 'admin' ? [presetRole(preset)] : [])),
  ]
}

function withoutUndefined(rule: AccessFile['roles'][number]['rules'][number]) {
  const { verbs, apiGroups, resources, resourceNames, nonResourceURLs } = rule
  return {
    ...(apiGroups && { apiGroups }),
    ...(resources && { resources }),
    ...(resourceNames && { resourceNames }),
    ...(nonResourceURLs && { nonResourceURLs }),
    verbs,
  }
}

function namesOf(access: AccessFile, grants: readonly Grant[], prefix: string): ImpersonatorNames {
  const users = new Set<string>()
  const groups = new Set<string>()
  const members = membersByGroup(access)
  for (const grant of grants) {
    const names = namesForGrant(grant, prefix, members.get(grant.subject.name) ?? [])
    for (const name of names.users) users.add(name)
    for (const name of names.groups) groups.add(name)
  }
  return { users: [...users].sort(), groups: [...groups].sort() }
}

function membersByGroup({ users }: AccessFile): Map<string, string[]> {
  const members = new Map<string, string[]>()
  for (const { name, groups = [] } of users)
    for (const group of groups) members.set(group, [...(members.get(group) ?? []), name])
  return members
}

/** A subject with something that does not end is a member without an end. */
function membersOf(grants: readonly Grant[]): WantedMember[] {
  const members = new Map<string, WantedMember>()
  for (const { subject, expires } of grants) {
    const key = `${subject.kind}:${subject.name}`
    const before = members.get(key)
    const end = before ? laterEnd(before.expires, expires) : expires
    members.set(key, { subject, ...(end ? { expires: end } : {}) })
  }
  return [...members.values()]
}

function laterEnd(a: Date | undefined, b: Date | undefined): Date | undefined {
  if (!a || !b) return undefined
  return a > b ? a : b
}

function otherEnd({ subject, role, namespace }: Grant, { name }: AccessCluster): UsageError {
  const where = namespace === undefined ? name : `namespace ${namespace} of ${name}`
  const what = `${subject.kind} ${subject.name} ${role} in ${where}`
  return new UsageError('MCM_BAD_FILE', `two grants give ${what} and end at different times`, {
    hint: 'leave one of them out',
  })
}
