import { sign, verify } from 'node:crypto'
import { type PublicJwk, sha256 } from '../protocol/keys.ts'
import { publicKeyObject, type SigningKey } from './signing-key.ts'

/**
 * The consent of a device to a certificate that a cluster's owner issues (PROTOCOL §10): with it the owner's CA
 * alone cannot speak for anybody.
 */

const PURPOSE = 'mcm certificate v1'
const BYTES = 64

/** What is consented to: a certificate of this cluster for this key, a SubjectPublicKeyInfo. */
export interface ConsentSubject {
  readonly cluster: string
  readonly publicKeyDer: Uint8Array
}

/** The signature part of a JWS Compact that everybody can write out (ES256: RFC 7518 §3.4), base64url. */
export function signConsent(key: SigningKey, subject: ConsentSubject): string {
  const signed = { key: key.privateKey, dsaEncoding: 'ieee-p1363' } as const
  return sign('sha256', signedText(key.jwk, subject), signed).toString('base64url')
}

/** Whether this device has consented. Anything that is no signature is none. */
export function isConsent(device: PublicJwk, subject: ConsentSubject, consent: string): boolean {
  const signature = Buffer.from(consent, 'base64url')
  if (signature.length !== BYTES || signature.toString('base64url') !== consent) return false
  const key = { key: publicKeyObject(device), dsaEncoding: 'ieee-p1363' } as const
  return verify('sha256', signedText(device, subject), key, signature)
}

function signedText(jwk: PublicJwk, { cluster, publicKeyDer }: ConsentSubject): Buffer {
  const payload = { purpose: PURPOSE, cluster, key: sha256(publicKeyDer) }
  const parts = [{ alg: 'ES256', jwk }, payload].map((part) => JSON.stringify(part))
  return Buffer.from(parts.map((part) => Buffer.from(part).toString('base64url')).join('.'))
}
