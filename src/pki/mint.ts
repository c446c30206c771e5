// The library resolves its parts by decorators and needs this polyfill before it.
import 'reflect-metadata'
import type { KeyObject } from 'node:crypto'
import { createPublicKey } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { sha256 } from '../protocol/keys.ts'
import type { World } from '../world.ts'
import { OID } from './certificate.ts'
import { publicKeyDerOf, signingCryptoKey, subjectKeyIdentifier } from './key-pair.ts'

/** The only file that meets the certificate library: fields in, one signed certificate out. */

/** A certificate just made. Its private key is elsewhere, with whoever made the key. */
export interface MintedCertificate {
  readonly pem: string
  readonly der: Buffer
  /** SHA-256 over the DER, base64url. */
  readonly fingerprint: string
  /** Lower-case hex. */
  readonly serial: string
  readonly notBefore: Date
  readonly notAfter: Date
}

export interface SubjectName {
  readonly commonName: string
  readonly organizations?: readonly string[]
}

export interface CertificateFields {
  readonly subject: SubjectName
  readonly publicKeyDer: Buffer
  /** The issuer's name (DER) and subject key identifier (hex); left out for a self-signed certificate. */
  readonly issuer?: { readonly name: Buffer; readonly keyIdentifier: string }
  readonly signingKey: KeyObject
  readonly notBefore: Date
  readonly notAfter: Date
  readonly extensions: readonly Extension[]
}

const ECDSA_SHA256 = { name: 'ECDSA', hash: 'SHA-256' }
const SERIAL_BYTES = 16

/** Signs a certificate with a random serial number of 16 bytes (RFC 5280 §4.1.2.2). */
export async function mint(world: World, fields: CertificateFields): Promise<MintedCertificate> {
  const subject = nameOf(fields.subject)
  const serial = newSerial(world)
  const validity = { notBefore: fields.notBefore, notAfter: fields.notAfter }
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial,
    subject,
    issuer: fields.issuer ? new Name(fields.issuer.name) : subject,
    ...validity,
    publicKey: fields.publicKeyDer,
    signingKey: signingCryptoKey(fields.signingKey),
    signingAlgorithm: ECDSA_SHA256,
    extensions: [...fields.extensions, ...keyIdentifiers(fields)],
  })
  const der = Buffer.from(certificate.rawData)
  return { pem: pemOf('CERTIFICATE', der), der, fingerprint: sha256(der), serial, ...validity }
}

/** A PKCS #10 request (RFC 2986) for this key, as DER. */
export async function mintRequest(privateKey: KeyObject, subject: SubjectName): Promise<Buffer> {
  const publicKey = createPublicKey(privateKey).toCryptoKey(
    { name: 'ECDSA', namedCurve: 'P-256' },
    true,
    ['verify'],
  )
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: nameOf(subject),
    keys: { privateKey: signingCryptoKey(privateKey), publicKey },
    signingAlgorithm: ECDSA_SHA256,
  })
  return Buffer.from(request.rawData)
}

/** PEM (RFC 7468) with lines of 64 characters. */
export function pemOf(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

/** Basic constraints (RFC 5280 §4.2.1.9), critical: a CA that signs leaves only. */
export function authorityConstraints(): Extension[] {
  return [
    new BasicConstraintsExtension(true, 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
  ]
}

/** CA:false and digitalSignature, both critical, and one extended key usage (§4.2.1.3, .9, .12). */
export function leafConstraints(usage: 'clientAuth' | 'serverAuth'): Extension[] {
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([OID[usage]]),
  ]
}

/** Subject alternative names (§4.2.1.6). */
export function alternativeNames(...names: readonly JsonGeneralName[]): Extension {
  return new SubjectAlternativeNameExtension([...names])
}

/** Any extension from its DER value, critical. */
export function criticalExtension(id: string, value: Buffer): Extension {
  return new Extension(id, true, value)
}

/** A string type is named, so the library never guesses one or reads `#` as hex. */
function nameOf(subject: SubjectName): Name {
  const organizations = subject.organizations ?? []
  return new Name([
    { CN: [{ utf8String: subject.commonName }] },
    ...organizations.map((organization) => ({ O: [{ utf8String: organization }] })),
  ])
}

function keyIdentifiers(fields: CertificateFields): Extension[] {
  const own = subjectKeyIdentifier(fields.publicKeyDer)
  const issuer =
    fields.issuer?.keyIdentifier ?? subjectKeyIdentifier(publicKeyDerOf(fields.signingKey))
  return [new SubjectKeyIdentifierExtension(own), new AuthorityKeyIdentifierExtension(issuer)]
}

/** Positive, and always 16 bytes long: the first byte is 40 to 7f. */
function newSerial(world: World): string {
  const bytes = Buffer.from(world.random(SERIAL_BYTES))
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString('hex')
}
