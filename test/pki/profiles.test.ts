import { randomBytes, X509Certificate } from 'node:crypto'
import { beforeAll, expect, test } from 'vitest'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { parseCertificate } from '../../src/pki/certificate.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import {
  createKeyCertificate,
  issueLoopbackCertificate,
  issueServerCertificate,
  issueUserCertificate,
} from '../../src/pki/profiles.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { DEVICE, NOW } from './forge.ts'

const world = { now: () => NOW, random: (bytes: number) => randomBytes(bytes) }
const { publicKeyDer } = generateKeyPair()
const bob = { publicKeyDer, user: 'bob', groups: ['dev', 'qa'], device: DEVICE }
let authority: Authority

beforeAll(async () => {
  authority = await createAuthority(world, { commonName: 'mcm user CA c-aaaaaaaaaa' })
})

test('a user certificate reads back as what was issued', async () => {
  const issued = await issueUserCertificate(world, authority, bob, 12 * 3600)
  const { pem, der, ...said } = issued
  const read = readUserCertificate(der, authority.certificateDer)
  const { publicKeyDer } = bob
  expect(read).toEqual({
    user: 'bob',
    groups: ['dev', 'qa'],
    device: DEVICE,
    publicKeyDer,
    authority: sha256(authority.certificateDer),
    ...said,
  })
  expect(said.notBefore).toEqual(new Date('2026-03-04T05:01:07Z'))
  expect(said.notAfter).toEqual(new Date('2026-03-04T17:06:07Z'))
  expect(said.fingerprint).toBe(sha256(der))
  expect(new X509Certificate(pem).raw).toEqual(der)
})

test('where the owner issues it carries the consent of the device, and nothing that is none', async () => {
  const consent = 'B'.repeat(85).concat('A')
  const { der, pem } = await issueUserCertificate(world, authority, { ...bob, consent }, 60)
  expect(readUserCertificate(der, authority.certificateDer)).toMatchObject({ consent })
  const names = [`urn:mcm:device:${DEVICE}`, `urn:mcm:consent:${consent}`]
  expect(new X509Certificate(pem).subjectAltName).toBe(
    names.map((name) => `URI:${name}`).join(', '),
  )
  for (const damaged of ['', 'short', `${consent}, DNS:evil`])
    await expect(
      issueUserCertificate(world, authority, { ...bob, consent: damaged }, 60),
    ).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
})

test('a user certificate has one RDN a value, all UTF8String, as kubectl’s server reads them', async () => {
  const { pem } = await issueUserCertificate(
    world,
    authority,
    { ...bob, user: 'Łukasz', groups: ['dev', 'dev', 'a@b.c'] },
    60,
  )
  const { subject, keyUsage, subjectAltName, ca } = new X509Certificate(pem)
  expect(subject).toBe('CN=Łukasz\nO=dev\nO=a@b.c')
  expect(keyUsage).toEqual(['1.3.6.1.5.5.7.3.2'])
  expect(subjectAltName).toBe(`URI:urn:mcm:device:${DEVICE}`)
  expect(ca).toBe(false)
})

test('a certificate never outlives its CA, and an ended CA issues nothing', async () => {
  const short = await createAuthority(world, { commonName: 'short', validityDays: 1 })
  const { notAfter } = await issueUserCertificate(world, short, bob, 3 * 86_400)
  expect(notAfter).toEqual(short.notAfter)
  const later = { ...world, now: () => new Date(short.notAfter.getTime() + 1000) }
  await expect(issueUserCertificate(later, short, bob, 60)).rejects.toMatchObject({
    code: 'MCM_STATE_DAMAGED',
  })
})

test('names that no certificate may hold are refused before anything is signed', async () => {
  for (const user of ['', 'system:admin', 'a\nb', 'bob ', 'x'.repeat(254), 'O=x', '#41']) {
    const issued = issueUserCertificate(world, authority, { ...bob, user }, 60)
    await expect(issued, user).rejects.toMatchObject({ code: 'MCM_BAD_NAME' })
    const groups = issueUserCertificate(world, authority, { ...bob, groups: ['dev', user] }, 60)
    await expect(groups, user).rejects.toMatchObject({ code: 'MCM_BAD_NAME' })
  }
})

test('a device, a lifetime or a key that is none is refused', async () => {
  const bad = { code: 'MCM_BAD_REQUEST' }
  const device = `${DEVICE}x`
  await expect(
    issueUserCertificate(world, authority, { ...bob, device }, 60),
  ).rejects.toMatchObject(bad)
  for (const seconds of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 401 * 86_400])
    await expect(issueUserCertificate(world, authority, bob, seconds)).rejects.toMatchObject(bad)
  const noKey = { ...bob, publicKeyDer: Buffer.from('3000', 'hex') }
  await expect(issueUserCertificate(world, authority, noKey, 60)).rejects.toMatchObject(bad)
})

test('an agent’s certificate has the one host as its only name', async () => {
  const host = 'enrol.c-aaaaaaaaaa.clusters.mcm.internal'
  const { pem } = await issueServerCertificate(world, authority, { publicKeyDer, host }, 86_400)
  const certificate = new X509Certificate(pem)
  expect(certificate.subjectAltName).toBe(`DNS:${host}`)
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
  expect(certificate.ca).toBe(false)
  for (const wrong of ['*.clusters.mcm.internal', 'a..b', '', '10.0.0.1', 'a\0b'])
    await expect(
      issueServerCertificate(world, authority, { publicKeyDer, host: wrong }, 60),
    ).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
})

test('the local proxy’s certificate is for this machine only', async () => {
  const { pem } = await issueLoopbackCertificate(world, authority, { publicKeyDer }, 86_400)
  const names = new X509Certificate(pem).subjectAltName
  expect(names).toBe('DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1')
})

test('a key’s certificate is a self-signed leaf from yesterday to ten years ahead', async () => {
  const certificate = new X509Certificate(
    await createKeyCertificate(world, generateKeyPair().privateKeyPem),
  )
  expect(certificate.verify(certificate.publicKey)).toBe(true)
  expect(certificate.ca).toBe(false)
  expect(certificate.validFromDate).toEqual(new Date('2026-03-03T05:06:07Z'))
  expect(certificate.validToDate).toEqual(new Date('2036-03-01T05:06:07Z'))
})

test('serial numbers are 16 bytes, positive whatever the random bytes are, and taken from the world', async () => {
  for (const byte of [0x00, 0xff]) {
    const frozen = { now: () => NOW, random: (bytes: number) => Buffer.alloc(bytes, byte) }
    const { der, serial } = await issueUserCertificate(frozen, authority, bob, 60)
    expect(serial).toHaveLength(32)
    expect(parseCertificate(der).serial).toBe(serial)
    expect(Number.parseInt(serial.slice(0, 2), 16)).toBeLessThan(0x80)
  }
})
