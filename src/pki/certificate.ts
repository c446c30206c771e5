import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import {
  DerError,
  DerReader,
  readBoolean,
  readDer,
  readObjectIdentifier,
  readTime,
  readWholeBytes,
  TAG,
} from './der.ts'

/** The structure of a certificate (RFC 5280 §4.1), taken apart strictly and judged nowhere here. */

export interface CertificateExtension {
  readonly isCritical: boolean
  readonly value: Buffer
}

/** One attribute of a distinguished name; `tag` says which string type it is. */
export interface NameAttribute {
  readonly type: string
  readonly tag: number
  readonly value: Buffer
}

export interface Certificate {
  readonly der: Buffer
  readonly toBeSigned: Buffer
  readonly signature: Buffer
  readonly signatureAlgorithm: Buffer
  /** Lower-case hex, two digits a byte. */
  readonly serial: string
  /** The DER of the name, to be compared byte by byte. */
  readonly issuer: Buffer
  readonly subject: Buffer
  readonly notBefore: Date
  readonly notAfter: Date
  /** SubjectPublicKeyInfo. */
  readonly publicKeyDer: Buffer
  /** By object identifier. */
  readonly extensions: ReadonlyMap<string, CertificateExtension>
}

export const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const

/** Far above any certificate of ours, far below what costs time. */
const MAX_CERTIFICATE_BYTES = 16_384

/** AlgorithmIdentifier ecdsa-with-SHA256 (RFC 5758 §3.2: no parameters). */
const ECDSA_WITH_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex')
/** Everything of a P-256 SubjectPublicKeyInfo before the 64 bytes of an uncompressed point (RFC 5480). */
const P256_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')
const P256_PUBLIC_KEY_BYTES = P256_PREFIX.length + 64

const VERSION_3 = 2
const [EXPLICIT_0, EXPLICIT_3] = [0xa0, 0xa3]

/** Takes an X.509 v3 certificate apart. @throws DerError for anything else, also over 16 KiB */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.byteLength > MAX_CERTIFICATE_BYTES) throw new DerError('it is over 16 KiB')
  const whole = readDer(der, TAG.sequence)
  const parts = new DerReader(whole.content)
  const tbs = parts.take(TAG.sequence)
  const signatureAlgorithm = parts.take(TAG.sequence).raw
  const signature = readWholeBytes(parts.take(TAG.bitString).content)
  parts.end()
  const fields = parseToBeSigned(new DerReader(tbs.content))
  if (!fields.innerAlgorithm.equals(signatureAlgorithm))
    throw new DerError('it names two signature algorithms')
  return { der: whole.raw, toBeSigned: tbs.raw, signature, signatureAlgorithm, ...fields }
}

function parseToBeSigned(fields: DerReader) {
  const version = readDer(fields.take(EXPLICIT_0).content, TAG.integer).content
  if (version.length !== 1 || version[0] !== VERSION_3) throw new DerError('it is not version 3')
  const serial = readSerial(fields.take(TAG.integer).content)
  const innerAlgorithm = fields.take(TAG.sequence).raw
  const issuer = fields.take(TAG.sequence).raw
  const validity = fields.enter(TAG.sequence)
  const notBefore = readTime(validity.next())
  const notAfter = readTime(validity.next())
  validity.end()
  const subject = fields.take(TAG.sequence).raw
  const publicKeyDer = fields.take(TAG.sequence).raw
  const extensions = parseExtensions(fields.enter(EXPLICIT_3).enter(TAG.sequence))
  fields.end()
  return { serial, innerAlgorithm, issuer, notBefore, notAfter, subject, publicKeyDer, extensions }
}

/** RFC 5280 §4.1.2.2: positive, at most 20 bytes. */
function readSerial(content: Buffer): string {
  const [first, second] = content
  const isPadded = first === 0 && (second ?? 0) < 0x80
  if (first === undefined || first >= 0x80 || isPadded || content.length > 20)
    throw new DerError('its serial number is not a positive number of at most 20 bytes')
  return content.toString('hex')
}

function parseExtensions(list: DerReader): Map<string, CertificateExtension> {
  const extensions = new Map<string, CertificateExtension>()
  while (!list.isEmpty) {
    const fields = list.enter(TAG.sequence)
    const id = readObjectIdentifier(fields.take(TAG.objectIdentifier).content)
    const critical = fields.takeIf(TAG.boolean)
    // DER leaves a default out: `critical FALSE` is never written.
    if (critical && !readBoolean(critical.content)) throw new DerError(`extension ${id} is not DER`)
    const value = fields.take(TAG.octetString).content
    fields.end()
    if (extensions.has(id)) throw new DerError(`extension ${id} stands twice`)
    extensions.set(id, { isCritical: critical !== undefined, value })
  }
  return extensions
}

/** A distinguished name as its RDNs, each a list of attributes. @throws DerError */
export function parseName(der: Buffer): NameAttribute[][] {
  const sequence = new DerReader(readDer(der, TAG.sequence).content)
  const names: NameAttribute[][] = []
  while (!sequence.isEmpty) {
    const set = sequence.enter(TAG.set)
    const attributes: NameAttribute[] = []
    while (!set.isEmpty) attributes.push(parseAttribute(set.enter(TAG.sequence)))
    if (attributes.length === 0) throw new DerError('a name with an empty part')
    names.push(attributes)
  }
  return names
}

function parseAttribute(fields: DerReader): NameAttribute {
  const type = readObjectIdentifier(fields.take(TAG.objectIdentifier).content)
  const { tag, content } = fields.next()
  fields.end()
  return { type, tag, value: content }
}

/** The P-256 key in a SubjectPublicKeyInfo. @throws DerError for another algorithm or encoding */
export function p256PublicKey(publicKeyDer: Buffer): KeyObject {
  const isP256 =
    publicKeyDer.length === P256_PUBLIC_KEY_BYTES &&
    publicKeyDer.subarray(0, P256_PREFIX.length).equals(P256_PREFIX)
  if (!isP256) throw new DerError('its key is not P-256')
  try {
    return createPublicKey({ key: publicKeyDer, format: 'der', type: 'spki' })
  } catch {
    throw new DerError('its key is not a point of P-256')
  }
}

/** Whether `signature` over exactly these bytes is ECDSA with SHA-256 by this P-256 key. */
export function isSignedBy(
  signed: { toBeSigned: Buffer; signature: Buffer; signatureAlgorithm: Buffer },
  publicKey: KeyObject,
): boolean {
  if (!signed.signatureAlgorithm.equals(ECDSA_WITH_SHA256)) return false
  return verify('sha256', signed.toBeSigned, publicKey, signed.signature)
}
