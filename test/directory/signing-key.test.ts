import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import {
  generateSigningKey,
  inviteSigningKey,
  publicKeyObject,
  signingKeyFromPem,
  signingKeyPem,
} from '../../src/directory/signing-key.ts'
import { keyId, publicJwkOf } from '../../src/protocol/keys.ts'

const FLEET = Buffer.alloc(32, 7).toString('base64url')
const SECRET = Buffer.alloc(16, 9).toString('base64url')

describe('a signing key', () => {
  test('is P-256, known by its thumbprint, and comes back from its PEM', () => {
    const key = generateSigningKey()
    const pem = signingKeyPem(key)
    expect(pem.reveal()).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/)
    expect(inspect(pem)).toBe('[secret]')
    const again = signingKeyFromPem(pem.reveal())
    expect([again.id, again.jwk]).toEqual([key.id, key.jwk])
    expect(key.id).toBe(keyId(publicJwkOf(createPublicKey(key.privateKey))!))
  })

  test('comes back from PKCS#8 as well', () => {
    const key = generateSigningKey()
    const pem = key.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    expect(signingKeyFromPem(pem).id).toBe(key.id)
  })

  test('of another kind, or damaged, is refused without being quoted', () => {
    const pems = [
      generateKeyPairSync('ed25519').privateKey,
      generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
    ].map((key) => key.export({ type: 'pkcs8', format: 'pem' }) as string)
    const damaged = signingKeyPem(generateSigningKey()).reveal().replaceAll('A', 'B')
    for (const pem of [...pems, damaged, '', 'nonsense']) {
      const attempt = () => signingKeyFromPem(pem)
      expect(attempt).toThrow(expect.objectContaining({ code: 'MCM_STATE_DAMAGED' }))
    }
  })
})

describe('an invite key', () => {
  test('follows from the secret and the fleet, as an Ed25519 key', () => {
    const key = inviteSigningKey(SECRET, FLEET)
    // Computed with Python's hmac and OpenSSL.
    expect(key.jwk).toEqual({
      crv: 'Ed25519',
      kty: 'OKP',
      x: 'nSD9ktkVHs6K2JLcccdoX1rcEEwW30v12oZJRzHr4E0',
    })
    const data = Buffer.from('data')
    expect(verify(null, data, publicKeyObject(key.jwk), sign(null, data, key.privateKey))).toBe(
      true,
    )
    expect(inviteSigningKey(SECRET, FLEET).id).toBe(key.id)
  })

  test('is another one for another secret and for another fleet', () => {
    const ids = [
      inviteSigningKey(SECRET, FLEET),
      inviteSigningKey(Buffer.alloc(16, 8).toString('base64url'), FLEET),
      inviteSigningKey(SECRET, Buffer.alloc(32, 8).toString('base64url')),
    ].map(({ id }) => id)
    expect(new Set(ids).size).toBe(3)
  })

  test('is not made from a secret of under 128 bits, a damaged one, or a damaged fingerprint', () => {
    for (const secret of [
      '',
      'AAAA',
      Buffer.alloc(15).toString('base64url'),
      `${SECRET}=`,
      `${SECRET} `,
    ])
      expect(() => inviteSigningKey(secret, FLEET)).toThrow(
        expect.objectContaining({ code: 'MCM_BAD_LINK' }),
      )
    expect(() => inviteSigningKey(SECRET, 'AAAA')).toThrow(
      expect.objectContaining({ code: 'MCM_BAD_LINK' }),
    )
  })
})
