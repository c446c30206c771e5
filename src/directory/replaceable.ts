import { sha256 } from '../protocol/keys.ts'
import type { ClusterDetail, HubDetail } from './details.ts'
import type { ClusterRecord, HubRecord } from './state.ts'
import { parseTime } from './time.ts'

/** Records of what a later statement replaces, with what it leaves beside itself for a while (PROTOCOL §12). */

/** Where and when it was signed. */
interface Signed {
  readonly seq: number
  readonly time: Date
}

/** How far clocks may be apart where both ends have to agree on the moment. */
const CLOCK_GRACE_MS = 10 * 60_000

export function hubRecord(
  { seq, time }: Signed,
  { certificate, previous, ...fields }: HubDetail,
): HubRecord {
  const before = previous && { ...leaf(previous.certificate), ...endOf(previous.until, time) }
  return { seq, ...fields, ...leaf(certificate), ...(before ? { previous: before } : {}) }
}

export function clusterRecord(
  { seq, time }: Signed,
  { serverCa, userCa, previous, ...fields }: ClusterDetail,
): ClusterRecord {
  const before = previous && { ...authorities(previous), ...endOf(previous.until, time) }
  return {
    ...{ seq, ...fields, ...authorities({ serverCa, userCa }) },
    ...(before ? { previous: before } : {}),
  }
}

/** Whatever is signed, nothing stands beside its successor for longer. */
export const MAX_OVERLAP_MS = 90 * 24 * 3_600_000

/** What nobody wanted beside the new one for long, a stolen key above all, gets no longer grace than it got time. */
function endOf(text: string, signed: Date): { readonly until: Date; readonly graceUntil: Date } {
  const wanted = parseTime(text)!.getTime() - signed.getTime()
  const overlapMs = Math.max(0, Math.min(wanted, MAX_OVERLAP_MS))
  const until = new Date(signed.getTime() + Math.min(wanted, MAX_OVERLAP_MS))
  return {
    until,
    graceUntil: new Date(until.getTime() + Math.min(CLOCK_GRACE_MS, overlapMs)),
  }
}

function leaf(certificate: string) {
  const certificateDer = Buffer.from(certificate, 'base64')
  return { certificateDer, pin: sha256(certificateDer) }
}

function authorities({ serverCa, userCa }: Pick<ClusterDetail, 'serverCa' | 'userCa'>) {
  return {
    serverCaDer: Buffer.from(serverCa, 'base64'),
    userCaDer: Buffer.from(userCa, 'base64'),
  }
}
