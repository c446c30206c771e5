import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { StateError, UsageError } from '../errors.ts'
import { keyId, type PublicJwk, publicJwkOf } from '../protocol/keys.ts'
import { Secret } from '../secret.ts'

/** A key that signs statements: P-256 for fleets, devices and agents, Ed25519 for invites. */
export interface SigningKey {
  /** The key id (PROTOCOL §1). */
  readonly id: string
  readonly jwk: PublicJwk
  readonly privateKey: KeyObject
}

const INVITE_KEY_INFO = 'mcm invite key v1'
const MIN_SECRET_BYTES = 16
/** PKCS#8 of an Ed25519 private key (RFC 8410 §7) before its 32 bytes. */
const ED25519_PKCS8_PREFIX_HEX = '302e020100300506032b657004220420'

/** A fresh P-256 key. */
export function generateSigningKey(): SigningKey {
  return signingKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
}

/** A stored P-256 key, SEC1 or PKCS#8. @throws StateError MCM_STATE_DAMAGED */
export function signingKeyFromPem(pem: string): SigningKey {
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey(pem)
  } catch {
    // The cause is left out: OpenSSL may quote its input.
    throw new StateError('MCM_STATE_DAMAGED', 'a stored signing key cannot be read')
  }
  if (privateKey.asymmetricKeyDetails?.namedCurve === 'prime256v1') return signingKey(privateKey)
  throw new StateError('MCM_STATE_DAMAGED', 'a stored signing key is not a P-256 key')
}

/** The key as SEC1 `EC PRIVATE KEY`, the form every Kubernetes client reads as well. */
export function signingKeyPem(key: SigningKey): Secret<string> {
  return new Secret(key.privateKey.export({ type: 'sec1', format: 'pem' }) as string)
}

/**
 * The invite key of a link (PROTOCOL §2): HKDF-SHA256 of the secret, salted with the fleet fingerprint, is the
 * seed of an Ed25519 key. `secret`: 16 bytes or more, base64url. @throws UsageError MCM_BAD_LINK
 */
export function inviteSigningKey(secret: string, fleet: string): SigningKey {
  const ikm = Buffer.from(secret, 'base64url')
  const salt = Buffer.from(fleet, 'base64url')
  if (ikm.length < MIN_SECRET_BYTES || ikm.toString('base64url') !== secret || salt.length !== 32)
    throw new UsageError('MCM_BAD_LINK', 'this invite cannot be used: its secret is damaged', {
      hint: 'copy the whole link, in quotes, or ask for a new one (mcm invite)',
    })
  const seed = Buffer.from(hkdfSync('sha256', ikm, salt, INVITE_KEY_INFO, 32))
  const der = Buffer.concat([Buffer.from(ED25519_PKCS8_PREFIX_HEX, 'hex'), seed])
  return signingKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
}

/** The public key as Node takes it. The point must lie on the curve. @throws Error */
export function publicKeyObject(jwk: PublicJwk): KeyObject {
  return createPublicKey({ key: { ...jwk }, format: 'jwk' })
}

function signingKey(privateKey: KeyObject): SigningKey {
  const jwk = publicJwkOf(privateKey)
  if (!jwk) throw new TypeError('a signing key is P-256 or Ed25519')
  return { id: keyId(jwk), jwk, privateKey }
}
