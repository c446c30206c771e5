import { randomBytes, X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createAuthority } from '../../src/pki/authority.ts'
import { derValue, TAG } from '../../src/pki/der.ts'
import { checkHubCertificate, createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair, readPrivateKey } from '../../src/pki/key-pair.ts'
import {
  alternatives,
  attribute,
  type CertificateParts,
  extension,
  forgeCertificate,
  NOW,
  nameOf,
  usages,
} from './forge.ts'

const world = { now: () => NOW, random: (bytes: number) => randomBytes(bytes) }
const HOST = 'hub.example.com'
const [DNS, IP] = [0x82, 0x87]

type Subtree = readonly [number, string | Buffer]

function constraints(permitted: readonly Subtree[], excluded: readonly Subtree[]): Buffer {
  const list = (tag: number, subtrees: readonly Subtree[]) =>
    subtrees.length === 0
      ? Buffer.alloc(0)
      : derValue(
          tag,
          ...subtrees.map(([kind, base]) =>
            derValue(TAG.sequence, derValue(kind, Buffer.from(base))),
          ),
        )
  return derValue(TAG.sequence, list(0xa0, permitted), list(0xa1, excluded))
}

const good: Record<string, Buffer | undefined> = {
  basicConstraints: extension('basicConstraints', '3000', true),
  keyUsage: extension('keyUsage', '03020780', true),
  extendedKeyUsage: usages('serverAuth'),
  names: alternatives([DNS, HOST]),
  constraints: extension('nameConstraints', constraints([[DNS, HOST]], [[DNS, 'internal']]), true),
}

/** A good hub certificate, self-signed, with some extensions or parts changed. */
function forgeHub(
  extensions: Record<string, Buffer | undefined>,
  changes: Partial<CertificateParts> = {},
): Buffer {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const name = nameOf([attribute('commonName', 'mcm hub')])
  return forgeCertificate({
    version: Buffer.of(2),
    serial: Buffer.from('5a'.repeat(16), 'hex'),
    hash: 'sha256',
    issuer: name,
    subject: name,
    notBefore: '260304050107Z',
    notAfter: '360304050107Z',
    publicKeyDer,
    extensions: Object.values({ ...good, ...extensions }).filter((value) => value !== undefined),
    signingKey: readPrivateKey(privateKeyPem),
    ...changes,
  })
}

function expectRefused(der: Buffer, endpoints?: readonly string[]) {
  expect(() => checkHubCertificate(der, { now: NOW, ...(endpoints ? { endpoints } : {}) })).toThrow(
    expect.objectContaining({ name: 'TrustError', code: 'MCM_CERTIFICATE_UNTRUSTED' }),
  )
}

async function createHub(endpoints: readonly string[]) {
  return createHubCertificate(world, generateKeyPair().privateKeyPem, endpoints)
}

describe('the hub’s own certificate', () => {
  test('names exactly its endpoints, once each, and passes our own check', async () => {
    const endpoints = [
      'Hub.Example.com:8443',
      'hub.example.com:443',
      '10.1.2.3:8443',
      '[2001:DB8::1]:8443',
    ]
    const { der, pem } = await createHub(endpoints)
    checkHubCertificate(der, { now: NOW, endpoints })
    expect(new X509Certificate(pem).subjectAltName).toBe(
      'DNS:hub.example.com, IP Address:10.1.2.3, IP Address:2001:DB8:0:0:0:0:0:1',
    )
  })

  test('carries critical name constraints: its endpoints permitted, "internal" excluded', async () => {
    const { der } = await createHub(['hub.example.com:8443', '10.1.2.3:8443'])
    const address = Buffer.from([10, 1, 2, 3, 255, 255, 255, 255])
    const expected = constraints(
      [
        [DNS, HOST],
        [IP, address],
      ],
      [[DNS, 'internal']],
    )
    expect(der.includes(extension('nameConstraints', expected, true))).toBe(true)
  })

  test('still excludes "internal" when it is reached by address only', async () => {
    const { der } = await createHub(['10.1.2.3:8443'])
    checkHubCertificate(der, { now: NOW, endpoints: ['10.1.2.3:8443'] })
    const excluded = derValue(0xa1, derValue(TAG.sequence, derValue(DNS, Buffer.from('internal'))))
    expect(der.includes(excluded)).toBe(true)
  })

  test.each([
    '*.example.com:8443',
    'internal:8443',
    'hub.internal:8443',
    'c-aaaaaaaaaa.clusters.mcm.INTERNAL:443',
    'hub.internal.:8443',
    'hub.example.com',
    'hub.example.com:0',
    'hub.example.com:99999',
    '1.2.3:8443',
    'fe80::1:8443',
    '[fe80::1%eth0]:8443',
    'hub..example.com:8443',
    'hub_1.example.com:8443',
    '',
  ])('is not made for %j', async (endpoint) => {
    await expect(createHub([endpoint])).rejects.toMatchObject({ code: 'MCM_BAD_NAME' })
  })

  test('is not made for no endpoint', async () => {
    await expect(createHub([])).rejects.toMatchObject({ code: 'MCM_BAD_NAME' })
  })
})

describe('a client', () => {
  test('accepts the good one (so that every refusal below has its own reason)', () => {
    checkHubCertificate(forgeHub({}), { now: NOW, endpoints: [`${HOST}:1`] })
  })

  test.each<[string, Record<string, Buffer | undefined>]>([
    ['CA:true', { basicConstraints: extension('basicConstraints', '30030101ff', true) }],
    ['no basic constraints', { basicConstraints: undefined }],
    ['keyCertSign', { keyUsage: extension('keyUsage', '03020284', true) }],
    ['no key usage', { keyUsage: undefined }],
    ['clientAuth as well', { extendedKeyUsage: usages('serverAuth', 'clientAuth') }],
    ['any usage', { extendedKeyUsage: usages('anyExtendedKeyUsage') }],
    ['no extended key usage', { extendedKeyUsage: undefined }],
    ['no names', { names: undefined }],
    ['an unknown critical extension', { unknown: extension('policyConstraints', '3000', true) }],
    ['no name constraints', { constraints: undefined }],
    [
      'name constraints that are not critical',
      {
        constraints: extension('nameConstraints', constraints([[DNS, HOST]], [[DNS, 'internal']])),
      },
    ],
    [
      'nothing excluded',
      { constraints: extension('nameConstraints', constraints([[DNS, HOST]], []), true) },
    ],
    [
      'something else excluded',
      {
        constraints: extension(
          'nameConstraints',
          constraints([[DNS, HOST]], [[DNS, 'other.internal']]),
          true,
        ),
      },
    ],
    [
      'more permitted than named',
      {
        constraints: extension(
          'nameConstraints',
          constraints(
            [
              [DNS, HOST],
              [DNS, 'example.org'],
            ],
            [[DNS, 'internal']],
          ),
          true,
        ),
      },
    ],
    [
      'everything permitted',
      {
        constraints: extension(
          'nameConstraints',
          constraints([[DNS, '']], [[DNS, 'internal']]),
          true,
        ),
      },
    ],
    [
      'an address named with a whole network permitted',
      {
        names: alternatives([IP, Buffer.from([10, 1, 2, 3])]),
        constraints: extension(
          'nameConstraints',
          constraints([[IP, Buffer.from([10, 0, 0, 0, 255, 0, 0, 0])]], [[DNS, 'internal']]),
          true,
        ),
      },
    ],
    ['a name that is not permitted', { names: alternatives([DNS, HOST], [DNS, 'example.org']) }],
  ])('refuses %s', (_title, extensions) => {
    expectRefused(forgeHub(extensions))
  })

  test.each<[string, Subtree]>([
    ['a wildcard', [DNS, '*.example.com']],
    ['a lone wildcard', [DNS, '*']],
    ['internal itself', [DNS, 'internal']],
    ['a cluster host', [DNS, 'c-aaaaaaaaaa.clusters.mcm.internal']],
    ['a cluster host in capitals', [DNS, 'C-AAAAAAAAAA.CLUSTERS.MCM.INTERNAL']],
    ['a cluster host with a trailing dot', [DNS, 'c-aaaaaaaaaa.clusters.mcm.internal.']],
    ['a name with a NUL', [DNS, 'hub.example.com\0.internal']],
    ['an address of five bytes', [IP, Buffer.alloc(5)]],
    ['a URI', [0x86, 'https://hub.example.com']],
  ])('refuses a name that is %s', (_title, name) => {
    const permitted = constraints([name], [[DNS, 'internal']])
    expectRefused(
      forgeHub({
        names: alternatives(name),
        constraints: extension('nameConstraints', permitted, true),
      }),
    )
  })

  test('refuses one that says somebody else issued it, though its own key signed', () => {
    expectRefused(forgeHub({}, { issuer: nameOf([attribute('commonName', 'hub CA')]) }))
  })

  test('refuses name constraints with a third list, or a subtree with a depth', () => {
    const subtree = derValue(TAG.sequence, derValue(DNS, Buffer.from(HOST)))
    const deep = derValue(
      TAG.sequence,
      derValue(DNS, Buffer.from(HOST)),
      derValue(0x80, Buffer.of(1)),
    )
    const excluded = derValue(0xa1, derValue(TAG.sequence, derValue(DNS, Buffer.from('internal'))))
    const build = (permitted: Buffer, ...more: Buffer[]) => {
      const value = derValue(TAG.sequence, derValue(0xa0, permitted), excluded, ...more)
      return forgeHub({ constraints: extension('nameConstraints', value, true) })
    }
    checkHubCertificate(build(subtree), { now: NOW })
    expectRefused(build(subtree, derValue(0xa2)))
    expectRefused(build(deep))
  })

  test('refuses one that a CA has signed, or another key, or that is out of time', async () => {
    const ca = await createAuthority(world, { commonName: 'hub CA' })
    const signingKey = readPrivateKey(ca.privateKeyPem)
    expectRefused(forgeHub({}, { signingKey }))
    expectRefused(forgeHub({}, { issuer: nameOf([attribute('commonName', 'hub CA')]), signingKey }))
    expectRefused(ca.certificateDer)
    expectRefused(forgeHub({}, { notAfter: '260304050606Z' }))
    expectRefused(forgeHub({}, { notBefore: '260304050608Z' }))
    expectRefused(forgeHub({}, { hash: 'sha1' }))
  })

  test('refuses one that lacks an endpoint it was told of', () => {
    expectRefused(forgeHub({}), [`${HOST}:8443`, 'other.example.com:8443'])
    expectRefused(forgeHub({}), ['10.1.2.3:8443'])
    expectRefused(forgeHub({}), ['nonsense'])
  })
})
