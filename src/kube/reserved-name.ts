/**
 * Names that no person, certificate or request of ours may carry: Kubernetes' own identities.
 * Refused by prefix, never by a list (a list is always short by one: kcp#3206, #3267).
 */

const RESERVED_PREFIXES = ['system:', 'kube:'] as const

/**
 * Whether a user or group name is Kubernetes' own: `system:` or `kube:` in any case, also behind
 * white space (which the receiver of a header trims) and in compatibility letters (`ｓystem:`).
 */
export function isReservedName(name: string): boolean {
  const folded = name.normalize('NFKC').trim().toLowerCase()
  return RESERVED_PREFIXES.some((prefix) => folded.startsWith(prefix))
}
