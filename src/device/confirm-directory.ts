import { isMcmError, TrustError } from '../errors.ts'
import { appendStatements, type Draft } from './append.ts'
import type { FleetSession } from './fleet-session.ts'

/** A confirmation that is older is renewed by whatever an administrator does. */
const DUE_MS = 24 * 3600_000
/** One of a clock that was further ahead confirms nothing (PROTOCOL §3.6). */
const MAX_SKEW_MS = 10 * 60_000

/**
 * An administrator's device says from time to time that the directory is whole as it sees it, so that agents
 * notice when nobody does (PROTOCOL §3.6). Nothing depends on it here: when it cannot be said now it is
 * the next time. Gives the session with the directory as it then is. @throws TrustError
 */
export async function confirmWhenDue(session: FleetSession): Promise<FleetSession> {
  if (draft(session).length === 0) return session
  try {
    return await appendStatements(session, draft)
  } catch (error) {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    return session
  }
}

function draft({ directory, key, device }: FleetSession): readonly Draft[] {
  const { admins, confirmed } = directory.state
  const ageMs = confirmed && device.world.now().getTime() - confirmed.getTime()
  const isDue = ageMs === undefined || ageMs > DUE_MS || ageMs < -MAX_SKEW_MS
  return admins.has(key.id) && isDue ? [{ type: 'confirm', detail: {}, signers: [key] }] : []
}
