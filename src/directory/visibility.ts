import type { DetailEnvelope } from '../protocol/messages.ts'
import type { Detail, MemberSubject, RequestDetail, RevokeDetail } from './details.ts'
import type { Directory } from './directory.ts'
import { WHENEVER } from './state.ts'
import type { Statement } from './statement.ts'

/**
 * Whom each detail concerns (PROTOCOL §3.2, last column). A hub hands out nothing else; of what it holds
 * back, its reader sees at least that it exists.
 */
export type Viewer =
  /** A device, by its key id. */
  | { readonly kind: 'device'; readonly key: string }
  /** A cluster's agent. */
  | { readonly kind: 'agent'; readonly cluster: string }
  /** Whoever has proved an invite key, by its key id. */
  | { readonly kind: 'invite'; readonly key: string }

type Concerns = (known: Detail, statement: Statement) => boolean

/** The details a viewer may see, in the order of the chain. A stranger gets what everybody gets. */
export function visibleDetails(directory: Directory, viewer: Viewer): DetailEnvelope[] {
  const concerns = concernsOf(directory, viewer)
  return directory.statements.flatMap((statement) => {
    const known = directory.known.get(statement.seq)
    const isVisible = known && (isForEverybody(known) || concerns(known, statement))
    return isVisible ? [directory.details.get(statement.seq)!] : []
  })
}

/**
 * What `after` shows a viewer and `before` did not, old details included: whoever joins a group or a
 * cluster starts to see statements that were made long ago.
 */
export function newlyVisibleDetails(
  before: Directory,
  after: Directory,
  viewer: Viewer,
): DetailEnvelope[] {
  const seen = new Set(visibleDetails(before, viewer).map(({ seq }) => seq))
  return visibleDetails(after, viewer).filter(({ seq }) => !seen.has(seq))
}

function isForEverybody({ type }: Detail): boolean {
  return ['fleet', 'admin', 'hub', 'oidc', 'confirm'].includes(type)
}

function concernsOf(directory: Directory, viewer: Viewer): Concerns {
  if (viewer.kind === 'agent') return agentConcerns(directory, viewer.cluster)
  if (viewer.kind === 'invite') return inviteConcerns(directory, viewer.key)
  const { state } = directory
  if (state.admins.has(viewer.key)) return () => true
  const owner = state.deviceOwner(viewer.key)
  if (!owner) return () => false
  const isRevocation = ownRevocation(directory, owner.user.name)
  if (!state.isLiveDevice(viewer.key)) return forRevoked(directory, viewer.key, isRevocation)
  return userConcerns(directory, owner.user.name)
}

/** Its end, and if another device of the user signed that, how that one came: else it could not believe it. */
function forRevoked(
  directory: Directory,
  key: string,
  isRevocation: (detail: RevokeDetail) => boolean,
): Concerns {
  const isRemoval = ({ seq, type }: Statement) => {
    const known = directory.known.get(seq)
    return type === 'removal' && known?.type === 'removal' && known.detail.device === key
  }
  const removers = new Set(directory.statements.filter(isRemoval).map(({ signers }) => signers[0]))
  const joins = directory.statements.filter(
    ({ type, signers }) => type === 'device' && removers.has(signers[1]),
  )
  const shown = new Set(joins.flatMap(({ seq, invite }) => [seq, invite]))
  return (known, { seq }) => shown.has(seq) || (isEnd(known) && isRevocation(known.detail))
}

function userConcerns(directory: Directory, user: string): Concerns {
  const { state } = directory
  const groups = new Set(state.users.get(user)?.groups)
  const isSubject = ({ kind, name }: MemberSubject) =>
    kind === 'user' ? name === user : groups.has(name)
  const isRevocation = ownRevocation(directory, user)
  return (known) => {
    if (known.type === 'cluster') return state.isMember(user, known.detail.id, WHENEVER)
    if (known.type === 'member' || known.type === 'grant') return isSubject(known.detail.subject)
    if (isAboutUser(known)) return known.detail.user === user
    if (isOfRequest(known)) return requestOf(directory, known)?.user === user
    return isEnd(known) && isRevocation(known.detail)
  }
}

function isAboutUser(known: Detail): known is Detail & { type: 'invite' | 'device' | 'groups' } {
  return known.type === 'invite' || known.type === 'device' || known.type === 'groups'
}

function isOfRequest(known: Detail): known is Detail & { type: 'request' | 'approval' } {
  return known.type === 'request' || known.type === 'approval'
}

/** What is asked, there or in what is said to it. */
function requestOf(
  directory: Directory,
  known: Detail & { type: 'request' | 'approval' },
): RequestDetail | undefined {
  if (known.type === 'request') return known.detail
  const asked = directory.known.get(known.detail.request)
  return asked?.type === 'request' ? asked.detail : undefined
}

/** An agent must learn of every change to whoever was ever a member, or it would believe what was. */
function agentConcerns(directory: Directory, cluster: string): Concerns {
  const users = usersEverOf(directory, cluster)
  return (known) => {
    if (known.type === 'cluster') return known.detail.id === cluster
    if (known.type === 'member' || known.type === 'grant') return known.detail.cluster === cluster
    if (isAboutUser(known)) return users.has(known.detail.user)
    if (isOfRequest(known)) return requestOf(directory, known)?.cluster === cluster
    if (!isEnd(known)) return false
    if ('cluster' in known.detail) return known.detail.cluster === cluster
    const user = revokedUser(directory, known.detail)
    return user === undefined || users.has(user) || isOfProvider(directory, user)
  }
}

/** The invite, the device that used it, and the end of its user: enough to join, and to try again. */
function inviteConcerns(directory: Directory, key: string): Concerns {
  const invite = directory.statements.find(({ inviteKey }) => inviteKey === key)
  const known = invite && directory.known.get(invite.seq)
  if (!invite || known?.type !== 'invite') return () => false
  const { user } = known.detail
  return (detail, statement) => {
    if (detail.type === 'invite') return statement.inviteKey === key
    if (detail.type === 'device') return statement.invite === invite.seq
    if (!isEnd(detail) || statement.seq < invite.seq) return false
    return revokedUser(directory, detail.detail) === user
  }
}

/** Revocations of a user, of their devices, and of clusters that they were ever a member of. */
function ownRevocation(directory: Directory, user: string): (detail: RevokeDetail) => boolean {
  const clusters = clustersEverOf(directory, user)
  return (detail) =>
    'cluster' in detail ? clusters.has(detail.cluster) : revokedUser(directory, detail) === user
}

function revokedUser(directory: Directory, detail: RevokeDetail): string | undefined {
  if ('user' in detail) return detail.user
  return 'device' in detail ? directory.state.deviceOwner(detail.device)?.user.name : undefined
}

/** Whoever signed it: the end of a user, a device or a cluster. */
function isEnd(known: Detail): known is Detail & { type: 'revoke' | 'removal' } {
  return known.type === 'revoke' || known.type === 'removal'
}

/** Nobody can tell beforehand in which cluster a token will be shown. */
function isOfProvider({ state }: Directory, user: string): boolean {
  return state.providerOf(user) !== undefined
}

function usersEverOf(directory: Directory, cluster: string): ReadonlySet<string> {
  const subjects = { user: new Set<string>(), group: new Set<string>() }
  for (const known of directory.known.values())
    if (known?.type === 'member' && known.detail.cluster === cluster)
      subjects[known.detail.subject.kind].add(known.detail.subject.name)
  for (const known of directory.known.values())
    if (hasGroups(known) && known.detail.groups.some((group) => subjects.group.has(group)))
      subjects.user.add(known.detail.user)
  return subjects.user
}

function clustersEverOf(directory: Directory, user: string): ReadonlySet<string> {
  const names = { user: new Set([user]), group: new Set<string>() }
  for (const known of directory.known.values())
    if (hasGroups(known) && known.detail.user === user)
      for (const group of known.detail.groups) names.group.add(group)
  const clusters = new Set<string>()
  for (const known of directory.known.values())
    if (known?.type === 'member' && names[known.detail.subject.kind].has(known.detail.subject.name))
      clusters.add(known.detail.cluster)
  return clusters
}

function hasGroups(known: Detail | undefined): known is Detail & { type: 'invite' | 'groups' } {
  return known?.type === 'invite' || known?.type === 'groups'
}
