import { generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import { describe, expect, test } from 'vitest'
import { keyId, publicJwk, publicJwkOf, sha256 } from '../../src/protocol/keys.ts'

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ed25519 = generateKeyPairSync('ed25519')

describe('a key id', () => {
  test('is the RFC 7638 thumbprint, as another implementation computes it', async () => {
    for (const { publicKey } of [p256, ed25519]) {
      const jwk = publicJwkOf(publicKey)!
      expect(keyId(jwk)).toBe(await calculateJwkThumbprint({ ...jwk }, 'sha256'))
    }
  })

  test('is the thumbprint of RFC 8037 appendix A.3', () => {
    const x = '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'
    expect(keyId({ crv: 'Ed25519', kty: 'OKP', x })).toBe(
      'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
    )
  })

  test('is the same for the private and the public key', () => {
    expect(publicJwkOf(p256.privateKey)).toEqual(publicJwkOf(p256.publicKey))
  })
})

describe('a public JWK', () => {
  const jwk = publicJwkOf(p256.publicKey)!

  test('is the bare key, whatever stood besides', () => {
    const { d, ...rest } = p256.privateKey.export({ format: 'jwk' })
    expect(publicJwk({ ...rest, d, kid: 'x', use: 'sig' })).toEqual(jwk)
    expect(Object.keys(publicJwk({ ...rest, kid: 'x' })!)).toEqual(['crv', 'kty', 'x', 'y'])
  })

  test('of another algorithm, or of none, is none', () => {
    const others = [
      generateKeyPairSync('rsa', { modulusLength: 2048 }),
      generateKeyPairSync('ec', { namedCurve: 'P-384' }),
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
      generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }),
      generateKeyPairSync('x25519'),
      generateKeyPairSync('ed448'),
    ]
    for (const { publicKey, privateKey } of others) {
      expect(publicJwkOf(publicKey)).toBeUndefined()
      expect(publicJwkOf(privateKey)).toBeUndefined()
    }
    for (const value of [null, undefined, 'x', 1, [], {}, { kty: 'oct', k: 'AAAA' }])
      expect(publicJwk(value)).toBeUndefined()
  })

  test('with a coordinate missing, short, long or in a second spelling is none', () => {
    if (jwk.kty !== 'EC') throw new TypeError()
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const twin = `${jwk.x.slice(0, -1)}${alphabet[alphabet.indexOf(jwk.x.at(-1)!) + 1]}`
    expect(Buffer.from(twin, 'base64url')).toEqual(Buffer.from(jwk.x, 'base64url'))
    for (const x of [undefined, '', jwk.x.slice(1), `A${jwk.x}`, twin, `${jwk.x.slice(0, -1)}=`, 7])
      expect(publicJwk({ ...jwk, x })).toBeUndefined()
    expect(publicJwk({ ...jwk, y: undefined })).toBeUndefined()
    expect(publicJwk({ ...jwk, crv: 'P-384' })).toBeUndefined()
    expect(publicJwk({ ...jwk, kty: 'OKP' })).toBeUndefined()
  })
})

test('a fingerprint is 43 characters of base64url', () => {
  expect(sha256('')).toBe('47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU')
  expect(sha256(new Uint8Array())).toBe(sha256(''))
})
