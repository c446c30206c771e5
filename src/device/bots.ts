import type { FleetSession } from './fleet-session.ts'
import { createInvite, type Invite, type InviteOptions } from './invite.ts'

/** Programs with an identity of their own, brought in by a link. Those of a CI system come by its tokens (providers.ts). */

/**
 * A link for a program; for one that is there already, for another machine of it.
 * @throws UsageError MCM_BAD_NAME MCM_USAGE for the name of a person, or a longer life than a cluster named
 *   allows; AccessDeniedError MCM_FORBIDDEN
 */
export async function createBot(
  session: FleetSession,
  options: Omit<InviteOptions, 'bot' | 'groups'>,
): Promise<Invite> {
  return createInvite(session, { ...options, groups: [], bot: true })
}
