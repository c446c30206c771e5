import { X509Certificate } from 'node:crypto'
import { MAX_OVERLAP_MS } from '../directory/replaceable.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { TrustError, UsageError } from '../errors.ts'
import type { OfferedAuthorities } from '../protocol/messages.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { withCluster } from './cluster-access.ts'
import { requireCluster } from './cluster-lookup.ts'
import { clusterDetailOf } from './cluster-statement.ts'
import type { FleetSession } from './fleet-session.ts'
import { notTheOwner } from './owner-issued.ts'
import { nextUserCa, userCaPem } from './user-ca.ts'

/** Replacing the CAs of a cluster (PROTOCOL §12): its agent makes the next ones, an admin signs which and from when. */

export interface RotatedCluster {
  readonly name: string
  readonly id: string
  /** Until when those before count as well; RFC 3339. */
  readonly until: string
}

/** Certificates of people live 12 h, of programs 24 h: nobody's ends before its time. */
export const DEFAULT_OVERLAP_MS = 24 * 3_600_000

/**
 * Replaces both CAs; those before count for `overlapMs` more, 0 to 90 days.
 * @throws UsageError MCM_USAGE a rotation is under way; AccessDeniedError no admin, or RBAC says no; IdentityError
 *   MCM_OWNER_SIGNS; NotFoundError; TrustError MCM_PAIRING_MISMATCH; UnreachableError
 */
export async function rotateAuthorities(
  session: FleetSession,
  nameOrId: string,
  overlapMs: number,
): Promise<RotatedCluster> {
  requireAdmin(session, 'replace the CAs of clusters')
  requireOverlap(overlapMs)
  const { device, directory } = session
  const cluster = requireCluster(directory, nameOrId)
  requireNoneUnderWay(cluster, device.world.now())
  const order = await ownersPart(session, cluster)
  const offered = await withCluster(session, cluster, ({ agent }) => agent.nextAuthorities(order))
  requireOthers(cluster, order, offered)
  const until = formatTime(new Date(device.world.now().getTime() + overlapMs))
  const after = await appendStatements(session, ({ directory, key }) => {
    const now = requireCluster(directory, cluster.id)
    // Another admin was faster, with the same answer.
    if (isSigned(now, offered)) return []
    requireNoneUnderWay(now, device.world.now())
    const { serverCa, userCa, ...kept } = clusterDetailOf(now)
    const detail = { ...kept, ...offered, previous: { serverCa, userCa, until } }
    return [{ type: 'cluster', detail, signers: [key] }]
  })
  const { name, id, previous } = requireCluster(after.directory, cluster.id)
  return { name, id, until: previous ? formatTime(previous.until) : until }
}

function requireOverlap(overlapMs: number): void {
  if (overlapMs >= 0 && overlapMs <= MAX_OVERLAP_MS) return
  throw new UsageError('MCM_USAGE', 'an overlap is 90 days at most', {
    hint: 'the CAs before count as long as it lasts: choose what everybody needs to refresh kubeconfigs',
  })
}

function requireNoneUnderWay({ name, previous }: ClusterRecord, now: Date): void {
  if (previous === undefined || now >= previous.until) return
  const until = formatTime(previous.until)
  throw new UsageError('MCM_USAGE', `the CAs of ${name} are being replaced until ${until}`, {
    hint: 'wait until then; a key that was stolen in between: mcm clusters remove, then register anew',
  })
}

/** Where the owner issues, the machine that keeps the user CA makes the next one. */
async function ownersPart({ device, directory }: FleetSession, cluster: ClusterRecord) {
  if (cluster.issuer !== 'local') return {}
  if ((await userCaPem(device, cluster.id)) === undefined) throw notTheOwner(directory, cluster)
  return { userCa: await nextUserCa(device, cluster.id) }
}

/** What an agent may offer: two certificates that are not those of now, and not one for both directions. */
function requireOthers(
  { name, serverCaDer, userCaDer }: ClusterRecord,
  order: { readonly userCa?: string },
  offered: OfferedAuthorities,
): void {
  const ders = [offered.serverCa, offered.userCa].map((text) => certificateDer(name, text))
  const isOld = (der: Buffer) => der.equals(serverCaDer) || der.equals(userCaDer)
  if (ders.some(isOld) || ders[0]!.equals(ders[1]!)) throw wrongOffer(name, 'CAs that are not new')
  if (order.userCa !== undefined && order.userCa !== offered.userCa)
    throw wrongOffer(name, 'another user CA than the one made here')
}

function certificateDer(name: string, base64: string): Buffer {
  try {
    const { raw, ca } = new X509Certificate(Buffer.from(base64, 'base64'))
    if (ca) return raw
  } catch {
    // Said below.
  }
  throw wrongOffer(name, 'what is no CA')
}

function isSigned({ serverCaDer, userCaDer }: ClusterRecord, offered: OfferedAuthorities): boolean {
  const signed = [serverCaDer, userCaDer].map((der) => der.toString('base64'))
  return signed[0] === offered.serverCa && signed[1] === offered.userCa
}

function wrongOffer(name: string, what: string): TrustError {
  return new TrustError('MCM_PAIRING_MISMATCH', `the agent of ${name} offers ${what}`, {
    hint: 'nothing was signed; look at the agent',
  })
}
