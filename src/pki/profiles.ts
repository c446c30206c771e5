import { StateError, UsageError } from '../errors.ts'
import { requirePrincipalName } from '../protocol/names.ts'
import type { Secret } from '../secret.ts'
import type { World } from '../world.ts'
import { type Authority, BACKDATE_MS, keyIdentifierOf, wholeSeconds } from './authority.ts'
import { p256PublicKey, parseCertificate } from './certificate.ts'
import type { CertificateFields } from './certificate-fields.ts'
import { isDnsName } from './endpoint.ts'
import { publicKeyDerOf, readPrivateKey } from './key-pair.ts'
import { type MintedCertificate, mint } from './mint.ts'

export type { MintedCertificate } from './mint.ts'

/** One function for each certificate that mcm makes. Whatever a request asked for is not seen here. */

export const DEVICE_URI_PREFIX = 'urn:mcm:device:'
export const CONSENT_URI_PREFIX = 'urn:mcm:consent:'
/** No certificate of ours lives longer, bots' included. */
export const MAX_LIFETIME_SECONDS = 400 * 86_400
/** Nor longer than this, where the cluster's owner issues (PROTOCOL §10). */
export const MAX_OWNER_ISSUED_SECONDS = 30 * 86_400

const KEY_ID = /^[A-Za-z0-9_-]{43}$/
const CONSENT = /^[A-Za-z0-9_-]{86}$/
const DAY_MS = 86_400_000

/**
 * What a person or bot shows an agent (PROTOCOL §8): CN the user, one O a group, the device in a URI SAN
 * (RFC 5280 §4.2.1.6), CA:false, digitalSignature, clientAuth. Ends with the CA at the latest.
 * @throws UsageError MCM_BAD_NAME, MCM_BAD_REQUEST; StateError when the CA has expired
 */
export async function issueUserCertificate(
  world: World,
  authority: Authority,
  subject: {
    readonly publicKeyDer: Buffer
    readonly user: string
    readonly groups: readonly string[]
    readonly device: string
    /** Where the owner issues: the device's signature under it (PROTOCOL §10), base64url. */
    readonly consent?: string
  },
  lifetimeSeconds: number,
): Promise<MintedCertificate> {
  const commonName = requirePrincipalName(subject.user)
  const groups = new Set(subject.groups.map((group) => requirePrincipalName(group, 'group')))
  const { device, consent } = subject
  if (!KEY_ID.test(device)) throw badRequest(`device ${device} is no key id`)
  if (consent !== undefined && !CONSENT.test(consent)) throw badRequest('the consent is damaged')
  const uris = [
    `${DEVICE_URI_PREFIX}${device}`,
    ...(consent === undefined ? [] : [`${CONSENT_URI_PREFIX}${consent}`]),
  ]
  return issue(world, authority, lifetimeSeconds, {
    subject: { commonName, organizations: [...groups] },
    publicKeyDer: subject.publicKeyDer,
    role: {
      kind: 'leaf',
      usage: 'clientAuth',
      names: uris.map((value) => ({ type: 'url', value })),
    },
  })
}

/**
 * What an agent shows inside a session: serverAuth, its only name the cluster or enrolment host
 * (RFC 9525 reads the SAN, never the CN).
 */
export async function issueServerCertificate(
  world: World,
  authority: Authority,
  subject: { readonly publicKeyDer: Buffer; readonly host: string },
  lifetimeSeconds: number,
): Promise<MintedCertificate> {
  if (!isDnsName(subject.host)) throw badRequest(`${JSON.stringify(subject.host)} is no host name`)
  return issue(world, authority, lifetimeSeconds, {
    subject: { commonName: subject.host },
    publicKeyDer: subject.publicKeyDer,
    role: {
      kind: 'leaf',
      usage: 'serverAuth',
      names: [{ type: 'dns', value: subject.host }],
    },
  })
}

/** What the local proxy shows on this machine: serverAuth for `localhost`, 127.0.0.1 and ::1. */
export async function issueLoopbackCertificate(
  world: World,
  authority: Authority,
  subject: { readonly publicKeyDer: Buffer },
  lifetimeSeconds: number,
): Promise<MintedCertificate> {
  return issue(world, authority, lifetimeSeconds, {
    subject: { commonName: 'localhost' },
    publicKeyDer: subject.publicKeyDer,
    role: {
      kind: 'leaf',
      usage: 'serverAuth',
      names: [
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
        { type: 'ip', value: '::1' },
      ],
    },
  })
}

/**
 * The self-signed certificate that carries a device's or agent's key on the outer layer. Only its key
 * means anything (PROTOCOL §4), so it is dated a day back and ten years ahead: a wrong clock must not matter.
 */
export async function createKeyCertificate(
  world: World,
  privateKeyPem: Secret<string>,
): Promise<string> {
  const signingKey = readPrivateKey(privateKeyPem)
  const now = wholeSeconds(world.now()).getTime()
  const { pem } = await mint(world, {
    subject: { commonName: 'mcm' },
    publicKeyDer: publicKeyDerOf(signingKey),
    signingKey,
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + 3650 * DAY_MS),
    role: { kind: 'leaf', usage: 'clientAuth' },
  })
  return pem
}

type IssuedFields = Pick<CertificateFields, 'subject' | 'publicKeyDer' | 'role'>

async function issue(
  world: World,
  authority: Authority,
  lifetimeSeconds: number,
  fields: IssuedFields,
): Promise<MintedCertificate> {
  requireP256(fields.publicKeyDer)
  const now = wholeSeconds(world.now()).getTime()
  const issuer = parseCertificate(authority.certificateDer)
  return mint(world, {
    ...fields,
    issuer: { name: issuer.subject, keyIdentifier: keyIdentifierOf(issuer) ?? '' },
    signingKey: readPrivateKey(authority.privateKeyPem),
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: endOfLife(authority, now, lifetimeSeconds),
  })
}

function endOfLife(authority: Authority, now: number, lifetimeSeconds: number): Date {
  if (!(lifetimeSeconds >= 1 && lifetimeSeconds <= MAX_LIFETIME_SECONDS))
    throw badRequest(
      `a lifetime of ${lifetimeSeconds} seconds is not between a second and 400 days`,
    )
  const end = Math.min(now + Math.floor(lifetimeSeconds) * 1000, authority.notAfter.getTime())
  if (end > now) return new Date(end)
  const ended = authority.notAfter.toISOString()
  throw new StateError(
    'MCM_STATE_DAMAGED',
    `no certificate can be issued: the CA ended at ${ended}`,
    {
      hint: 'rotate the CAs of this cluster',
    },
  )
}

function requireP256(publicKeyDer: Buffer): void {
  try {
    p256PublicKey(publicKeyDer)
  } catch {
    throw badRequest('the key is not a P-256 key')
  }
}

function badRequest(why: string): UsageError {
  return new UsageError('MCM_BAD_REQUEST', `no certificate can be issued: ${why}`)
}
