import { formatTime } from '../directory/time.ts'
import { AccessDeniedError, NotFoundError } from '../errors.ts'
import type { IssuedCertificate } from '../protocol/messages.ts'
import { revocationOfCertificate } from './principal-ends.ts'
import {
  type PrincipalRecord,
  REPLACED_OVERLAP_MS,
  type RecordedCertificate,
} from './principal-record.ts'

/** What a record says of one certificate: to whoever judges a request, and to whoever asks for a list. */

/** Whose certificate it is. */
export interface IssuedTo {
  readonly user: string
  /** Key id. */
  readonly device: string
  /** Since when it is revoked, by itself or with its device or user. */
  readonly revoked?: Date
  /** Fingerprint of the one that its first use puts out of service. */
  readonly replaces?: string
  /** From when on a newer one serves in its place. */
  readonly replacedFrom?: Date
  /** Since when it is in the bin. */
  readonly purged?: Date
}

/** What a request on a certificate is judged by. */
export function issuedTo(record: PrincipalRecord, certificate: RecordedCertificate): IssuedTo {
  const { device, replaces, replaced, purged } = certificate
  const revoked = revocationOfCertificate(record, certificate)
  return {
    user: record.user,
    device,
    ...(replaces === undefined ? {} : { replaces }),
    ...(revoked ? { revoked } : {}),
    ...(replaced ? { replacedFrom: new Date(replaced.getTime() + REPLACED_OVERLAP_MS) } : {}),
    ...(purged ? { purged: purged.time } : {}),
  }
}

/** Whether a device or a certificate is in a record. */
export function owns(
  { devices, certificates }: PrincipalRecord,
  what: { device: string } | { serial: string },
): boolean {
  if ('device' in what) return Object.hasOwn(devices, what.device)
  return certificates.some(({ serial }) => serial === what.serial)
}

/** Those on the list, or in the bin, that have not expired, as the protocol shows them. */
export function issuedIn(
  record: PrincipalRecord,
  where: 'list' | 'bin',
  now: Date,
): IssuedCertificate[] {
  const isThere = ({ purged, notAfter }: RecordedCertificate) =>
    notAfter > now && (purged !== undefined) === (where === 'bin')
  return record.certificates.filter(isThere).map((each) => issuedCertificate(record, each))
}

/** A certificate as the protocol shows it (PROTOCOL §8.3). */
function issuedCertificate(
  record: PrincipalRecord,
  certificate: RecordedCertificate,
): IssuedCertificate {
  const { fingerprint, serial, device, notBefore, notAfter, replaced, purged } = certificate
  const revoked = revocationOfCertificate(record, certificate)
  return {
    fingerprint,
    serial,
    user: record.user,
    device,
    notBefore: formatTime(notBefore),
    notAfter: formatTime(notAfter),
    ...(revoked ? { revoked: formatTime(revoked) } : {}),
    ...(replaced ? { replaced: formatTime(replaced) } : {}),
    ...(purged ? { purged: formatTime(purged.time) } : {}),
  }
}

/** @throws NotFoundError MCM_USER_UNKNOWN */
export function requireSerial(record: PrincipalRecord, serial: string): void {
  if (!owns(record, { serial })) throw unknownOwner()
}

/** Nobody has what was named. */
export function unknownOwner(): NotFoundError {
  return new NotFoundError(
    'MCM_USER_UNKNOWN',
    'no certificate of that device or serial stands here',
    { hint: 'GET /.mcm/v1/certificates lists your own' },
  )
}

/** For whoever asks for a certificate after their end. */
export function revokedError(user: string, since: Date): AccessDeniedError {
  return new AccessDeniedError('MCM_REVOKED', `${user} was revoked at ${formatTime(since)}`, {
    hint: 'ask an administrator for a new invite',
  })
}
