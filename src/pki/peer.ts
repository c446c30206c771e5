import { keyId, publicJwkOf } from '../protocol/keys.ts'
import { p256PublicKey, parseCertificate } from './certificate.ts'

/**
 * The key id of the P-256 key in a certificate that a TLS peer has just proved to hold; undefined for
 * anything else. Who signed the certificate, its names and its dates are not looked at (PROTOCOL §4).
 */
export function peerKeyId(der: Buffer): string | undefined {
  try {
    const jwk = publicJwkOf(p256PublicKey(parseCertificate(der).publicKeyDer))
    return jwk && keyId(jwk)
  } catch {
    return undefined
  }
}
