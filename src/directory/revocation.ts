import type { Detail } from './details.ts'
import type { DirectoryState } from './state.ts'

/**
 * What an admin signs, in this order, to end a user or a device. Admin keys are removed first: everybody
 * sees that, while the detail of a revocation goes only to those concerned, so without it others
 * would go on believing what that key signs.
 */
export function revocationDetails(
  state: DirectoryState,
  who: { readonly user: string } | { readonly device: string },
  reason: string,
): Detail[] {
  const removals: Detail[] = []
  for (const [key, { user }] of state.admins) {
    // A key may have been named an admin's for one user and be the device of another.
    const owner = state.deviceOwner(key)?.user.name
    if ('user' in who ? who.user === user || who.user === owner : who.device === key)
      removals.push({ type: 'admin', detail: { action: 'remove', user, key } })
  }
  return [...removals, { type: 'revoke', detail: { ...who, reason } }]
}
