import { createHash, createPrivateKey, type KeyObject, sign } from 'node:crypto'
import type { Authority } from '../../src/pki/authority.ts'
import { parseCertificate } from '../../src/pki/certificate.ts'
import { derValue, TAG } from '../../src/pki/der.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'

/**
 * Certificates and requests as an attacker makes them: any byte anywhere, signed by whatever key there is.
 * Without changes they are good ones, so that a test that changes one thing proves that one thing.
 */

export const DEVICE = 'A'.repeat(43)
export const NOW = new Date('2026-03-04T05:06:07Z')

const OIDS = {
  commonName: '550403',
  serialNumber: '550405',
  organization: '55040a',
  /** 1.3.6.1.4.1.57683.2, the user id that Kubernetes reads. */
  kubernetesUid: '2b0601040183c25302',
  subjectKeyIdentifier: '551d0e',
  keyUsage: '551d0f',
  subjectAlternativeName: '551d11',
  basicConstraints: '551d13',
  nameConstraints: '551d1e',
  authorityKeyIdentifier: '551d23',
  extendedKeyUsage: '551d25',
  policyConstraints: '551d24',
  serverAuth: '2b06010505070301',
  clientAuth: '2b06010505070302',
  anyExtendedKeyUsage: '551d2500',
} as const
export type OidName = keyof typeof OIDS

export const SIGNATURE_ALGORITHMS = {
  sha256: '300a06082a8648ce3d040302',
  sha384: '300a06082a8648ce3d040303',
  sha1: '300906072a8648ce3d0401',
} as const

export interface CertificateParts {
  readonly version: Buffer
  readonly serial: Buffer
  readonly hash: keyof typeof SIGNATURE_ALGORITHMS
  readonly issuer: Buffer
  readonly notBefore: string
  readonly notAfter: string
  readonly subject: Buffer
  readonly publicKeyDer: Buffer
  readonly extensions: readonly Buffer[]
  readonly signingKey: KeyObject
}

export function oid(which: OidName): Buffer {
  return derValue(TAG.objectIdentifier, Buffer.from(OIDS[which], 'hex'))
}

export function attribute(which: OidName, value: string | Buffer, tag: number = TAG.utf8String) {
  return derValue(TAG.sequence, oid(which), derValue(tag, Buffer.from(value)))
}

/** A name of one RDN for each list of attributes. */
export function nameOf(...rdns: readonly (readonly Buffer[])[]): Buffer {
  return derValue(TAG.sequence, ...rdns.map((attributes) => derValue(TAG.set, ...attributes)))
}

export function extension(which: OidName, value: Buffer | string, isCritical = false): Buffer {
  const critical = isCritical ? [derValue(TAG.boolean, Buffer.of(0xff))] : []
  const content = typeof value === 'string' ? Buffer.from(value, 'hex') : value
  return derValue(TAG.sequence, oid(which), ...critical, derValue(TAG.octetString, content))
}

export function usages(...names: readonly OidName[]): Buffer {
  return extension('extendedKeyUsage', derValue(TAG.sequence, ...names.map(oid)))
}

/** Alternative names from [tag, text] pairs: 0x86 is a URI, 0x82 a DNS name, 0x87 an address. */
export function alternatives(...names: readonly (readonly [number, string | Buffer])[]): Buffer {
  const values = names.map(([tag, text]) => derValue(tag, Buffer.from(text)))
  return extension('subjectAlternativeName', derValue(TAG.sequence, ...values))
}

/** The extensions of a user certificate by this CA, by name, for a test to change. */
export function userExtensions(authority: Authority): Record<string, Buffer> {
  const keyIdentifier = parseCertificate(authority.certificateDer)
    .extensions.get('2.5.29.14')!
    .value.subarray(2)
  return {
    basicConstraints: extension('basicConstraints', '3000', true),
    keyUsage: extension('keyUsage', '03020780', true),
    extendedKeyUsage: usages('clientAuth'),
    alternatives: alternatives([0x86, `urn:mcm:device:${DEVICE}`]),
    authorityKeyIdentifier: extension(
      'authorityKeyIdentifier',
      derValue(TAG.sequence, derValue(0x80, keyIdentifier)),
    ),
  }
}

/** A user certificate of bob in group dev, with `changes`. */
export function forgeUser(authority: Authority, changes: Partial<CertificateParts> = {}): Buffer {
  return forgeCertificate({
    version: Buffer.of(2),
    serial: Buffer.from('5a'.repeat(16), 'hex'),
    hash: 'sha256',
    issuer: parseCertificate(authority.certificateDer).subject,
    notBefore: '260304050107Z',
    notAfter: '260304170607Z',
    subject: nameOf([attribute('commonName', 'bob')], [attribute('organization', 'dev')]),
    publicKeyDer: generateKeyPair().publicKeyDer,
    extensions: Object.values(userExtensions(authority)),
    signingKey: createPrivateKey(authority.privateKeyPem.reveal()),
    ...changes,
  })
}

export function forgeCertificate(parts: CertificateParts): Buffer {
  const tbs = derValue(
    TAG.sequence,
    derValue(0xa0, derValue(TAG.integer, parts.version)),
    derValue(TAG.integer, parts.serial),
    Buffer.from(SIGNATURE_ALGORITHMS[parts.hash], 'hex'),
    parts.issuer,
    derValue(TAG.sequence, time(parts.notBefore), time(parts.notAfter)),
    parts.subject,
    parts.publicKeyDer,
    derValue(0xa3, derValue(TAG.sequence, ...parts.extensions)),
  )
  return signed(tbs, parts.signingKey, parts.hash)
}

/** A PKCS #10 request with any subject and attributes. */
export function forgeRequest(parts: {
  readonly subject: Buffer
  readonly publicKeyDer: Buffer
  readonly attributes: readonly Buffer[]
  readonly signingKey: KeyObject
  readonly hash?: keyof typeof SIGNATURE_ALGORITHMS
}): Buffer {
  const info = derValue(
    TAG.sequence,
    derValue(TAG.integer, Buffer.of(0)),
    parts.subject,
    parts.publicKeyDer,
    derValue(0xa0, ...parts.attributes),
  )
  return signed(info, parts.signingKey, parts.hash ?? 'sha256')
}

/** The attribute by which a request asks for extensions (PKCS #9 §5.4.2). */
export function extensionRequest(...extensions: readonly Buffer[]): Buffer {
  const type = derValue(TAG.objectIdentifier, Buffer.from('2a864886f70d01090e', 'hex'))
  const list = derValue(TAG.sequence, ...extensions)
  return derValue(TAG.sequence, type, derValue(TAG.set, list))
}

export function keyIdentifierOfKey(publicKeyDer: Buffer): Buffer {
  return createHash('sha256').update(publicKeyDer.subarray(-65)).digest().subarray(0, 20)
}

function signed(content: Buffer, key: KeyObject, hash: keyof typeof SIGNATURE_ALGORITHMS): Buffer {
  const signature = sign(hash, content, key)
  return derValue(
    TAG.sequence,
    content,
    Buffer.from(SIGNATURE_ALGORITHMS[hash], 'hex'),
    derValue(TAG.bitString, Buffer.of(0), signature),
  )
}

function time(text: string): Buffer {
  return derValue(text.length === 13 ? TAG.utcTime : TAG.generalizedTime, Buffer.from(text))
}
