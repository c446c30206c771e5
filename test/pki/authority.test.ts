import { createPublicKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { createAuthority, loadAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair, readPrivateKey } from '../../src/pki/key-pair.ts'
import { createKeyCertificate } from '../../src/pki/profiles.ts'
import { Secret } from '../../src/secret.ts'
import { NOW } from './forge.ts'

const world = { now: () => NOW, random: (bytes: number) => randomBytes(bytes) }
const damaged = expect.objectContaining({ name: 'StateError', code: 'MCM_STATE_DAMAGED' })

test('a new CA is self-signed, CA:true, for ten years, dated five minutes back', async () => {
  const authority = await createAuthority(world, { commonName: 'mcm user CA c-aaaaaaaaaa' })
  const certificate = new X509Certificate(authority.certificatePem)
  expect(certificate.subject).toBe('CN=mcm user CA c-aaaaaaaaaa')
  expect(certificate.ca).toBe(true)
  expect(certificate.verify(certificate.publicKey)).toBe(true)
  expect(certificate.checkIssued(certificate)).toBe(true)
  expect(certificate.validFromDate).toEqual(new Date('2026-03-04T05:01:07Z'))
  expect(certificate.validToDate).toEqual(authority.notAfter)
  expect(authority.notAfter).toEqual(new Date('2036-03-01T05:06:07Z'))
  expect(authority.certificateDer).toEqual(certificate.raw)
})

test('a CA may only sign leaves: path length 0 and keyCertSign, both critical', async () => {
  const { certificateDer } = await createAuthority(world, { commonName: 'ca' })
  const hex = certificateDer.toString('hex')
  expect(hex).toContain('0603551d130101ff040830060101ff020100')
  expect(hex).toContain('0603551d0f0101ff040403020204')
})

test('two CAs of one name differ in key and key identifier', async () => {
  const [first, second] = await Promise.all([
    createAuthority(world, { commonName: 'ca' }),
    createAuthority(world, { commonName: 'ca' }),
  ])
  const [a, b] = [
    new X509Certificate(first.certificatePem),
    new X509Certificate(second.certificatePem),
  ]
  expect(a.publicKey.equals(b.publicKey)).toBe(false)
  expect(a.checkIssued(b)).toBe(false)
})

test('keys are P-256, written as SEC1, and never printed', async () => {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  expect(privateKeyPem.reveal()).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/)
  const publicKey = createPublicKey({ key: publicKeyDer, format: 'der', type: 'spki' })
  expect(publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' })
  const authority = await createAuthority(world, { commonName: 'ca' })
  expect(inspect(authority) + JSON.stringify(authority)).not.toContain('PRIVATE KEY')
})

test('a stored CA loads as it was, and a foreign key beside it is noticed', async () => {
  const authority = await createAuthority(world, { commonName: 'ca' })
  const { certificatePem, privateKeyPem } = authority
  expect(loadAuthority(certificatePem, privateKeyPem)).toEqual(authority)
  const foreign = generateKeyPair().privateKeyPem
  expect(() => loadAuthority(certificatePem, foreign)).toThrow(damaged)
})

test('a stored CA that is damaged, or no CA, is refused and its key is not quoted', async () => {
  const { privateKeyPem } = generateKeyPair()
  const leaf = await createKeyCertificate(world, privateKeyPem)
  expect(() => loadAuthority(leaf, privateKeyPem)).toThrow(damaged)
  expect(() => loadAuthority('not a certificate', privateKeyPem)).toThrow(damaged)
  const broken = new Secret(privateKeyPem.reveal().replace('BEGIN EC', 'BEGIN XX'))
  expect(() => readPrivateKey(broken)).toThrow(damaged)
  try {
    readPrivateKey(broken)
  } catch (error) {
    expect(inspect(error)).not.toContain(privateKeyPem.reveal().split('\n')[1])
  }
})

test('a stored private key of another kind is refused', () => {
  const pems = [
    generateKeyPairSync('ed25519').privateKey,
    generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  ].map((key) => new Secret(key.export({ type: 'pkcs8', format: 'pem' }) as string))
  for (const pem of pems) expect(() => readPrivateKey(pem)).toThrow(damaged)
})
