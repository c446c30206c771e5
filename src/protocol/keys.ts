import { createHash, createPublicKey, type KeyObject } from 'node:crypto'

/** Public keys and fingerprints, one form everywhere (docs/PROTOCOL.md §1). */

/** A public P-256 or Ed25519 key as RFC 7517 JWK, without any other member. */
export type PublicJwk =
  | { readonly crv: 'P-256'; readonly kty: 'EC'; readonly x: string; readonly y: string }
  | { readonly crv: 'Ed25519'; readonly kty: 'OKP'; readonly x: string }

/** 32 bytes in their one base64url form: the last character carries 4 bits, so two must be zero. */
const COORDINATE = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/** The bare public JWK inside any JWK-like value, or undefined when it is no key of ours. */
export function publicJwk(value: unknown): PublicJwk | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { kty, crv, x, y } = value as Record<string, unknown>
  if (typeof x !== 'string' || !COORDINATE.test(x)) return undefined
  if (kty === 'OKP' && crv === 'Ed25519') return { crv, kty, x }
  if (kty !== 'EC' || crv !== 'P-256' || typeof y !== 'string' || !COORDINATE.test(y))
    return undefined
  return { crv, kty, x, y }
}

/** The public JWK of a key object, private or public; undefined for another algorithm. */
export function publicJwkOf(key: KeyObject): PublicJwk | undefined {
  const algorithm = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType
  if (algorithm !== 'prime256v1' && algorithm !== 'ed25519') return undefined
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  return publicJwk(publicKey.export({ format: 'jwk' }))
}

/** RFC 7638 thumbprint, SHA-256, base64url: the key id. PublicJwk members are already in its order. */
export function keyId(jwk: PublicJwk): string {
  const members = jwk.kty === 'EC' ? [jwk.crv, jwk.kty, jwk.x, jwk.y] : [jwk.crv, jwk.kty, jwk.x]
  const [crv, kty, x, y] = members
  return sha256(JSON.stringify(y === undefined ? { crv, kty, x } : { crv, kty, x, y }))
}

/** SHA-256, base64url without padding: 43 characters. Of a DER certificate it is its fingerprint. */
export function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('base64url')
}
