import {
  type CountingCas,
  isStanding,
  type PrincipalRecord,
  type RecordedCertificate,
} from './principal-record.ts'

/** What of a user a record says has ended, and since when. Pure. */

/** What has ended: with neither device nor fingerprint the whole user. */
export interface Revoked {
  readonly user: string
  readonly device?: string
  readonly fingerprint?: string
}

/** Since when a certificate is revoked, by itself or with its device. */
export function revocationOfCertificate(
  record: PrincipalRecord,
  { device, revoked }: RecordedCertificate,
): Date | undefined {
  return revoked ?? record.devices[device]?.revoked
}

/** Since when a device is revoked, by itself or as one of the user's until then. */
export function revocationOfDevice(
  record: PrincipalRecord,
  device: string,
  deviceSince?: Date,
): Date | undefined {
  const own = record.devices[device]?.revoked
  if (own !== undefined || record.revoked === undefined) return own
  const isLater = deviceSince !== undefined && deviceSince > record.revoked
  return isLater ? undefined : record.revoked
}

/** The end of the newest certificate of a device that stands and is of a CA which counts. */
export function lastExpiryUnder(
  record: PrincipalRecord,
  device: string,
  counts: CountingCas,
): Date | undefined {
  const ends = record.certificates
    .filter((each) => each.device === device && isStanding(each))
    .filter((each) => revocationOfCertificate(record, each) === undefined)
    .filter(({ authority }) => authority !== undefined && counts(authority))
    .map(({ notAfter }) => notAfter.getTime())
  return ends.length > 0 ? new Date(Math.max(...ends)) : undefined
}

/** What `after` has ended and `before` had not, at `now`. A record that is gone ends its user. */
export function endedBetween(
  before: PrincipalRecord,
  after: PrincipalRecord | undefined,
  now: Date,
): Revoked[] {
  const { user } = before
  const isUserEnded = after?.revoked && after.revoked.getTime() !== before.revoked?.getTime()
  if (after === undefined || isUserEnded) return [{ user }]
  const devices = Object.keys(after.devices).filter(
    (id) => after.devices[id]?.revoked && !before.devices[id]?.revoked,
  )
  const standing = new Set(
    after.certificates.filter(isStanding).map(({ fingerprint }) => fingerprint),
  )
  const certificates = before.certificates.filter(
    (each) =>
      isStanding(each) &&
      each.notAfter > now &&
      !standing.has(each.fingerprint) &&
      !devices.includes(each.device),
  )
  return [
    ...devices.map((device) => ({ user, device })),
    ...certificates.map(({ device, fingerprint }) => ({ user, device, fingerprint })),
  ]
}
