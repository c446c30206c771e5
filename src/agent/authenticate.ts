/**
 * Who a request is from, asked anew for every request: a certificate that was good when its
 * connection began may have expired, vanished from the list or been revoked since. Knows
 * certificates and lists; nothing of HTTP. Invariant: it answers with an identity only when every
 * one of its sources says so and is up to date; else it throws.
 */

import { type Identity, impersonationOf } from '../access/identity.ts'
import type { ImpersonatorList } from '../access/impersonator.ts'
import { timedGroupName } from '../access/timed-group.ts'
import { isConsent } from '../directory/consent.ts'
import type { DeviceRecord, TimedGrant } from '../directory/state.ts'
import {
  AccessDeniedError,
  IdentityError,
  isMcmError,
  StateError,
  UnreachableError,
} from '../errors.ts'
import type { Impersonation } from '../kube/impersonation.ts'
import { BACKDATE_MS } from '../pki/authority.ts'
import { MAX_OWNER_ISSUED_SECONDS } from '../pki/profiles.ts'
import type { UserCertificate } from '../pki/user-certificate.ts'
import type { World } from '../world.ts'
import type { PeopleView } from './directory-age.ts'
import { standingGroups } from './standing-groups.ts'

/** Whom a certificate was issued to, as the list says. */
export interface ListedCertificate {
  readonly user: string
  readonly device: string
  readonly revoked?: Date
  /** From when on a newer one of the same device serves in its place. */
  readonly replacedFrom?: Date
  readonly purged?: Date
}

/** What the agent's Secrets say (principals.ts). */
export interface CertificateList {
  isFresh(): boolean
  find(fingerprint: string): ListedCertificate | undefined
  /** `find`, and on a miss the Secret itself: the other replica may have issued it a moment ago. */
  lookUp(fingerprint: string, user: string): Promise<ListedCertificate | undefined>
  /** False when what it says of a user cannot be read. */
  isReadable(user: string): boolean
  /** The end of the newest certificate that a device of a user ever got. */
  lastExpiry(user: string, device: string): Date | undefined
  /** The same of those that stand and are of a CA which `counts`. */
  lastExpiryUnder(
    user: string,
    device: string,
    counts: (authority: string) => boolean,
  ): Date | undefined
  revocationOf(who: {
    readonly user: string
    readonly device: string
    readonly deviceSince?: Date
  }): Date | undefined
}

/** Whom the impersonator may speak for (listed-names.ts). */
export interface SpokenFor {
  isFresh(): boolean
  current(): ImpersonatorList
  fresh(): Promise<ImpersonatorList>
}

export interface AuthenticationSources {
  readonly world: World
  /** The cluster id. */
  readonly cluster: string
  readonly prefix: string
  /** With `local` the owner issues: the device's consent stands in for the list (PROTOCOL §10). */
  readonly issuer: 'agent' | 'local'
  readonly certificates: CertificateList
  /** Which user CAs count now (authorities.ts). */
  readonly authorities: { accepts(authority: string): boolean }
  /** Hears of a certificate of the owner's that is admitted and not on the list; per request. */
  noteAdmitted(certificate: UserCertificate, deviceSince: Date): void
  readonly names: SpokenFor
  readonly directory: PeopleView
}

/** Somebody whose request may be asked of the API server. */
export interface Standing {
  readonly identity: Identity
  /** As whom, without the session extra. */
  readonly impersonation: Impersonation
  /** Numbers of the approved requests (PROTOCOL §3.7) that gave some of the groups. */
  readonly requests: readonly number[]
  /** Whom the impersonator could speak for besides. */
  readonly names: ImpersonatorList
  /** Whether a token let the device in, and no statement. */
  readonly isAdmitted: boolean
}

/** What a connection was used for. */
export interface ConnectionUse {
  readonly usedGroups: ReadonlySet<string>
  /** What is under way. */
  readonly live: { readonly size: number }
}

export interface Authentication {
  /**
   * The standing of whoever holds this certificate, now.
   * @throws IdentityError (401) new credentials would help; AccessDeniedError (403) they would not;
   *   UnreachableError (503) it cannot be known
   */
  standingOf(certificate: UserCertificate): Promise<Standing>
  /**
   * Whether a connection, with what it has under way, may go on: by the newest certificate of the same
   * device, whether or not the agent hears from its sources at this moment, and as long as every group
   * that it used still stands. With nothing under way one of a CA before is of no use. @throws as above
   */
  requireStillStanding(certificate: UserCertificate, use: ConnectionUse): void
}

export function openAuthentication(sources: AuthenticationSources): Authentication {
  const requireStanding = (certificate: UserCertificate) => judge(sources, certificate)
  return {
    requireStillStanding: (certificate, use) => judgeOpen(sources, certificate, use),
    standingOf: async (certificate) => {
      try {
        return requireStanding(certificate)
      } catch (error) {
        if (!(await learnMore(sources, certificate, error))) throw error
        return requireStanding(certificate)
      }
    },
  }
}

/** Whether a refusal may rest on news that has not arrived yet, and does no longer. */
async function learnMore(
  { certificates, names }: AuthenticationSources,
  { fingerprint, user }: UserCertificate,
  error: unknown,
): Promise<boolean> {
  if (!isMcmError(error)) return false
  if (error.code === 'MCM_CERTIFICATE_UNKNOWN')
    return (await certificates.lookUp(fingerprint, user)) !== undefined
  if (error.code !== 'MCM_NO_GRANT') return false
  await names.fresh()
  return true
}

function judge(sources: AuthenticationSources, certificate: UserCertificate): Standing {
  requireInTime(sources.world.now(), certificate)
  requireStandingAuthority(sources, certificate)
  if (!sources.certificates.isFresh() || !sources.directory.isFresh()) throw outOfDate()
  sources.directory.requireConfirmed?.()
  requireIssued(sources, certificate)
  requireNotReplaced(sources, certificate)
  const device = requireNotRevoked(sources, certificate)
  if (sources.issuer === 'local') requireConsent(sources, certificate, device)
  requireMember(sources, certificate)
  const names = sources.names.current()
  // A list that names nobody in particular is enforced by nobody but us: only we would miss its end.
  if (names.isUnrestricted && !sources.names.isFresh()) throw outOfDate()
  const listed = requireListed(sources, certificate, names)
  if (sources.issuer === 'local' && !sources.certificates.find(certificate.fingerprint))
    sources.noteAdmitted(certificate, device.since)
  const isAdmitted = device.until !== undefined
  return { identity: identityOf(certificate), ...listed, names, isAdmitted }
}

function judgeOpen(
  sources: AuthenticationSources,
  certificate: UserCertificate,
  { usedGroups, live }: ConnectionUse,
): void {
  const { user, device, notAfter } = certificate
  const now = sources.world.now()
  if (live.size === 0) requireStandingAuthority(sources, certificate)
  else requireSuccessor(sources, certificate)
  if (now <= notAfter) requireIssued(sources, certificate)
  else {
    const lastExpiry = sources.certificates.lastExpiry(user, device) ?? notAfter
    requireInTime(now, { ...certificate, notAfter: lastExpiry })
  }
  requireNotRevoked(sources, certificate)
  requireMember(sources, certificate)
  const { impersonation } = requireListed(sources, certificate, sources.names.current())
  const lost = [...usedGroups].find((group) => !impersonation.groups.includes(group))
  if (lost !== undefined)
    throw new AccessDeniedError('MCM_NO_GRANT', `${user} is no longer in group ${lost}`, {
      hint: 'try again with what is left, or ask an admin for a grant',
    })
}

function requireNotRevoked(
  sources: AuthenticationSources,
  certificate: UserCertificate,
): DeviceRecord {
  const known = requireKnownDevice(sources, certificate)
  const { user, device } = certificate
  const revoked = sources.certificates.revocationOf({ user, device, deviceSince: known.since })
  if (revoked) throw revokedSince(certificate, revoked)
  return known
}

function requireInTime(now: Date, { user, notBefore, notAfter }: UserCertificate): void {
  if (now < notBefore)
    throw new IdentityError(
      'MCM_CERTIFICATE_EXPIRED',
      `the certificate of ${user} is not valid before ${notBefore.toISOString()}`,
      { hint: 'compare the clocks of your machine and the cluster' },
    )
  if (now <= notAfter) return
  const message = `the certificate of ${user} expired at ${notAfter.toISOString()}`
  throw new IdentityError('MCM_CERTIFICATE_EXPIRED', message, { hint: 'run mcm login' })
}

/** What began with a certificate of the CA before goes on by one of the CA of now that its device has. */
function requireSuccessor(sources: AuthenticationSources, certificate: UserCertificate): void {
  const { authorities, certificates, world } = sources
  if (authorities.accepts(certificate.authority)) return
  const counts = (authority: string) => authorities.accepts(authority)
  const { user, device } = certificate
  const end = certificates.lastExpiryUnder(user, device, counts)
  if (end === undefined || world.now() > end) requireStandingAuthority(sources, certificate)
}

/** After a rotation what the CA before has signed counts no more. */
function requireStandingAuthority(
  { authorities }: AuthenticationSources,
  { user, authority }: UserCertificate,
): void {
  if (authorities.accepts(authority)) return
  const message = `the certificate of ${user} is of a CA that this cluster has replaced`
  throw new IdentityError('MCM_CERTIFICATE_EXPIRED', message, {
    hint: 'a kubeconfig that holds one is refreshed by mcm kubeconfig --merge',
  })
}

/** The directory's word on the device. */
function requireKnownDevice(
  { directory }: AuthenticationSources,
  certificate: UserCertificate,
): DeviceRecord {
  const owner = directory.state.deviceOwner(certificate.device)
  if (!owner || owner.user.name !== certificate.user)
    throw new AccessDeniedError(
      'MCM_FORBIDDEN',
      `the directory knows no such device of ${certificate.user}`,
      { hint: 'run mcm login with a new invite' },
    )
  const revoked = owner.device.revoked ?? owner.user.revoked
  if (revoked) throw revokedSince(certificate, revoked)
  return owner.device
}

function requireIssued(sources: AuthenticationSources, certificate: UserCertificate): void {
  const { fingerprint, user, device } = certificate
  const listed = sources.certificates.find(fingerprint)
  if (listed?.revoked) throw revokedCertificate(sources, certificate, listed.revoked)
  if (listed?.purged) throw unknownCertificate(`the certificate of ${user} was purged`)
  if (sources.issuer === 'local') {
    requireReadable(sources, user)
    return
  }
  if (listed && listed.user === user && listed.device === device) return
  throw unknownCertificate(`the certificate of ${user} is not on the list of this cluster`)
}

/** What runs goes on, as when it had expired: the newest certificate of the device counts. */
function requireNotReplaced(
  { certificates, world }: AuthenticationSources,
  { fingerprint, user }: UserCertificate,
): void {
  const from = certificates.find(fingerprint)?.replacedFrom
  if (from === undefined || world.now() < from) return
  throw unknownCertificate(`a newer certificate of ${user} has taken the place of this one`)
}

function unknownCertificate(message: string): IdentityError {
  return new IdentityError('MCM_CERTIFICATE_UNKNOWN', message, { hint: 'run mcm login' })
}

/** Where there is no list, a damaged Secret must not hide what was revoked in it. */
function requireReadable({ certificates }: AuthenticationSources, user: string): void {
  if (certificates.isReadable(user)) return
  throw new StateError(
    'MCM_STATE_DAMAGED',
    `what this cluster remembers of ${user} cannot be read, so ${user} is not let in`,
    { hint: 'ask an administrator of the cluster: its agent logs which Secret it is' },
  )
}

/** What the owner has issued counts only with the device's own signature, and for 30 days. */
function requireConsent(
  { cluster }: AuthenticationSources,
  { user, notBefore, notAfter, consent, publicKeyDer }: UserCertificate,
  { key }: DeviceRecord,
): void {
  const maxMs = MAX_OWNER_ISSUED_SECONDS * 1000 + BACKDATE_MS
  if (notAfter.getTime() - notBefore.getTime() > maxMs)
    throw notAdmitted(`the certificate of ${user} is valid for more than 30 days`)
  if (consent === undefined || !isConsent(key, { cluster, publicKeyDer }, consent))
    throw notAdmitted(`the device of ${user} has not asked for this certificate`)
}

function requireMember(
  { directory, cluster, world }: AuthenticationSources,
  { user }: UserCertificate,
): void {
  if (directory.state.isMember(user, cluster, world.now())) return
  throw new AccessDeniedError('MCM_FORBIDDEN', `${user} is no member of this cluster`, {
    hint: 'ask an admin for a grant',
  })
}

/** The owner's opt-out: nothing is left out. */
const EVERY_GROUP = { has: () => true }

/** With those of the standing groups that the list names: one unlisted group refuses the whole request. */
function requireListed(
  sources: AuthenticationSources,
  certificate: UserCertificate,
  names: ImpersonatorList,
): Pick<Standing, 'impersonation' | 'requests'> {
  const { cluster, prefix, directory, world } = sources
  const { groups, timed } = standingGroups(directory.state, cluster, certificate, world.now())
  const listed = names.isUnrestricted ? EVERY_GROUP : new Set(names.groups)
  const timedGroups = timed.map(({ group }) => group)
  const identity = { ...identityOf(certificate), groups, timedGroups }
  const impersonation = impersonationOf(identity, prefix, listed)
  const isUsed = ({ group }: TimedGrant) => listed.has(timedGroupName(group, prefix))
  const requests = timed.filter(isUsed).flatMap(({ request }) => request ?? [])
  if (names.isUnrestricted || names.users.includes(impersonation.user))
    return { impersonation, requests }
  throw new AccessDeniedError('MCM_NO_GRANT', `${certificate.user} has no grant on this cluster`, {
    hint: `ask an admin: mcm grant ${certificate.user} --role ROLE --cluster CLUSTER`,
  })
}

function identityOf({ user, groups, device, fingerprint }: UserCertificate): Identity {
  return { user, groups, device, fingerprint }
}

function revokedSince({ user }: UserCertificate, since: Date): AccessDeniedError {
  return new AccessDeniedError('MCM_REVOKED', `${user} was revoked at ${since.toISOString()}`, {
    hint: 'ask an admin for a new invite',
  })
}

/** Of the certificate alone: its device gets the next one. */
function revokedCertificate(
  { certificates }: AuthenticationSources,
  certificate: UserCertificate,
  since: Date,
): AccessDeniedError {
  const { user, device } = certificate
  if (certificates.revocationOf({ user, device })) return revokedSince(certificate, since)
  const message = `the certificate of ${user} was revoked at ${since.toISOString()}`
  return new AccessDeniedError('MCM_REVOKED', message, {
    hint: 'run mcm certs renew; with a certificate inside the kubeconfig write that anew',
  })
}

function notAdmitted(message: string): AccessDeniedError {
  return new AccessDeniedError('MCM_FORBIDDEN', message, {
    hint: 'ask the owner of the cluster for a certificate: mcm certs request CLUSTER',
  })
}

function outOfDate(): UnreachableError {
  return new UnreachableError(
    'MCM_API_SERVER_UNREACHABLE',
    'the agent cannot see at present who was revoked, so nobody is let in',
    { hint: 'try again in a moment' },
  )
}
