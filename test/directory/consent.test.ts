import { compactVerify } from 'jose'
import { expect, test } from 'vitest'
import { isConsent, signConsent } from '../../src/directory/consent.ts'
import { generateSigningKey, publicKeyObject } from '../../src/directory/signing-key.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { sha256 } from '../../src/protocol/keys.ts'

const device = generateSigningKey()
const { publicKeyDer } = generateKeyPair()
const subject = { cluster: 'c-abcdefghij', publicKeyDer }
const consent = signConsent(device, subject)

test('a consent is the signature of the JWS that the protocol writes out', async () => {
  const header = { alg: 'ES256', jwk: device.jwk }
  const payload = {
    purpose: 'mcm certificate v1',
    cluster: subject.cluster,
    key: sha256(publicKeyDer),
  }
  const parts = [header, payload].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  )
  const jws = [...parts, consent].join('.')
  await expect(compactVerify(jws, publicKeyObject(device.jwk))).resolves.toBeDefined()
  expect(consent).toMatch(/^[A-Za-z0-9_-]{86}$/)
})

test('a consent counts for its device, cluster and key, and for no other', () => {
  expect(isConsent(device.jwk, subject, consent)).toBe(true)
  expect(isConsent(generateSigningKey().jwk, subject, consent)).toBe(false)
  expect(isConsent(device.jwk, { ...subject, cluster: 'c-bbbbbbbbbb' }, consent)).toBe(false)
  const other = generateKeyPair().publicKeyDer
  expect(isConsent(device.jwk, { ...subject, publicKeyDer: other }, consent)).toBe(false)
})

test.each([
  '',
  'A'.repeat(86),
  consent.slice(0, -2),
  `${consent}A`,
  `${consent}==`,
  'ü'.repeat(86),
])('what is no signature is no consent: %#', (text) => {
  expect(isConsent(device.jwk, subject, text)).toBe(false)
})
