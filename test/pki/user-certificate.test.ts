import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { parseCertificate } from '../../src/pki/certificate.ts'
import { derValue, TAG } from '../../src/pki/der.ts'
import { generateKeyPair, readPrivateKey } from '../../src/pki/key-pair.ts'
import { createKeyCertificate, issueServerCertificate } from '../../src/pki/profiles.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import {
  alternatives,
  attribute,
  DEVICE,
  extension,
  forgeUser,
  keyIdentifierOfKey,
  NOW,
  nameOf,
  type OidName,
  usages,
  userExtensions,
} from './forge.ts'

const world = { now: () => NOW, random: (bytes: number) => randomBytes(bytes) }
let authority: Authority
let twin: Authority

beforeAll(async () => {
  authority = await createAuthority(world, { commonName: 'mcm user CA' })
  twin = await createAuthority(world, { commonName: 'mcm user CA' })
})

function read(der: Buffer) {
  return readUserCertificate(der, authority.certificateDer)
}

/** The good certificate with some of its extensions changed, removed (undefined) or added. */
function withExtensions(changes: Record<string, Buffer | undefined>): Buffer {
  const all = { ...userExtensions(authority), ...changes }
  const extensions = Object.values(all).filter((value) => value !== undefined)
  return forgeUser(authority, { extensions })
}

function expectUntrusted(der: Buffer) {
  expect(() => read(der)).toThrow(
    expect.objectContaining({ name: 'TrustError', code: 'MCM_CERTIFICATE_UNTRUSTED' }),
  )
}

function expectForbidden(subject: Buffer) {
  expect(() => read(forgeUser(authority, { subject }))).toThrow(
    expect.objectContaining({ name: 'AccessDeniedError', code: 'MCM_FORBIDDEN' }),
  )
}

const bob = () => attribute('commonName', 'bob')

describe('a certificate of ours', () => {
  test('says user, groups, device, serial and dates', () => {
    const { publicKeyDer } = generateKeyPair()
    const der = forgeUser(authority, { publicKeyDer })
    expect(read(der)).toEqual({
      user: 'bob',
      groups: ['dev'],
      device: DEVICE,
      publicKeyDer,
      authority: sha256(authority.certificateDer),
      fingerprint: sha256(der),
      serial: '5a'.repeat(16),
      notBefore: new Date('2026-03-04T05:01:07Z'),
      notAfter: new Date('2026-03-04T17:06:07Z'),
    })
  })

  test('may name no group at all', () => {
    expect(read(forgeUser(authority, { subject: nameOf([bob()]) })).groups).toEqual([])
  })

  test('may name a user in PrintableString and in any script', () => {
    const printable = nameOf([attribute('commonName', 'bob', TAG.printableString)])
    expect(read(forgeUser(authority, { subject: printable })).user).toBe('bob')
    const polish = nameOf([attribute('commonName', 'Łukasz')], [attribute('organization', '運用')])
    expect(read(forgeUser(authority, { subject: polish }))).toMatchObject({
      user: 'Łukasz',
      groups: ['運用'],
    })
  })

  test('is read when long expired, for its dates are the caller’s to judge', () => {
    const old = forgeUser(authority, { notBefore: '200101000000Z', notAfter: '200102000000Z' })
    expect(read(old).notAfter).toEqual(new Date('2020-01-02T00:00:00Z'))
  })

  test('may hold an extension that is unknown and not critical', () => {
    const later = { later: extension('policyConstraints', '3000') }
    expect(read(withExtensions(later)).user).toBe('bob')
  })
})

describe('a certificate from elsewhere is refused', () => {
  test('of another cluster’s CA with the same name', () => {
    expectUntrusted(forgeUser(twin))
  })

  test('of another CA that copies our key identifier as well', () => {
    const extensions = Object.values(userExtensions(authority))
    expectUntrusted(forgeUser(twin, { extensions }))
  })

  test('of a CA with another name and our key’s signature', () => {
    expectUntrusted(forgeUser(authority, { issuer: nameOf([attribute('commonName', 'else')]) }))
  })

  test('of a CA whose name only prints the same', () => {
    const issuer = nameOf([attribute('commonName', 'mcm user CA', TAG.printableString)])
    expectUntrusted(forgeUser(authority, { issuer }))
  })

  test('without the key identifier of its issuer, or with another', () => {
    expectUntrusted(withExtensions({ authorityKeyIdentifier: undefined }))
    const other = derValue(TAG.sequence, derValue(0x80, randomBytes(20)))
    expectUntrusted(
      withExtensions({ authorityKeyIdentifier: extension('authorityKeyIdentifier', other) }),
    )
  })

  test('of the cluster’s server CA', async () => {
    const serverCa = await createAuthority(world, { commonName: 'mcm server CA' })
    const { publicKeyDer } = generateKeyPair()
    const host = 'c-aaaaaaaaaa.clusters.mcm.internal'
    const { der } = await issueServerCertificate(world, serverCa, { publicKeyDer, host }, 3600)
    expectUntrusted(der)
    expectUntrusted(forgeUser(serverCa))
  })

  test('self-signed, under the CA’s name too', async () => {
    const { privateKeyPem } = generateKeyPair()
    const signingKey = readPrivateKey(privateKeyPem)
    expectUntrusted(forgeUser(authority, { signingKey }))
    const pem = await createKeyCertificate(world, privateKeyPem)
    expectUntrusted(Buffer.from(pem.split('\n').slice(1, -2).join(''), 'base64'))
  })

  test('the CA’s own', () => {
    expectUntrusted(authority.certificateDer)
  })

  test('signed by a user’s certificate as if that were an intermediate', () => {
    const middle = generateKeyPair()
    const middleDer = forgeUser(authority, { publicKeyDer: middle.publicKeyDer })
    const authorityKeyIdentifier = extension(
      'authorityKeyIdentifier',
      derValue(TAG.sequence, derValue(0x80, keyIdentifierOfKey(middle.publicKeyDer))),
    )
    expectUntrusted(
      forgeUser(authority, {
        issuer: parseCertificate(middleDer).subject,
        signingKey: readPrivateKey(middle.privateKeyPem),
        extensions: Object.values({ ...userExtensions(authority), authorityKeyIdentifier }),
      }),
    )
  })

  test('with any single byte flipped', () => {
    const der = forgeUser(authority)
    for (let index = 0; index < der.length; index += 7) {
      const changed = Buffer.from(der)
      changed[index]! ^= 0x01
      expect(() => read(changed), `byte ${index}`).toThrow()
    }
  })
})

describe('another profile is refused, though our CA has signed it', () => {
  test.each<[string, Buffer | undefined]>([
    ['CA:true', extension('basicConstraints', '30030101ff', true)],
    ['CA:true with a path length', extension('basicConstraints', '30060101ff020100', true)],
    ['CA:false that is not critical', extension('basicConstraints', '3000')],
    ['CA:false written out, which is not DER', extension('basicConstraints', '3003010100', true)],
    ['no basic constraints', undefined],
  ])('%s', (_title, basicConstraints) => {
    expectUntrusted(withExtensions({ basicConstraints }))
  })

  test.each<[string, Buffer | undefined]>([
    ['keyCertSign besides', extension('keyUsage', '03020284', true)],
    ['keyEncipherment only', extension('keyUsage', '03020520', true)],
    ['key usage that is not critical', extension('keyUsage', '03020780')],
    ['no key usage', undefined],
  ])('%s', (_title, keyUsage) => {
    expectUntrusted(withExtensions({ keyUsage }))
  })

  test.each<[string, Buffer | undefined]>([
    ['serverAuth only', usages('serverAuth')],
    ['clientAuth and serverAuth', usages('clientAuth', 'serverAuth')],
    ['any extended key usage', usages('anyExtendedKeyUsage')],
    ['an empty list of usages', usages()],
    ['no extended key usage', undefined],
  ])('%s', (_title, extendedKeyUsage) => {
    expectUntrusted(withExtensions({ extendedKeyUsage }))
  })

  const device = `urn:mcm:device:${DEVICE}`
  const consent = `urn:mcm:consent:${'A'.repeat(86)}`
  test.each<[string, Buffer | undefined]>([
    ['no device', undefined],
    ['an empty list of names', alternatives()],
    ['two devices', alternatives([0x86, device], [0x86, `urn:mcm:device:${'B'.repeat(43)}`])],
    ['a consent alone', alternatives([0x86, consent])],
    ['a consent before the device', alternatives([0x86, consent], [0x86, device])],
    ['two consents', alternatives([0x86, device], [0x86, consent], [0x86, consent])],
    ['a consent cut short', alternatives([0x86, device], [0x86, consent.slice(0, -1)])],
    ['a consent in a DNS name', alternatives([0x86, device], [0x82, consent])],
    ['a device and a DNS name', alternatives([0x86, device], [0x82, 'bob.example'])],
    ['a device in a DNS name', alternatives([0x82, device])],
    ['another URI', alternatives([0x86, 'spiffe://mcm/bob'])],
    ['a device with something after it', alternatives([0x86, `${device}\n`])],
    ['a device with a NUL', alternatives([0x86, `${device}\0x`])],
    ['a device of 42 characters', alternatives([0x86, device.slice(0, -1)])],
  ])('%s', (_title, names) => {
    expectUntrusted(withExtensions({ alternatives: names }))
  })

  test('an unknown critical extension', () => {
    expectUntrusted(withExtensions({ unknown: extension('policyConstraints', '3000', true) }))
  })

  test('one extension twice', () => {
    expectUntrusted(withExtensions({ second: usages('clientAuth') }))
  })

  test('valid for more than 400 days, for no time, or backwards', () => {
    expectUntrusted(forgeUser(authority, { notAfter: '270501000000Z' }))
    expectUntrusted(forgeUser(authority, { notAfter: '260304050107Z' }))
    expectUntrusted(forgeUser(authority, { notAfter: '250304050107Z' }))
    expectUntrusted(forgeUser(authority, { notAfter: '99991231235959Z' }))
  })

  test('an RSA-1024, P-384, secp256k1, P-192 or Ed25519 key', () => {
    const spki = { type: 'spki', format: 'der' } as const
    const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export(spki)
    const ed25519 = generateKeyPairSync('ed25519').publicKey.export(spki)
    const curves = ['P-384', 'secp256k1', 'prime192v1'].map((namedCurve) =>
      generateKeyPairSync('ec', { namedCurve }).publicKey.export(spki),
    )
    for (const publicKeyDer of [rsa, ed25519, ...curves])
      expectUntrusted(forgeUser(authority, { publicKeyDer }))
  })

  test('a P-256 key with its curve spelt out, or a point that is not on it', () => {
    const explicit = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      paramEncoding: 'explicit',
    }).publicKey.export({ type: 'spki', format: 'der' })
    expectUntrusted(forgeUser(authority, { publicKeyDer: explicit }))
    const off = Buffer.from(generateKeyPair().publicKeyDer)
    off[off.length - 1]! ^= 1
    expectUntrusted(forgeUser(authority, { publicKeyDer: off }))
  })

  test('a signature with SHA-1 or SHA-384', () => {
    expectUntrusted(forgeUser(authority, { hash: 'sha1' }))
    expectUntrusted(forgeUser(authority, { hash: 'sha384' }))
  })

  test('a version other than 3, or a serial number that is negative, padded or too long', () => {
    expectUntrusted(forgeUser(authority, { version: Buffer.of(1) }))
    for (const serial of ['ff', '0001', '', `01${'00'.repeat(20)}`])
      expectUntrusted(forgeUser(authority, { serial: Buffer.from(serial, 'hex') }))
  })
})

describe('a subject that is not exactly one person is refused', () => {
  test.each([
    ['empty', ''],
    ['a space', ' '],
    ['NUL inside', 'bob\0admin'],
    ['a newline inside', 'bob\nadmin'],
    ['a newline at the end', 'bob\n'],
    ['the direction turned', 'bob\u202enimda'],
    ['a space at the end', 'bob '],
    ['a space at the start', ' bob'],
    ['300 bytes', 'b'.repeat(300)],
    ['254 bytes of UTF-8', 'ł'.repeat(127)],
    ['system:admin', 'system:admin'],
    ['System:Masters', 'System:Masters'],
    ['a service account', 'system:serviceaccount:kube-system:x'],
    ['a node', 'system:node:n'],
    ['a kube name', 'kube:admin'],
    ['the prefix that the agent adds', 'mcm:bob'],
    ['a whole second subject', 'bob\nO=system:masters'],
    ['a subject as one string', 'CN=a, O=system:masters'],
    ['letters that are not normalised', 'Jose\u0301'],
    ['an invisible letter', 'bob\u3164'],
    ['an invisible mark', 'bob\u034f'],
  ])('common name: %s', (_title, value) => {
    expectForbidden(nameOf([attribute('commonName', value)], [attribute('organization', 'dev')]))
  })

  test.each(['system:masters', 'system:nodes', 'system:unauthenticated', 'SYSTEM:masters', ''])(
    'organization: %j',
    (value) => {
      expectForbidden(nameOf([bob()], [attribute('organization', value)]))
      const second = attribute('organization', value)
      expectForbidden(nameOf([bob()], [attribute('organization', 'dev')], [second]))
    },
  )

  test('no common name, or two of them', () => {
    expectForbidden(nameOf([attribute('organization', 'dev')]))
    expectForbidden(nameOf([bob()], [attribute('commonName', 'alice')]))
    expectForbidden(nameOf([bob()], [bob()]))
    expectForbidden(nameOf())
  })

  test('several values in one RDN', () => {
    expectForbidden(nameOf([bob(), attribute('organization', 'dev')]))
    expectForbidden(
      nameOf([bob()], [attribute('organization', 'a'), attribute('organization', 'b')]),
    )
  })

  test.each<OidName>(['kubernetesUid', 'serialNumber'])('another attribute: %s', (which) => {
    expectForbidden(nameOf([bob()], [attribute(which, '1')]))
  })

  test('a string type other than UTF8String and PrintableString', () => {
    const [ia5, bmp, teletex] = [0x16, 0x1e, 0x14]
    expectForbidden(nameOf([attribute('commonName', 'bob', ia5)]))
    expectForbidden(nameOf([attribute('commonName', Buffer.from('\0b\0o\0b'), bmp)]))
    expectForbidden(nameOf([attribute('commonName', 'bob', teletex)]))
    expectForbidden(nameOf([attribute('commonName', 'bob@x', TAG.printableString)]))
  })

  test('bytes that are not UTF-8', () => {
    expectForbidden(nameOf([attribute('commonName', Buffer.from('6a6f73e9', 'hex'))]))
    expectForbidden(nameOf([attribute('commonName', Buffer.from('62c0af', 'hex'))]))
  })

  test('a byte-order mark before the name', () => {
    expectForbidden(nameOf([attribute('commonName', '\ufeffbob')]))
  })
})

describe('an encoding that is not DER is refused', () => {
  test('bytes after the certificate', () => {
    expectUntrusted(Buffer.concat([forgeUser(authority), Buffer.of(0)]))
  })

  test('a length longer than it must be', () => {
    const der = forgeUser(authority)
    const longer = Buffer.concat([Buffer.of(0x30, 0x83, 0), der.subarray(2)])
    expectUntrusted(longer)
  })

  test('a certificate of over 16 KiB', () => {
    const padding = extension('policyConstraints', Buffer.alloc(17_000))
    expectUntrusted(withExtensions({ padding }))
  })

  test('nothing, noise, and PEM', () => {
    for (const bytes of ['', '30', '3080', 'not a certificate', '-----BEGIN CERTIFICATE-----'])
      expectUntrusted(Buffer.from(bytes))
  })
})
