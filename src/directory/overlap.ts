import type { ClusterRecord, HubRecord } from './state.ts'

/**
 * What stands at a moment while keys are being replaced (PROTOCOL §12): the signed one, and beside it until a
 * signed time the one before. What is listed first is the newest.
 */

/** The server CAs of which a client takes an agent's certificate. */
export function standingServerCas(cluster: ClusterRecord, now: Date): readonly Buffer[] {
  const { serverCaDer, previous } = cluster
  const stands = previous !== undefined && now < previous.graceUntil
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
  const stands = previous !== undefined && now < previous.graceUntil
  return stands ? [own, previous] : [own]
}

/** What kubectl is to trust: it forgets nothing by itself, so what is over, or about to be, is not written down. */
export function writtenServerCas(cluster: ClusterRecord, now: Date): readonly Buffer[] {
  const { serverCaDer, previous } = cluster
  return previous !== undefined && now < previous.until
    ? [serverCaDer, previous.serverCaDer]
    : [serverCaDer]
}

/** The same of a hub's certificates. */
export function writtenLeaves(hub: HubRecord, now: Date): readonly Buffer[] {
  const { certificateDer, previous } = hub
  return previous !== undefined && now < previous.until
    ? [certificateDer, previous.certificateDer]
    : [certificateDer]
}
