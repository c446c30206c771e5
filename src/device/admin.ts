import { AccessDeniedError } from '../errors.ts'
import type { FleetSession } from './fleet-session.ts'

/** @throws AccessDeniedError MCM_FORBIDDEN when this device is no administrator of the fleet */
export function requireAdmin({ directory, key, state }: FleetSession, what: string): void {
  if (directory.state.admins.has(key.id)) return
  const names = [...new Set([...directory.state.admins.values()].map(({ user }) => user))].sort()
  throw new AccessDeniedError('MCM_FORBIDDEN', `${state.user} may not ${what} on this device`, {
    hint: `ask an administrator of the fleet: ${names.slice(0, 5).join(', ')}`,
  })
}
