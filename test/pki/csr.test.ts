import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { expect, test } from 'vitest'
import { createAuthority } from '../../src/pki/authority.ts'
import { createCsr, readCsr } from '../../src/pki/csr.ts'
import { derValue, TAG } from '../../src/pki/der.ts'
import { generateKeyPair, readPrivateKey } from '../../src/pki/key-pair.ts'
import { pemOf } from '../../src/pki/mint.ts'
import { issueUserCertificate } from '../../src/pki/profiles.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import { Secret } from '../../src/secret.ts'
import {
  alternatives,
  attribute,
  DEVICE,
  extension,
  extensionRequest,
  forgeRequest,
  NOW,
  nameOf,
  SIGNATURE_ALGORITHMS,
} from './forge.ts'

const world = { now: () => NOW, random: (bytes: number) => randomBytes(bytes) }

/** A good request, with changes. */
function request(changes: Partial<Parameters<typeof forgeRequest>[0]> = {}): string {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const subject = nameOf([attribute('commonName', 'bob')])
  const signingKey = readPrivateKey(privateKeyPem)
  return pemOf(
    'CERTIFICATE REQUEST',
    forgeRequest({ subject, publicKeyDer, signingKey, attributes: [], ...changes }),
  )
}

async function expectRefused(pem: string) {
  await expect(readCsr(pem)).rejects.toMatchObject({ name: 'UsageError', code: 'MCM_BAD_REQUEST' })
}

test('a request of ours gives back the key it was made with', async () => {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const pem = await createCsr(privateKeyPem, 'bob')
  expect((await readCsr(pem)).publicKeyDer).toEqual(publicKeyDer)
  expect(pem).toMatch(/^-----BEGIN CERTIFICATE REQUEST-----\n/)
})

test('a request may be made from a PKCS#8 key as well', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)
  expect((await readCsr(await createCsr(pem))).publicKeyDer).toHaveLength(91)
})

test('a request for another name, groups, host, CA:true and system:masters yields only its key', async () => {
  const authority = await createAuthority(world, { commonName: 'mcm user CA' })
  const asked = request({
    subject: nameOf(
      [attribute('commonName', 'system:admin')],
      [attribute('organization', 'system:masters')],
    ),
    attributes: [
      extensionRequest(
        extension('basicConstraints', '30030101ff', true),
        extension('keyUsage', '03020204', true),
        alternatives([0x82, 'kubernetes.default'], [0x86, `urn:mcm:device:${'Z'.repeat(43)}`]),
      ),
    ],
  })
  const answer = await readCsr(asked)
  expect(Object.keys(answer)).toEqual(['der', 'publicKeyDer'])
  const subject = {
    publicKeyDer: answer.publicKeyDer,
    user: 'bob',
    groups: ['dev'],
    device: DEVICE,
  }
  const { der, notAfter } = await issueUserCertificate(world, authority, subject, 3600)
  const read = readUserCertificate(der, authority.certificateDer)
  expect(read).toMatchObject({ user: 'bob', groups: ['dev'], device: DEVICE, notAfter })
  expect(der.includes('masters')).toBe(false)
  expect(der.includes('kubernetes')).toBe(false)
})

test('a request signed by another key is refused', async () => {
  await expectRefused(request({ publicKeyDer: generateKeyPair().publicKeyDer }))
})

test('a request with a byte changed is refused', async () => {
  const der = (await readCsr(request())).der
  for (let index = 0; index < der.length; index += 5) {
    const changed = Buffer.from(der)
    changed[index]! ^= 0x01
    await expectRefused(pemOf('CERTIFICATE REQUEST', changed))
  }
})

test('a request with an RSA, P-384 or Ed25519 key, or signed with SHA-1, is refused', async () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  for (const { publicKey, privateKey } of [rsa, p384]) {
    const publicKeyDer = publicKey.export({ type: 'spki', format: 'der' })
    await expectRefused(request({ publicKeyDer, signingKey: privateKey }))
  }
  const ed25519 = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' })
  await expectRefused(request({ publicKeyDer: ed25519 }))
  await expectRefused(request({ hash: 'sha1' }))
})

test('anything but one PEM block of a request is refused', async () => {
  const good = request()
  for (const pem of [
    '',
    'not a request',
    good + good,
    `${good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
    good.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'),
    good.replace('\n', '\nX: y\n'),
    good.replace('-----END', 'AA==-----END'),
    pemOf('CERTIFICATE REQUEST', derValue(0x30)),
  ])
    await expectRefused(pem)
})

test('bytes after the request are refused', async () => {
  const { der } = await readCsr(request())
  await expectRefused(pemOf('CERTIFICATE REQUEST', Buffer.concat([der, Buffer.of(0)])))
})

test('a request of another version or structure is refused', async () => {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const key = readPrivateKey(privateKeyPem)
  const subject = nameOf([attribute('commonName', 'bob')])
  const request = (version: number, infoTail: Buffer[], tail: Buffer[]) => {
    const number = derValue(TAG.integer, Buffer.of(version))
    const info = derValue(TAG.sequence, number, subject, publicKeyDer, ...infoTail)
    const algorithm = Buffer.from(SIGNATURE_ALGORITHMS.sha256, 'hex')
    const signature = derValue(TAG.bitString, Buffer.of(0), sign('sha256', info, key))
    const parts = [info, algorithm, signature, ...tail]
    return pemOf('CERTIFICATE REQUEST', derValue(TAG.sequence, ...parts))
  }
  const [none, extra] = [derValue(0xa0), derValue(0x05)]
  expect((await readCsr(request(0, [none], []))).publicKeyDer).toEqual(publicKeyDer)
  await expectRefused(request(1, [none], []))
  await expectRefused(request(0, [none, extra], []))
  await expectRefused(request(0, [extra], []))
  await expectRefused(request(0, [none], [extra]))
})

test('a request of over 8 KiB is refused before it is read', async () => {
  await expectRefused(request({ subject: nameOf([attribute('commonName', 'x'.repeat(9000))]) }))
})
