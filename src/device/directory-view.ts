import type { Detail } from '../directory/details.ts'
import type { Directory } from '../directory/directory.ts'
import type { Statement } from '../directory/statement.ts'
import { formatTime } from '../directory/time.ts'
import { keyId } from '../protocol/keys.ts'
import type { Head } from '../protocol/messages.ts'

/** The directory as a person reads it: one line a statement, and whether it all holds. */

export interface StatementView {
  readonly seq: number
  /** RFC 3339. */
  readonly time: string
  readonly type: string
  /** `user (device)` where known, else the beginning of the key id. */
  readonly signedBy: readonly string[]
  /** One line, or undefined when the detail is for others. */
  readonly about?: string
  /** Why it changed nothing, though it is valid. */
  readonly withoutEffect?: string
  readonly hash: string
}

export interface DirectoryView {
  readonly fleet: string
  readonly head: Head
  readonly statements: readonly StatementView[]
}

/** Every statement of a verified directory, oldest first. */
export function viewDirectory(directory: Directory): DirectoryView {
  return {
    fleet: directory.fleet!,
    head: directory.head!,
    statements: directory.statements.map((statement) => viewStatement(directory, statement)),
  }
}

function viewStatement(directory: Directory, statement: Statement): StatementView {
  const { seq, time, type, hash, signers } = statement
  const known = directory.known.get(seq)
  const withoutEffect = directory.state.withoutEffect.get(seq)
  return {
    seq,
    time: formatTime(time),
    type,
    signedBy: signers.map((key) => signerName(directory, key)),
    ...(known ? { about: describe(known) } : {}),
    ...(withoutEffect === undefined ? {} : { withoutEffect }),
    hash,
  }
}

function signerName(directory: Directory, key: string): string {
  const owner = directory.state.deviceOwner(key)
  if (owner) return `${owner.user.name} (${owner.device.name})`
  const admin = directory.state.admins.get(key)
  return admin ? admin.user : `key ${key.slice(0, 8)}`
}

function describe(known: Detail): string {
  switch (known.type) {
    case 'fleet':
      return `founded by ${known.detail.user} on ${known.detail.device.name}`
    case 'admin':
      return `${known.detail.action} administrator ${known.detail.user}`
    case 'hub':
      return [...known.detail.endpoints, ...known.detail.privateEndpoints].join(', ')
    case 'cluster':
      return describeCluster(known.detail)
    case 'invite':
      return `${known.detail.user} until ${known.detail.expires}`
    case 'member': {
      const { action, subject, cluster } = known.detail
      return `${action} ${subject.kind} ${subject.name} at ${cluster}`
    }
    case 'device':
      return `${known.detail.user} on ${known.detail.name} (${keyId(known.detail.key).slice(0, 8)})`
    case 'removal':
    case 'revoke':
      return describeRevocation(known.detail)
    case 'groups':
      return `${known.detail.user} is in ${known.detail.groups.join(', ') || 'no group'}`
    case 'oidc':
      return known.detail.action === 'set'
        ? `${known.detail.name}: ${known.detail.issuer} names people under @${known.detail.domain}`
        : `${known.detail.name} removed`
    case 'confirm':
      return 'this is the directory'
    case 'request': {
      const { user, role, namespace, cluster, seconds, reason } = known.detail
      const where = namespace === undefined ? cluster : `${namespace} of ${cluster}`
      return `${user} asks for ${role} at ${where} for ${seconds} s: ${reason}`
    }
    case 'approval':
      return `${known.detail.action} request ${known.detail.request}`
    case 'grant': {
      const { subject, group, cluster, expires } = known.detail
      return `${subject.kind} ${subject.name} in ${group} at ${cluster} until ${expires}`
    }
  }
}

function describeCluster(detail: (Detail & { type: 'cluster' })['detail']): string {
  const { name, id, direct, approvals } = detail
  const where = direct ? `, directly at ${direct.sessions}` : ''
  return `${name} (${id})${where}${approvals ? `, ${approvals} approvals needed` : ''}`
}

function describeRevocation(detail: (Detail & { type: 'revoke' | 'removal' })['detail']): string {
  const reason = detail.reason === '' ? '' : `: ${detail.reason}`
  if ('user' in detail) return `user ${detail.user}${reason}`
  if ('device' in detail) return `device ${detail.device.slice(0, 8)}${reason}`
  return `cluster ${detail.cluster}${reason}`
}

export interface DirectoryVerdict {
  readonly fleet: string
  readonly head: Head
  readonly statements: number
  readonly detailsKnown: number
  /** Valid statements that changed nothing, with the reason. */
  readonly withoutEffect: readonly { readonly seq: number; readonly why: string }[]
  /** Where it came from: the hub now, or the copy on this machine. */
  readonly source: 'hub' | 'copy'
}

/** What a directory that has been verified amounts to; verification itself throws. */
export function verdict(directory: Directory, source: 'hub' | 'copy'): DirectoryVerdict {
  const { withoutEffect } = directory.state
  return {
    fleet: directory.fleet!,
    head: directory.head!,
    statements: directory.statements.length,
    detailsKnown: directory.details.size,
    withoutEffect: [...withoutEffect].map(([seq, why]) => ({ seq, why })),
    source,
  }
}
