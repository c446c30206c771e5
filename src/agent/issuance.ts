/**
 * Who gets a certificate of this cluster. A request says which key, a proof by the device key says whose
 * it is, and everything else (name, groups, lifetime) comes from the directory and from the policy
 * here. It must not know how the request came. Its invariant: nobody holds a certificate that is
 * not on the list, and none begets another.
 */

import type { z } from 'zod'
import { prefixedName } from '../access/identity.ts'
import type { Admission } from '../directory/admission.ts'
import { verifyEnrolmentProof } from '../directory/proofs.ts'
import type { DeviceRecord, DirectoryState, UserRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import {
  AccessDeniedError,
  IdentityError,
  messageOf,
  TrustError,
  UnreachableError,
  UsageError,
} from '../errors.ts'
import type { Authority } from '../pki/authority.ts'
import { readCsr } from '../pki/csr.ts'
import { issueUserCertificate, type MintedCertificate } from '../pki/profiles.ts'
import { type PublicJwk, sha256 } from '../protocol/keys.ts'
import { enrolmentSchema, type Head } from '../protocol/messages.ts'
import type { Log, World } from '../world.ts'
import type { AgentConfiguration } from './configuration.ts'
import type { PeopleView } from './directory-age.ts'
import { issueLimit } from './issue-limit.ts'
import { isListedUser, type ListedNames } from './listed-names.ts'
import type { AdmitName } from './name-admission.ts'
import type { Principals } from './principals.ts'
import type { TokenAdmissions } from './token-admissions.ts'

export interface Issuance {
  /**
   * A certificate for a device that proves itself on this very connection. `body` is what it sent;
   * `exporter`: 32 bytes of the connection's `EXPORTER-mcm-enrol-v1`.
   * @throws UsageError MCM_BAD_REQUEST; IdentityError MCM_DEVICE_UNKNOWN, MCM_CERTIFICATE_EXPIRED;
   *   AccessDeniedError MCM_REVOKED, MCM_NO_GRANT, MCM_FORBIDDEN; TrustError MCM_CLOCK_SKEW;
   *   UnreachableError
   */
  enrol(body: unknown, exporter: Uint8Array): Promise<Issued>
}

/** `certificate` is the answer; the rest is for the audit. */
export interface Issued {
  /** PEM. */
  readonly certificate: string
  readonly user: string
  readonly device: string
  readonly fingerprint: string
  readonly serial: string
  readonly notAfter: Date
}

export interface IssuancePolicy {
  /** How long a certificate lives. */
  readonly lifetimeSeconds: number
  /** How long after its last certificate a device may come back by itself. */
  readonly windowSeconds: number
}

export interface IssuanceOptions {
  readonly configuration: Pick<AgentConfiguration, 'cluster' | 'prefix'>
  /** Signs them, at this moment; undefined where the owner does. */
  readonly identity: { readonly userAuthority?: Authority | undefined }
  readonly principals: Principals
  readonly names: ListedNames
  /** Puts people whom a token lets in onto the list; without it a grant has to name them. */
  readonly admitName?: AdmitName
  /** Lets in by tokens; without it nobody comes in that way. */
  readonly tokens?: TokenAdmissions
  readonly directory: PeopleView
  /** Takes note of the head that a device has verified. */
  readonly hear?: (user: string, head: Head) => void
  readonly world: World
  readonly log: Log
  readonly policy?: { readonly person: IssuancePolicy; readonly bot: IssuancePolicy }
}

const HOUR = 3600
const DAY = 24 * HOUR
const POLICY = {
  person: { lifetimeSeconds: 12 * HOUR, windowSeconds: 30 * DAY },
  bot: { lifetimeSeconds: 24 * HOUR, windowSeconds: 90 * DAY },
}
/** The certificate would not be good for a clock that is further off. */
const MAX_SKEW_MS = 10 * 60_000
const EXPORTER_BYTES = 32

/** What else is written with a certificate. */
interface Circumstances {
  readonly admission?: Admission | undefined
  /** Fingerprint of the one of the same device that it takes the place of. */
  readonly replaces?: string | undefined
}

interface Owner {
  readonly user: UserRecord
  readonly device: DeviceRecord
}

export function openIssuance(options: IssuanceOptions): Issuance {
  const requireWithinLimit = issueLimit(options.world)
  return {
    async enrol(body, exporter) {
      requireAuthority(options)
      const { csr, proof, oidc, replaces, head } = parsed(body)
      requireCurrent(options)
      const { der, publicKeyDer } = await readCsr(csr)
      const { keyId, key } = await requireProof(options, proof, der, exporter)
      const admission = oidc && (await requireTokens(options).judge(oidc, { id: keyId, key }))
      const { state } = admission
        ? requireTokens(options).directoryWith(admission)
        : options.directory
      const owner = requireDevice(options, state, keyId)
      requireWindow(options, state, owner)
      if (head) options.hear?.(owner.user.name, head)
      await requireName(options, owner)
      requireWithinLimit(owner.user.name, owner.device.id)
      return issue(options, owner, publicKeyDer, { admission, replaces })
    },
  }
}

function parsed(body: unknown): z.infer<typeof enrolmentSchema> {
  const result = enrolmentSchema.safeParse(body)
  if (result.success) return result.data
  throw new UsageError('MCM_BAD_REQUEST', 'the request for a certificate is not understood')
}

/** With memory that is too old nobody can tell who was revoked meanwhile. */
function requireCurrent({ principals, directory }: IssuanceOptions): void {
  directory.requireConfirmed?.()
  if (principals.isFresh() && directory.isFresh()) return
  throw new UnreachableError(
    'MCM_API_SERVER_UNREACHABLE',
    'no certificate now: the agent cannot see whether anybody was revoked',
    { hint: 'try again in a moment' },
  )
}

/** Gives the key of the device that has signed it, for this cluster, request and connection. */
async function requireProof(
  { configuration, world }: IssuanceOptions,
  proof: string,
  csrDer: Buffer,
  exporter: Uint8Array,
): Promise<{ keyId: string; key: PublicJwk }> {
  if (exporter.byteLength !== EXPORTER_BYTES) throw new Error('the exporter must be 32 bytes')
  const { keyId, key, payload } = await verifyEnrolmentProof(proof)
  if (payload.cluster !== configuration.cluster) throw badProof('it is for another cluster')
  if (payload.csr !== sha256(csrDer)) throw badProof('it is for another request')
  if (payload.exporter !== Buffer.from(exporter).toString('base64url'))
    throw badProof('it is for another connection')
  requireClock(world.now(), payload.time)
  return { keyId, key }
}

function requireClock(now: Date, theirs: string): void {
  const skewMs = Math.abs(now.getTime() - Date.parse(theirs))
  if (skewMs <= MAX_SKEW_MS) return
  throw new TrustError(
    'MCM_CLOCK_SKEW',
    `your clock says ${theirs} and the cluster’s says ${formatTime(now)}`,
    { hint: 'set the clock that is wrong, then try again' },
  )
}

/**
 * The owner of a device that the directory and this cluster's own memory let stand, and who is a
 * member.
 */
function requireDevice(options: IssuanceOptions, state: DirectoryState, keyId: string): Owner {
  const { cluster } = options.configuration
  const owner = state.deviceOwner(keyId)
  if (!owner) throw unknownDevice()
  const { user, device } = owner
  const revoked =
    device.revoked ??
    user.revoked ??
    options.principals.revocationOf({
      user: user.name,
      device: device.id,
      deviceSince: device.since,
    })
  if (revoked) throw revokedError(user.name, revoked)
  if (!state.isMember(user.name, cluster, options.world.now()))
    throw noGrant(user.name, 'is no member of this cluster')
  return owner
}

/**
 * A device that stayed away too long comes back by an invite, or when an admin makes its user a
 * member anew.
 */
function requireWindow(
  { principals, ...options }: IssuanceOptions,
  state: DirectoryState,
  owner: Owner,
): void {
  const { user, device } = owner
  const lastExpiry = principals.lastExpiry(user.name, device.id)
  if (lastExpiry === undefined) return
  const now = options.world.now()
  const memberSince = state.memberSince(user.name, options.configuration.cluster, now)
  const from = Math.max(lastExpiry.getTime(), memberSince?.getTime() ?? 0)
  const { windowSeconds } = policyOf(options, user)
  if (now.getTime() <= from + windowSeconds * 1000) return
  throw new IdentityError(
    'MCM_CERTIFICATE_EXPIRED',
    `the last certificate of this device ended at ${formatTime(lastExpiry)}, more than ${windowSeconds / DAY} days ago`,
    { hint: 'ask an administrator for a new invite' },
  )
}

/**
 * Whoever is a member and came by a token is named by nobody beforehand: where the owner lets the agent, it
 * names them.
 */
async function requireName(options: IssuanceOptions, { user, device }: Owner): Promise<void> {
  const { admitName, configuration } = options
  if (device.until === undefined || admitName === undefined) await requireGrant(options, user.name)
  else await admitName(prefixedName(user.name, configuration.prefix))
}

/** The list is read anew before anybody is told that they are not on it. */
async function requireGrant(
  { names, configuration }: IssuanceOptions,
  user: string,
): Promise<void> {
  const prefixed = prefixedName(user, configuration.prefix)
  if (names.isFresh() && isListedUser(names.current(), prefixed)) return
  if (isListedUser(await names.fresh(), prefixed)) return
  throw noGrant(user, 'has no grant on this cluster')
}

async function issue(
  options: IssuanceOptions,
  { user, device }: Owner,
  publicKeyDer: Buffer,
  circumstances: Circumstances,
): Promise<Issued> {
  const authority = requireAuthority(options)
  const minted = await issueUserCertificate(
    options.world,
    authority,
    { publicKeyDer, user: user.name, groups: user.groups, device: device.id },
    lifetimeSeconds(options, { user, device }),
  )
  const signed = { ...minted, authority: sha256(authority.certificateDer) }
  await record(options, { user, device }, signed, circumstances)
  const { pem: certificate, fingerprint, serial, notAfter } = minted
  return { certificate, user: user.name, device: device.id, fingerprint, serial, notAfter }
}

async function record(
  { principals, log }: IssuanceOptions,
  { user, device }: Owner,
  {
    fingerprint,
    serial,
    notBefore,
    notAfter,
    authority,
  }: MintedCertificate & { authority: string },
  { admission, replaces }: Circumstances,
): Promise<void> {
  const by = { ...(admission ? { admission } : {}), ...(replaces ? { replaces } : {}) }
  const facts = { fingerprint, serial, device: device.id, notBefore, notAfter, authority, ...by }
  try {
    await principals.record(user.name, { ...facts, deviceSince: device.since })
  } catch (error) {
    log.warn('certificate_not_recorded', { user: user.name, reason: messageOf(error) })
    throw error
  }
}

/** No longer than the token behind it says (PROTOCOL §11.3). */
function lifetimeSeconds(options: IssuanceOptions, { user, device }: Owner): number {
  const { lifetimeSeconds } = policyOf(options, user)
  if (device.until === undefined) return lifetimeSeconds
  const left = Math.floor((device.until.getTime() - options.world.now().getTime()) / 1000)
  return Math.min(lifetimeSeconds, left)
}

function requireTokens({ tokens }: IssuanceOptions): TokenAdmissions {
  if (tokens) return tokens
  throw new AccessDeniedError('MCM_FORBIDDEN', 'nobody is let in here by a token')
}

function policyOf({ policy = POLICY }: Pick<IssuanceOptions, 'policy'>, user: UserRecord) {
  return user.bot ? policy.bot : policy.person
}

/** The first thing to ask: where the owner issues, nothing else of a request matters. */
function requireAuthority({ identity }: Pick<IssuanceOptions, 'identity'>): Authority {
  if (identity.userAuthority) return identity.userAuthority
  throw new AccessDeniedError(
    'MCM_FORBIDDEN',
    'this agent issues no certificates: the owner of the cluster signs them',
    { hint: 'send the owner what mcm certs request CLUSTER prints' },
  )
}

function unknownDevice(): IdentityError {
  return new IdentityError('MCM_DEVICE_UNKNOWN', 'the directory knows no such device', {
    hint: 'run mcm login with an invite; right after that, try again in a moment',
  })
}

function badProof(why: string): IdentityError {
  return new IdentityError('MCM_DEVICE_UNKNOWN', `the enrolment proof fails: ${why}`, {
    hint: 'run mcm login again; if it stays so, something stands between you and the cluster',
  })
}

function revokedError(user: string, since: Date): AccessDeniedError {
  return new AccessDeniedError('MCM_REVOKED', `${user} was revoked at ${formatTime(since)}`, {
    hint: 'ask an administrator for a new invite',
  })
}

function noGrant(user: string, why: string): AccessDeniedError {
  return new AccessDeniedError('MCM_NO_GRANT', `no grant on this cluster: ${user} ${why}`, {
    hint: `ask an administrator: mcm grant ${user} --role ROLE --cluster CLUSTER`,
  })
}
