import { createHash } from 'node:crypto'

/**
 * The group that stands for one grant that ends (PROTOCOL §3.5). RBAC has no end, so the binding is to
 * this group, and the agent puts people into it while a signed statement says so.
 */

const TIMED_GROUP = /^grant:[0-9a-f]{16}$/

/** What a timed group is made of; the role by its whole name. */
export interface TimedGrantParts {
  readonly subject: { readonly kind: 'user' | 'group'; readonly name: string }
  readonly role: string
  readonly namespace?: string
  /** The number of the request that it answers (PROTOCOL §3.7). */
  readonly request?: number
}

/** `grant:` and 16 hex digits. The colon keeps it out of every certificate. */
export function timedGroupOf({ subject, role, namespace, request }: TimedGrantParts): string {
  const purpose = request === undefined ? ['mcm grant v1'] : ['mcm request v1', request]
  const key = [...purpose, subject.kind, subject.name, role, namespace ?? null]
  const digest = createHash('sha256').update(JSON.stringify(key)).digest('hex')
  return `grant:${digest.slice(0, 16)}`
}

/** The group as the API server knows it. @throws Error (a bug) for one that is none */
export function timedGroupName(group: string, prefix: string): string {
  if (TIMED_GROUP.test(group)) return prefix + group
  throw new Error(`${JSON.stringify(group)} is no timed group`)
}

/** The timed group behind the prefix; undefined for any other name. */
export function bareTimedGroup(name: string, prefix: string): string | undefined {
  const bare = name.startsWith(prefix) ? name.slice(prefix.length) : ''
  return TIMED_GROUP.test(bare) ? bare : undefined
}
