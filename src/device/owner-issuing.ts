import { isConsent, signConsent } from '../directory/consent.ts'
import type { Directory } from '../directory/directory.ts'
import type { ClusterRecord, DeviceRecord, UserRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { AccessDeniedError, IdentityError, TrustError, UsageError } from '../errors.ts'
import type { Authority } from '../pki/authority.ts'
import { readCsr } from '../pki/csr.ts'
import { generateKeyPair } from '../pki/key-pair.ts'
import {
  issueUserCertificate,
  MAX_OWNER_ISSUED_SECONDS,
  type MintedCertificate,
} from '../pki/profiles.ts'
import { type CertificateRequest, parseCertificateRequest } from './certificate-request.ts'
import { checkedCertificate } from './checked-certificate.ts'
import type { Device } from './device.ts'
import type { Obtained } from './kept-credential.ts'
import { latestStandpoint, offlineStandpoint, type Standpoint } from './latest-directory.ts'
import { notTheOwner, requireOwnerIssued } from './owner-issued.ts'
import { loadUserCa, userCaPem } from './user-ca.ts'

/**
 * Issuing as the owner of a cluster (PROTOCOL §10), with the user CA that this machine keeps. A request says
 * which key, its device has to have signed for that, and everything else comes from the directory.
 */

/** As agents issue to people. */
export const OWN_LIFETIME_SECONDS = 12 * 3600

/** A certificate for somebody else, and what it says. Nothing of it is secret. */
export interface SignedCertificate {
  readonly user: string
  readonly groups: readonly string[]
  readonly device: { readonly id: string; readonly name: string }
  readonly cluster: { readonly id: string; readonly name: string }
  /** RFC 3339. */
  readonly notAfter: string
  readonly fingerprint: string
  readonly serial: string
  /** PEM. */
  readonly certificate: string
}

/**
 * Answers somebody's request, for 12 h unless said, 30 days at most.
 * @throws UsageError MCM_BAD_FILE MCM_USAGE, NotFoundError MCM_CLUSTER_UNKNOWN, IdentityError MCM_DEVICE_UNKNOWN
 *   MCM_OWNER_SIGNS, AccessDeniedError MCM_REVOKED MCM_NO_GRANT, TrustError, StateError
 */
export async function signCertificateRequest(
  device: Device,
  text: string,
  lifetimeSeconds = OWN_LIFETIME_SECONDS,
): Promise<SignedCertificate> {
  requireLifetime(lifetimeSeconds)
  const request = parseCertificateRequest(text)
  const { directory } = await latestStandpoint(device)
  const cluster = requireOwnerIssued(directory, request.cluster)
  const authority = await loadUserCa(device, cluster)
  if (!authority) throw notTheOwner(directory, cluster)
  const subject = requireStanding(directory, cluster, request.device, device.world.now())
  const { publicKeyDer } = await readCsr(request.csr)
  requireConsent(subject, request, publicKeyDer)
  const asked = { publicKeyDer, consent: request.consent }
  const minted = await issue(device, authority, subject, asked, lifetimeSeconds)
  return signedCertificate(cluster, subject, minted)
}

/**
 * This person's own certificate, where this machine keeps the user CA; asks neither hub nor agent. Undefined
 * where somebody else issues. @throws AccessDeniedError, TrustError, StateError
 */
export async function issueToOneself(
  device: Device,
  clusterId: string,
): Promise<Obtained | undefined> {
  if ((await userCaPem(device, clusterId)) === undefined) return undefined
  const standpoint = await offlineStandpoint(device)
  const cluster = standpoint.directory.state.clusters.get(clusterId)
  const authority = cluster && (await loadUserCa(device, cluster))
  return authority && issueOwn(standpoint, cluster, authority)
}

async function issueOwn(
  { device, state, directory, key }: Standpoint,
  cluster: ClusterRecord,
  authority: Authority,
): Promise<Obtained> {
  const subject = requireStanding(directory, cluster, key.id, device.world.now())
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const consent = signConsent(key, { cluster: cluster.id, publicKeyDer })
  const asked = { publicKeyDer, consent }
  const { pem } = await issue(device, authority, subject, asked, OWN_LIFETIME_SECONDS)
  const file = checkedCertificate(device, state, cluster, { pem, publicKeyDer })
  return { file, key: privateKeyPem }
}

interface Subject {
  readonly user: UserRecord
  readonly device: DeviceRecord
}

/** A device that the directory lets stand, of somebody who is a member. */
function requireStanding(
  { state }: Directory,
  cluster: ClusterRecord,
  deviceId: string,
  now: Date,
): Subject {
  const owner = state.deviceOwner(deviceId)
  if (!owner)
    throw new IdentityError('MCM_DEVICE_UNKNOWN', `the directory knows no device ${deviceId}`, {
      hint: 'whoever asks must log in first, with an invite (mcm invite NAME)',
    })
  const { name } = owner.user
  const revoked = owner.device.revoked ?? owner.user.revoked
  if (revoked) throw revokedSince(owner, revoked)
  if (state.isMember(name, cluster.id, now)) return owner
  throw new AccessDeniedError('MCM_NO_GRANT', `${name} is not a member of ${cluster.name}`, {
    hint: `mcm grant ${name} --role ROLE --cluster ${cluster.name}`,
  })
}

function requireConsent(
  { user, device }: Subject,
  { cluster, consent }: CertificateRequest,
  publicKeyDer: Buffer,
): void {
  if (isConsent(device.key, { cluster, publicKeyDer }, consent)) return
  throw new TrustError(
    'MCM_CERTIFICATE_UNTRUSTED',
    `this request is not from ${user.name}: device ${device.name} has not signed it`,
    { hint: 'nothing was signed; tell them that somebody asks in their name' },
  )
}

async function issue(
  { world }: Device,
  authority: Authority,
  { user, device }: Subject,
  asked: { readonly publicKeyDer: Buffer; readonly consent: string },
  lifetimeSeconds: number,
): Promise<MintedCertificate> {
  const names = { user: user.name, groups: user.groups, device: device.id }
  return issueUserCertificate(world, authority, { ...names, ...asked }, lifetimeSeconds)
}

function signedCertificate(
  { id, name }: ClusterRecord,
  { user, device }: Subject,
  { pem, fingerprint, serial, notAfter }: MintedCertificate,
): SignedCertificate {
  return {
    user: user.name,
    groups: user.groups,
    device: { id: device.id, name: device.name },
    cluster: { id, name },
    notAfter: formatTime(notAfter),
    fingerprint,
    serial,
    certificate: pem,
  }
}

function requireLifetime(seconds: number): void {
  if (seconds >= 60 && seconds <= MAX_OWNER_ISSUED_SECONDS) return
  throw new UsageError('MCM_USAGE', 'a certificate lives between a minute and 30 days', {
    hint: 'give --ttl as 12h or 7d',
  })
}

function revokedSince({ user, device }: Subject, since: Date): AccessDeniedError {
  const what = user.revoked ? user.name : `device ${device.name} of ${user.name}`
  return new AccessDeniedError('MCM_REVOKED', `${what} was revoked at ${formatTime(since)}`, {
    hint: `let them log in with a new invite: mcm invite ${user.name}`,
  })
}
