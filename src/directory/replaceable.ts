import { sha256 } from '../protocol/keys.ts'
import type { ClusterDetail, HubDetail } from './details.ts'
import type { ClusterRecord, HubRecord } from './state.ts'
import { parseTime } from './time.ts'

/** Records of what a later statement replaces, with what it leaves beside itself for a while (PROTOCOL §12). */

export function hubRecord(seq: number, { certificate, previous, ...fields }: HubDetail): HubRecord {
  const before = previous && { ...leaf(previous.certificate), until: parseTime(previous.until)! }
  return { seq, ...fields, ...leaf(certificate), ...(before ? { previous: before } : {}) }
}

export function clusterRecord(
  seq: number,
  { serverCa, userCa, previous, ...fields }: ClusterDetail,
): ClusterRecord {
  const before = previous && { ...authorities(previous), until: parseTime(previous.until)! }
  return {
    ...{ seq, ...fields, ...authorities({ serverCa, userCa }) },
    ...(before ? { previous: before } : {}),
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
