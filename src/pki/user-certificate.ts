import { AccessDeniedError, isMcmError, messageOf, TrustError } from '../errors.ts'
import { sha256 } from '../protocol/keys.ts'
import { isPrincipalName } from '../protocol/names.ts'
import { keyIdentifierOf } from './authority.ts'
import {
  type Certificate,
  isSignedBy,
  type NameAttribute,
  OID,
  p256PublicKey,
  parseCertificate,
  parseName,
} from './certificate.ts'
import { DerReader, readDer, readObjectIdentifier, TAG } from './der.ts'
import { CONSENT_URI_PREFIX, DEVICE_URI_PREFIX, MAX_LIFETIME_SECONDS } from './profiles.ts'

/** Reading who somebody is from a certificate: the one place where bytes become a name. */

/** What a user certificate says. The dates are for the caller to judge. */
export interface UserCertificate {
  readonly user: string
  readonly groups: readonly string[]
  /** Key id of the device it was issued to. */
  readonly device: string
  /** What the device has signed for it, where the owner issues (PROTOCOL §10); not verified here. */
  readonly consent?: string
  /** SubjectPublicKeyInfo. */
  readonly publicKeyDer: Buffer
  /** SHA-256 over the DER, base64url. */
  readonly fingerprint: string
  /** The same of the CA that signed it. */
  readonly authority: string
  /** Lower-case hex. */
  readonly serial: string
  readonly notBefore: Date
  readonly notAfter: Date
}

/** DER of KeyUsage digitalSignature alone, and of BasicConstraints with CA left at its default, false. */
const DIGITAL_SIGNATURE = Buffer.from('03020780', 'hex')
const NO_AUTHORITY = Buffer.from('3000', 'hex')

const DEVICE_URI = new RegExp(`^${DEVICE_URI_PREFIX}([A-Za-z0-9_-]{43})$`)
const CONSENT_URI = new RegExp(`^${CONSENT_URI_PREFIX}([A-Za-z0-9_-]{86})$`)
const URI_NAME = 0x86
const KEY_IDENTIFIER = 0x80
const PRINTABLE_STRING = /^[A-Za-z0-9 '()+,\-./:=?]*$/
/** Our own issuing dates a certificate back by five minutes. */
const MAX_VALIDITY_MS = (MAX_LIFETIME_SECONDS + 300) * 1000
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAlternativeName,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
])

/**
 * Reads a user certificate of exactly the profile of PROTOCOL §8, signed by this CA itself, or by one of several: no
 * intermediates, issuer name and authority key identifier equal (RFC 5280 §4.1.2.4, §4.2.1.1).
 * Whether it is in time, on the allowlist or revoked is not judged.
 * @throws TrustError MCM_CERTIFICATE_UNTRUSTED: from elsewhere, or another profile;
 *   AccessDeniedError MCM_FORBIDDEN: ours, but with a subject that we refuse to read as a person
 */
export function readUserCertificate(
  der: Buffer,
  userCa: Buffer | readonly Buffer[],
): UserCertificate {
  try {
    const certificate = parseCertificate(der)
    const cas = Buffer.isBuffer(userCa) ? [userCa] : userCa
    const authority = sha256(requireSigner(certificate, cas))
    requireProfile(certificate)
    return { ...readSubject(certificate.subject), ...describe(certificate), authority }
  } catch (error) {
    if (isMcmError(error)) throw error
    throw untrusted(messageOf(error))
  }
}

function describe(certificate: Certificate) {
  const { der, publicKeyDer, serial, notBefore, notAfter } = certificate
  const names = readNames(certificate)
  return { ...names, publicKeyDer, fingerprint: sha256(der), serial, notBefore, notAfter }
}

/** The one of them that has signed it. Why not says the first, which is the newest. */
function requireSigner(certificate: Certificate, cas: readonly Buffer[]): Buffer {
  const failures: unknown[] = []
  for (const der of cas) {
    try {
      requireSignedByCa(certificate, parseCertificate(der))
      return der
    } catch (error) {
      failures.push(error)
    }
  }
  throw failures[0] ?? untrusted('there is no CA that could have signed it')
}

function requireSignedByCa(certificate: Certificate, ca: Certificate): void {
  if (!certificate.issuer.equals(ca.subject)) throw untrusted('another CA is its issuer')
  const identifier = keyIdentifierOf(ca)
  if (!identifier || authorityKeyIdentifier(certificate) !== identifier)
    throw untrusted('it names another key of its issuer')
  if (!isSignedBy(certificate, p256PublicKey(ca.publicKeyDer)))
    throw untrusted('the CA has not signed it')
}

/** The key identifier of RFC 5280 §4.2.1.1 as hex. Issuer and serial number, which may follow, say no more. */
function authorityKeyIdentifier(certificate: Certificate): string | undefined {
  const extension = certificate.extensions.get(OID.authorityKeyIdentifier)
  if (!extension) return undefined
  const fields = new DerReader(readDer(extension.value, TAG.sequence).content)
  return fields.takeIf(KEY_IDENTIFIER)?.content.toString('hex')
}

function requireProfile(certificate: Certificate): void {
  p256PublicKey(certificate.publicKeyDer)
  requireCritical(certificate, OID.basicConstraints, NO_AUTHORITY, 'it is a CA or does not deny it')
  requireCritical(certificate, OID.keyUsage, DIGITAL_SIGNATURE, 'its key usage is not a client’s')
  if (extendedKeyUsages(certificate).join() !== OID.clientAuth)
    throw untrusted('it is not for client authentication alone')
  for (const [id, extension] of certificate.extensions)
    if (extension.isCritical && !KNOWN_EXTENSIONS.has(id))
      throw untrusted(`critical extension ${id} is unknown`)
  const validityMs = certificate.notAfter.getTime() - certificate.notBefore.getTime()
  if (validityMs <= 0 || validityMs > MAX_VALIDITY_MS)
    throw untrusted('it is valid for more than 400 days, or never')
}

function requireCritical(certificate: Certificate, id: string, value: Buffer, why: string): void {
  const extension = certificate.extensions.get(id)
  if (!extension?.isCritical || !extension.value.equals(value)) throw untrusted(why)
}

function extendedKeyUsages(certificate: Certificate): string[] {
  const extension = certificate.extensions.get(OID.extendedKeyUsage)
  if (!extension) return []
  const list = new DerReader(readDer(extension.value, TAG.sequence).content)
  const usages: string[] = []
  while (!list.isEmpty) usages.push(readObjectIdentifier(list.take(TAG.objectIdentifier).content))
  return usages
}

/** Exactly one device, and at most one consent after it. */
function readNames(certificate: Certificate): { device: string; consent?: string } {
  const extension = certificate.extensions.get(OID.subjectAlternativeName)
  if (!extension) throw untrusted('it names no device')
  const names = new DerReader(readDer(extension.value, TAG.sequence).content)
  const device = matchOf(DEVICE_URI, names.take(URI_NAME).content)
  if (device && names.isEmpty) return { device }
  const consent = device && matchOf(CONSENT_URI, names.take(URI_NAME).content)
  if (device && consent && names.isEmpty) return { device, consent }
  throw untrusted('its alternative name is not exactly one device')
}

function matchOf(pattern: RegExp, content: Buffer): string | undefined {
  return pattern.exec(content.toString('latin1'))?.[1]
}

/** Exactly one CN and any number of O, one in each RDN, each a name that PROTOCOL §1 allows. */
function readSubject(der: Buffer): { user: string; groups: string[] } {
  const attributes = parseName(der).map(([first, ...rest]) => {
    if (!first || rest.length > 0) throw forbidden('one part of its subject holds several values')
    return first
  })
  const users = attributes.filter(({ type }) => type === OID.commonName)
  const groups = attributes.filter(({ type }) => type === OID.organization)
  const [user] = users
  if (!user || users.length > 1) throw forbidden('its subject has not exactly one common name')
  if (users.length + groups.length < attributes.length)
    throw forbidden('its subject holds more than common name and organizations')
  return { user: readPrincipal(user), groups: groups.map(readPrincipal) }
}

function readPrincipal(attribute: NameAttribute): string {
  const name = readText(attribute)
  if (name !== undefined && isPrincipalName(name)) return name
  throw forbidden(`${JSON.stringify(name ?? attribute.value.toString('latin1'))} is no name`)
}

function readText({ tag, value }: NameAttribute): string | undefined {
  if (tag === TAG.utf8String) {
    const text = value.toString('utf8')
    return Buffer.from(text, 'utf8').equals(value) ? text : undefined
  }
  const text = value.toString('latin1')
  return tag === TAG.printableString && PRINTABLE_STRING.test(text) ? text : undefined
}

function untrusted(why: string): TrustError {
  return new TrustError('MCM_CERTIFICATE_UNTRUSTED', `this is no user certificate of ours: ${why}`)
}

function forbidden(why: string): AccessDeniedError {
  return new AccessDeniedError('MCM_FORBIDDEN', `this certificate names nobody: ${why}`)
}
