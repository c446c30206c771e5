import { createPublicKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { peerKeyId } from '../../src/pki/peer.ts'
import { createKeyCertificate } from '../../src/pki/profiles.ts'
import { keyId, publicJwkOf } from '../../src/protocol/keys.ts'
import { forgeUser, NOW } from './forge.ts'

const world = { now: () => NOW, random: (bytes: number) => randomBytes(bytes) }

test('a peer is known by the key it proved, whoever signed its certificate and whenever', async () => {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const id = keyId(
    publicJwkOf(createPublicKey({ key: publicKeyDer, format: 'der', type: 'spki' }))!,
  )
  expect(peerKeyId(new X509Certificate(await createKeyCertificate(world, privateKeyPem)).raw)).toBe(
    id,
  )
  const authority = await createAuthority(world, { commonName: 'any' })
  const old = { publicKeyDer, notBefore: '200101000000Z', notAfter: '200102000000Z' }
  expect(peerKeyId(forgeUser(authority, old))).toBe(id)
})

test('no certificate, noise, or a key of another kind names nobody', async () => {
  const authority = await createAuthority(world, { commonName: 'any' })
  const spki = { type: 'spki', format: 'der' } as const
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export(spki)
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export(spki)
  expect(peerKeyId(Buffer.alloc(0))).toBeUndefined()
  expect(peerKeyId(randomBytes(500))).toBeUndefined()
  expect(peerKeyId(forgeUser(authority, { publicKeyDer: rsa }))).toBeUndefined()
  expect(peerKeyId(forgeUser(authority, { publicKeyDer: p384 }))).toBeUndefined()
})
