import type { KeyObject } from 'node:crypto'
import { sha256 } from '../protocol/keys.ts'
import type { World } from '../world.ts'
import type { CertificateFields, SubjectName } from './certificate-fields.ts'

/**
 * Making a certificate out of fields. The library that does it takes a tenth of a second to load, so it
 * is loaded when the first certificate is made: whoever only reads certificates never waits for it.
 */

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

const SERIAL_BYTES = 16

/** Signs a certificate with a random serial number of 16 bytes (RFC 5280 §4.1.2.2). */
export async function mint(world: World, fields: CertificateFields): Promise<MintedCertificate> {
  const { signCertificate } = await import('./library.ts')
  const serial = newSerial(world)
  const der = await signCertificate(fields, serial)
  const { notBefore, notAfter } = fields
  const pem = pemOf('CERTIFICATE', der)
  return { pem, der, fingerprint: sha256(der), serial, notBefore, notAfter }
}

/** A PKCS #10 request (RFC 2986) for this key, as DER. */
export async function mintRequest(privateKey: KeyObject, subject: SubjectName): Promise<Buffer> {
  const { signRequest } = await import('./library.ts')
  return signRequest(privateKey, subject)
}

/** PEM (RFC 7468) with lines of 64 characters. */
export function pemOf(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

/** Positive, and always 16 bytes long: the first byte is 40 to 7f. */
function newSerial(world: World): string {
  const bytes = Buffer.from(world.random(SERIAL_BYTES))
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString('hex')
}
