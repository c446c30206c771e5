import type { ClusterRecord, HubRecord } from './state.ts'

/**
 * What stands at a moment while keys are being replaced (PROTOCOL §12): the signed one, and beside it until a
 * signed time the one before. What is listed first is the newest.
 */

/** How far clocks may be apart where both ends have to agree on the moment. */
const CLOCK_GRACE_MS = 10 * 60_000

/** The server CAs of which a client takes an agent's certificate. */
export function standingServerCas(cluster: ClusterRecord, now: Date): readonly Buffer[] {
  const { serverCaDer, previous } = cluster
  const stands = previous !== undefined && now.getTime() < graceEnd(previous.until)
  return stands ? [serverCaDer, previous.serverCaDer] : [serverCaDer]
}

/** The user CAs whose certificates count, for whoever verifies them. */
export function standingUserCas(cluster: ClusterRecord, now: Date): readonly Buffer[] {
  const { userCaDer, previous } = cluster
  return previous !== undefined && now < previous.until
    ? [userCaDer, previous.userCaDer]
    : [userCaDer]
}

/** The certificates of which a hub may show one. */
export function standingLeaves(
  hub: HubRecord,
  now: Date,
): readonly { readonly pin: string; readonly certificateDer: Buffer }[] {
  const { pin, certificateDer, previous } = hub
  const own = { pin, certificateDer }
  const stands = previous !== undefined && now.getTime() < graceEnd(previous.until)
  return stands ? [own, previous] : [own]
}

function graceEnd(until: Date): number {
  return until.getTime() + CLOCK_GRACE_MS
}
