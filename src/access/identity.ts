/**
 * Who somebody is, and as whom the API server sees them. The certificate holds bare names; the prefix
 * is put on here and nowhere else, so no certificate can name an identity of Kubernetes.
 */

import { UsageError } from '../errors.ts'
import type { Impersonation } from '../kube/impersonation.ts'
import { isReservedName } from '../kube/reserved-name.ts'
import { isPrincipalName } from '../protocol/names.ts'
import { timedGroupName } from './timed-group.ts'

export const DEFAULT_PREFIX = 'mcm:'

/** The one extra the agent sends: which session a request came through. */
export const SESSION_EXTRA = 'mcm.dev/session'

/** What a valid user certificate says. Names are bare, as in the certificate. */
export interface Identity {
  readonly user: string
  readonly groups: readonly string[]
  /** Key id of the device. */
  readonly device: string
  /** Fingerprint of the certificate. */
  readonly fingerprint: string
}

/**
 * The identity as the API server shall see it.
 * @param identity with the timed groups (PROTOCOL §3.5) of this moment, if any
 * @param listedGroups the prefixed groups that the impersonator may name; the others are left out, because one
 *   unlisted group refuses the whole request
 * @param session the value of the session extra; without it none is sent
 * @throws Error (a bug, so 500) a name that no certificate of ours can hold: fail closed before any connection
 */
export function impersonationOf(
  identity: Identity & { readonly timedGroups?: readonly string[] },
  prefix: string,
  listedGroups: Pick<ReadonlySet<string>, 'has'>,
  session?: string,
): Impersonation {
  const groups = [
    ...identity.groups.map((group) => prefixedName(group, prefix)),
    ...(identity.timedGroups ?? []).map((group) => timedGroupName(group, prefix)),
  ].filter((group) => listedGroups.has(group))
  const user = prefixedName(identity.user, prefix)
  const extras = session === undefined ? new Map() : new Map([[SESSION_EXTRA, [session]]])
  return { user, groups, extras }
}

/** The name of a principal as the API server knows it. @throws Error (a bug) for a name that is none */
export function prefixedName(name: string, prefix: string): string {
  if (typeof name !== 'string' || !isPrincipalName(name))
    throw new Error(`${JSON.stringify(name)} cannot be impersonated`)
  return requirePrefix(prefix) + name
}

/** The bare name behind the prefix, undefined for a name without it. */
export function bareName(name: string, prefix: string): string | undefined {
  if (!name.startsWith(prefix)) return undefined
  const bare = name.slice(prefix.length)
  return isPrincipalName(bare) ? bare : undefined
}

/**
 * The prefix itself: lower-case letters, digits and `-`, ended by a colon, and not one of Kubernetes' own.
 * @throws UsageError MCM_BAD_NAME
 */
export function requirePrefix(prefix: string): string {
  if (/^[a-z0-9][a-z0-9.-]{0,61}:$/.test(prefix) && !isReservedName(prefix)) return prefix
  throw new UsageError('MCM_BAD_NAME', `prefix ${JSON.stringify(prefix)} cannot be used`, {
    hint: 'use lower-case letters, digits and "-", ended by ":", as in mcm:',
  })
}
