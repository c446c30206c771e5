import { X509Certificate } from 'node:crypto'
import { standingLeaves } from '../directory/overlap.ts'
import type { HubRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { isMcmError, TrustError, UsageError } from '../errors.ts'
import { checkHubCertificate, isDueForNext } from '../pki/hub-certificate.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { catchUp, type FleetSession } from './fleet-session.ts'

/** Signing the next certificate of a hub, so that everybody knows it before it is shown (PROTOCOL §12.3). */

export interface SignedHubCertificate {
  readonly endpoints: readonly string[]
  readonly pin: string
  /** From when it is shown; RFC 3339. Absent: it is shown now. */
  readonly from?: string
}

/**
 * Signs what the hub of this connection has ready, to be shown after `overlapMs`; where the hub shows a certificate
 * already that nobody has signed, and its pin was said by hand, that one.
 * @throws UsageError MCM_USAGE there is none, or one waits for its time; AccessDeniedError; TrustError
 */
export async function signHubCertificate(
  session: FleetSession,
  overlapMs: number,
): Promise<SignedHubCertificate> {
  requireAdmin(session, 'sign certificates of hubs')
  const now = session.device.world.now()
  const hub = requireOwnHub(session)
  const shown = session.connection.candidate.pin
  const isKnown = standingLeaves(hub, now).some(({ pin }) => pin === shown)
  const next = isKnown ? await offered(session, hub) : session.connection.certificateDer
  const from = isKnown ? new Date(now.getTime() + overlapMs) : undefined
  const after = await appendStatements(session, (current) => {
    // As it is by now: another administrator may have changed where it is.
    const { endpoints, privateEndpoints, certificateDer } = requireOwnHub(current)
    if (certificateDer.equals(next)) return []
    checkHubCertificate(next, { endpoints: [...endpoints, ...privateEndpoints], now })
    // Replaced at once is over at once: the key of the one before may be stolen.
    const until = formatTime(from ?? now)
    const previous = { certificate: certificateDer.toString('base64'), until }
    const certificate = next.toString('base64')
    const places = { endpoints: [...endpoints], privateEndpoints: [...privateEndpoints] }
    return [{ type: 'hub', detail: { ...places, certificate, previous }, signers: [session.key] }]
  })
  const { endpoints, pin, previous } = requireOwnHub(after)
  const isLater = previous !== undefined && previous.until > now
  return { endpoints, pin, ...(isLater ? { from: formatTime(previous.until) } : {}) }
}

const DAY_MS = 86_400_000
/** Long enough for everybody's plugin to have named the command that refreshes a kubeconfig. */
const OWN_OVERLAP_MS = 30 * DAY_MS

/**
 * Any command of an administrator signs the next certificate of a hub whose own is in the last third of its life, so
 * that nobody has to think of it; when it cannot now, the next command does. It comes after the command's work, whose
 * result must not be lost to it: what a hub shows that nobody should believe, or sign, is said.
 */
export async function signHubCertificateWhenDue(session: FleetSession): Promise<void> {
  const { device, connection } = session
  if (!isDue(session)) return
  const { certificateDer } = connection
  const left =
    new X509Certificate(certificateDer).validToDate.getTime() - device.world.now().getTime()
  try {
    // What was done meanwhile may have changed it, and who this is.
    const current = await catchUp(session)
    if (!isDue(current)) return
    await signHubCertificate(current, Math.min(OWN_OVERLAP_MS, left / 2))
    device.progress.say('the next certificate of the hub is signed')
  } catch (error) {
    if (!isMcmError(error)) throw error
    if (error instanceof TrustError)
      device.progress.say(`the next certificate of the hub is not signed: ${error.message}`)
  }
}

function isDue(session: FleetSession): boolean {
  const { directory, key, device, connection } = session
  const { certificateDer, candidate } = connection
  // Not what a hub says of itself: the dates of the certificate that an admin signed.
  const isSigned = ownHub(session)?.pin === candidate.pin
  return (
    isSigned &&
    directory.state.admins.has(key.id) &&
    isDueForNext(certificateDer, device.world.now())
  )
}

async function offered({ hub: api, device }: FleetSession, hub: HubRecord): Promise<Buffer> {
  const now = device.world.now()
  if (hub.previous !== undefined && now < hub.previous.until)
    throw new UsageError(
      'MCM_USAGE',
      `the next certificate of this hub is signed, and shown from ${formatTime(hub.previous.until)}`,
      { hint: 'until then kubeconfigs are refreshed: mcm kubeconfig --merge' },
    )
  const { nextCertificate } = await api.info()
  if (nextCertificate !== undefined) return Buffer.from(nextCertificate, 'base64')
  throw new UsageError('MCM_USAGE', 'this hub has no next certificate ready', {
    hint: 'its operator starts it with --next-certificate; it makes one by itself when the time comes',
  })
}

/** The record of the hub at the other end. */
function ownHub({ directory, connection }: FleetSession): HubRecord | undefined {
  const { endpoint } = connection.candidate
  return directory.state.hubs.find(({ endpoints, privateEndpoints }) =>
    [...endpoints, ...privateEndpoints].includes(endpoint),
  )
}

function requireOwnHub(session: FleetSession): HubRecord {
  const hub = ownHub(session)
  if (hub) return hub
  const { endpoint } = session.connection.candidate
  throw new TrustError('MCM_DIRECTORY_INVALID', `the directory names no hub at ${endpoint}`, {
    hint: 'look at it: mcm directory show',
  })
}
