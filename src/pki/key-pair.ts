import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  type webcrypto,
} from 'node:crypto'
import { StateError } from '../errors.ts'
import { Secret } from '../secret.ts'

/** A fresh key. Only P-256: it is the one that every client, smart card and TPM knows. */
export interface KeyPair {
  /** SEC1, `EC PRIVATE KEY`: the one form every Kubernetes client reads. */
  readonly privateKeyPem: Secret<string>
  /** SubjectPublicKeyInfo. */
  readonly publicKeyDer: Buffer
}

export function generateKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    privateKeyPem: new Secret(privateKey.export({ type: 'sec1', format: 'pem' }) as string),
    publicKeyDer: publicKey.export({ type: 'spki', format: 'der' }),
  }
}

/** A stored P-256 private key, SEC1 or PKCS#8. @throws StateError MCM_STATE_DAMAGED */
export function readPrivateKey(privateKeyPem: Secret<string>): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(privateKeyPem.reveal())
  } catch {
    // The cause is left out: OpenSSL may quote its input.
    throw new StateError('MCM_STATE_DAMAGED', 'a stored private key cannot be read')
  }
  if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key
  throw new StateError('MCM_STATE_DAMAGED', 'a stored private key is not a P-256 key')
}

/** The SubjectPublicKeyInfo of a private key. */
export function publicKeyDerOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
}

/** The private key for WebCrypto, which the certificate library signs with. */
export function signingCryptoKey(privateKey: KeyObject): webcrypto.CryptoKey {
  return privateKey.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
}

/** Subject key identifier: the first 160 bits of SHA-256 over the key (RFC 7093 §2, method 1). */
export function subjectKeyIdentifier(publicKeyDer: Buffer): string {
  const point = publicKeyDer.subarray(-65)
  return createHash('sha256').update(point).digest('hex').slice(0, 40)
}
