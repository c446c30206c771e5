/**
 * What would have to change in one cluster, and in what the directory says of it, for a declared access to
 * be true there. Pure; compares and orders, and does nothing. Invariant: only what carries mcm's
 * labels is ever to be changed or removed, and what is taken away comes before what is given.
 */

import { type ClusterRole, RBAC_VERSION } from '../kube/rbac.ts'
import { type BoundGrant, type GrantSubject, grantsOf } from './grant.ts'
import { bareName } from './identity.ts'
import type { ImpersonatorList, ImpersonatorNames } from './impersonator.ts'
import { MANAGED_BY_LABEL, PRINCIPAL_LABEL } from './label.ts'
import { type Binding, bindingDiffers, roleDiffers } from './object-difference.ts'
import { isOwnRole, presetOf } from './role.ts'
import { bareTimedGroup } from './timed-group.ts'
import type { WantedAccess, WantedGrant, WantedMember, WantedTimedGrant } from './wanted-access.ts'

/** What is in a cluster, and what the directory says of it. */
export interface ActualAccess {
  /** By name: every role that mcm made, and every other one that somebody is to be granted. */
  readonly roles: ReadonlyMap<string, ClusterRole>
  /** Those with mcm's label. */
  readonly bindings: readonly Binding[]
  readonly list: ImpersonatorList
  /** Those whose time is not over. */
  readonly members: readonly WantedMember[]
  readonly timedGrants: readonly WantedTimedGrant[]
}

export interface ComparisonContext {
  readonly prefix: string
  /** Who would make the changes: what is their own is not taken from them. */
  readonly actor: string
  /** Bare names that the directory has ever told of. Names it never did are the agent's to keep. */
  readonly known: { readonly users: ReadonlySet<string>; readonly groups: ReadonlySet<string> }
  /** Users whom somebody can be at present: invited and not revoked. Nobody else’s name is listed. */
  readonly present: ReadonlySet<string>
}

export type Action = 'add' | 'change' | 'remove'

export interface RoleChange {
  readonly kind: 'role'
  readonly action: Action
  /** As it is to be, or to be removed as it is. */
  readonly object: ClusterRole
  /** Fields that are not as declared. */
  readonly differs: readonly string[]
}

export interface BindingChange {
  readonly kind: 'binding'
  readonly action: Action
  readonly object: Binding
  readonly differs: readonly string[]
  readonly grants: readonly BoundGrant[]
}

export interface NamesChange {
  readonly kind: 'names'
  readonly action: 'change'
  readonly added: ImpersonatorNames
  readonly removed: ImpersonatorNames
}

/** One thing to do in the cluster. */
export type ClusterChange = RoleChange | BindingChange | NamesChange

/** One thing the directory has to say. */
export type DirectoryChange = {
  readonly action: Action /** Its end now. */
  readonly before?: Date
} & (
  | ({ readonly kind: 'member' } & WantedMember)
  | ({ readonly kind: 'timed grant' } & WantedTimedGrant)
)

export interface AccessDifference {
  /** In the order in which they are to be made. */
  readonly inCluster: readonly ClusterChange[]
  readonly inDirectory: readonly DirectoryChange[]
  /** What nothing declares and is left nevertheless: the actor's own. */
  readonly kept: readonly BoundGrant[]
  /** What is wanted and cannot be made true here; what is there of it stays. */
  readonly refused: readonly WantedGrant[]
  /** Why, as sentences. */
  readonly problems: readonly string[]
}

export function accessDifference(
  wanted: WantedAccess,
  actual: ActualAccess,
  context: ComparisonContext,
): AccessDifference {
  const refusals = refusedRoles(wanted, actual)
  const refused = wanted.grants.filter(({ grant }) => refusals.has(grant.role))
  const roles = roleChanges(wanted, actual, refusals)
  const bindings = bindingChanges(wanted.grants, new Set(refused), actual, context)
  const isRemoval = ({ action }: { readonly action: Action }) => action === 'remove'
  return {
    inCluster: [
      ...bindings.changes.filter(isRemoval),
      ...roles.filter((change) => !isRemoval(change)),
      ...nameChanges(wanted.names, actual.list, context),
      ...bindings.changes.filter((change) => !isRemoval(change)),
      ...roles.filter(isRemoval),
    ],
    inDirectory: directoryDifference(wanted, actual, context),
    kept: bindings.kept,
    refused,
    problems: [...refusals.values()],
  }
}

/** What the directory has to say of a cluster, whether or not the cluster can be reached. */
export function directoryDifference(
  wanted: WantedAccess,
  actual: Pick<ActualAccess, 'members' | 'timedGrants'>,
  context: Pick<ComparisonContext, 'actor'>,
): DirectoryChange[] {
  return [...memberChanges(wanted, actual, context), ...timedChanges(wanted, actual)]
}

/** Roles that nobody can be bound to here: of somebody else by that name, or not there at all. */
function refusedRoles(wanted: WantedAccess, { roles }: ActualAccess): Map<string, string> {
  const refusals = new Map<string, string>()
  for (const { metadata } of wanted.roles) {
    const found = roles.get(metadata.name)
    if (found && !isOurs(found))
      refusals.set(metadata.name, `ClusterRole ${metadata.name} is there, and not mcm’s`)
  }
  const made = new Set(wanted.roles.map(({ metadata }) => metadata.name))
  for (const { grant } of wanted.grants)
    if (!made.has(grant.role) && !roles.has(grant.role))
      refusals.set(grant.role, `there is no ClusterRole ${grant.role}`)
  return refusals
}

function roleChanges(
  wanted: WantedAccess,
  { roles }: ActualAccess,
  refusals: ReadonlyMap<string, string>,
): RoleChange[] {
  const made = new Set(wanted.roles.map(({ metadata }) => metadata.name))
  const set = wanted.roles
    .filter(({ metadata }) => !refusals.has(metadata.name))
    .flatMap<RoleChange>((object) => {
      const found = roles.get(object.metadata.name)
      if (!found) return [{ kind: 'role', action: 'add', object, differs: [] }]
      const differs = roleDiffers(object, found)
      return differs.length > 0 ? [{ kind: 'role', action: 'change', object, differs }] : []
    })
  const gone = [...roles.values()]
    .filter((role) => isOwnRole(role) && !made.has(role.metadata.name))
    .map<RoleChange>((object) => ({ kind: 'role', action: 'remove', object, differs: [] }))
  return [...set, ...gone]
}

function bindingChanges(
  wanted: readonly WantedGrant[],
  refused: ReadonlySet<WantedGrant>,
  { bindings }: ActualAccess,
  { prefix, actor }: ComparisonContext,
) {
  const found = new Map(bindings.filter(isGrantBinding).map((each) => [placeOf(each), each]))
  const possible = wanted.filter((grant) => !refused.has(grant))
  const set = possible.flatMap<BindingChange>(({ binding: object }) => {
    const before = found.get(placeOf(object))
    const differs = before ? bindingDiffers(object, before) : []
    if (before && differs.length === 0) return []
    const grants = grantsOf(object, prefix)
    return [{ kind: 'binding', action: before ? 'change' : 'add', object, differs, grants }]
  })
  const places = new Set(wanted.map(({ binding }) => placeOf(binding)))
  const rest = [...found.values()].filter((binding) => !places.has(placeOf(binding)))
  const ownSubjects = (binding: Binding) =>
    (binding.subjects ?? []).filter((subject) =>
      grantsOf({ ...binding, subjects: [subject] }, prefix).some((it) =>
        isActor(it.subject, actor),
      ),
    )
  const gone = rest.flatMap<BindingChange>((binding) => {
    const own = ownSubjects(binding)
    if (own.length === 0) {
      const grants = grantsOf(binding, prefix)
      return [{ kind: 'binding', action: 'remove', object: binding, differs: [], grants }]
    }
    if (own.length === binding.subjects.length) return []
    const object = withSubjects(binding, own)
    const grants = grantsOf(object, prefix)
    return [{ kind: 'binding', action: 'change', object, differs: ['subjects'], grants }]
  })
  const kept = rest.flatMap((binding) =>
    grantsOf({ ...binding, subjects: ownSubjects(binding) }, prefix),
  )
  return { changes: [...set, ...gone], kept }
}

/** A binding for fewer, as it is to be written: without what only the API server says of it. */
function withSubjects(binding: Binding, subjects: Binding['subjects']): Binding {
  const { name, namespace, labels, annotations } = binding.metadata
  const metadata = {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(labels && { labels }),
    ...(annotations && { annotations }),
  }
  const { kind, roleRef } = binding
  return { apiVersion: RBAC_VERSION, kind, metadata, roleRef, subjects } as Binding
}

/** The agent's own bindings carry mcm's label as well, but no principal. */
export function isGrantBinding({ metadata }: Binding): boolean {
  return metadata.labels?.[PRINCIPAL_LABEL] !== undefined
}

function nameChanges(
  wanted: ImpersonatorNames,
  list: ImpersonatorList,
  { prefix, actor, known, present }: ComparisonContext,
): ClusterChange[] {
  if (list.isUnrestricted) return []
  const isPresent = (name: string) => present.has(bareName(name, prefix) ?? '')
  const inUse = { users: wanted.users.filter(isPresent), groups: wanted.groups }
  const isStaleUser = (name: string) => {
    const bare = bareName(name, prefix)
    return bare !== undefined && bare !== actor && known.users.has(bare)
  }
  const isStaleGroup = (name: string) => {
    if (bareTimedGroup(name, prefix)) return true
    const bare = bareName(name, prefix)
    return bare !== undefined && known.groups.has(bare)
  }
  const added = without(inUse, list)
  const surplus = without(list, inUse)
  const removed = {
    users: surplus.users.filter(isStaleUser),
    groups: surplus.groups.filter(isStaleGroup),
  }
  if (isEmpty(added) && isEmpty(removed)) return []
  return [{ kind: 'names', action: 'change', added, removed }]
}

function without(names: ImpersonatorNames, others: ImpersonatorNames): ImpersonatorNames {
  const [users, groups] = [new Set(others.users), new Set(others.groups)]
  return {
    users: names.users.filter((name) => !users.has(name)),
    groups: names.groups.filter((name) => !groups.has(name)),
  }
}

function isEmpty({ users, groups }: ImpersonatorNames): boolean {
  return users.length + groups.length === 0
}

function memberChanges(
  wanted: WantedAccess,
  actual: Pick<ActualAccess, 'members'>,
  { actor }: Pick<ComparisonContext, 'actor'>,
): DirectoryChange[] {
  const key = ({ subject }: WantedMember) => `${subject.kind}:${subject.name}`
  return changesBetween(wanted.members, actual.members, key)
    .filter(({ action, item }) => action === 'add' || !isActor(item.subject, actor))
    .map(({ item, ...change }) => ({ kind: 'member', ...change, ...item }) as const)
}

function timedChanges(
  wanted: WantedAccess,
  actual: Pick<ActualAccess, 'timedGrants'>,
): DirectoryChange[] {
  const key = ({ subject, group }: WantedTimedGrant) => `${subject.kind}:${subject.name} ${group}`
  return changesBetween(wanted.timedGrants, actual.timedGrants, key).map(
    ({ item, ...change }) => ({ kind: 'timed grant', ...change, ...item }) as const,
  )
}

function changesBetween<T extends { readonly expires?: Date }>(
  wanted: readonly T[],
  actual: readonly T[],
  keyOf: (item: T) => string,
): { action: Action; item: T; before?: Date }[] {
  const present = new Map(actual.map((item) => [keyOf(item), item]))
  const after = new Set(wanted.map(keyOf))
  const set = wanted.flatMap<{ action: Action; item: T; before?: Date }>((item) => {
    const found = present.get(keyOf(item))
    if (!found) return [{ action: 'add', item }]
    if (isSameEnd(found, item)) return []
    return [{ action: 'change', item, ...(found.expires ? { before: found.expires } : {}) }]
  })
  const gone = actual
    .filter((item) => !after.has(keyOf(item)))
    .map((item) => ({ action: 'remove', item }) as const)
  return [...gone, ...set]
}

/** Statements know whole seconds. */
function isSameEnd(a: { readonly expires?: Date }, b: { readonly expires?: Date }): boolean {
  const seconds = ({ expires }: { readonly expires?: Date }) =>
    expires && Math.floor(expires.getTime() / 1000)
  return seconds(a) === seconds(b)
}

function isActor({ kind, name }: GrantSubject, actor: string): boolean {
  return kind === 'user' && name === actor
}

function isOurs(role: ClusterRole): boolean {
  const isLabelled = role.metadata.labels?.[MANAGED_BY_LABEL] === 'mcm'
  return isLabelled && (isOwnRole(role) || presetOf(role.metadata.name) !== undefined)
}

function placeOf({ kind, metadata }: Binding): string {
  return `${kind} ${metadata.namespace ?? ''} ${metadata.name}`
}
