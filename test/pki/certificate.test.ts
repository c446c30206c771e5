import { createPrivateKey, randomBytes, sign } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { parseCertificate, parseName } from '../../src/pki/certificate.ts'
import { DerError, DerReader, derValue, readDer, TAG } from '../../src/pki/der.ts'
import { attribute, extension, forgeUser, NOW, nameOf, SIGNATURE_ALGORITHMS } from './forge.ts'

const world = { now: () => NOW, random: (bytes: number) => randomBytes(bytes) }
const NULL = derValue(0x05)
let authority: Authority

beforeAll(async () => {
  authority = await createAuthority(world, { commonName: 'mcm user CA' })
})

/** The raw values inside one constructed value. */
function children(encoded: Buffer): Buffer[] {
  const reader = new DerReader(readDer(encoded, encoded[0]!).content)
  const values: Buffer[] = []
  while (!reader.isEmpty) values.push(reader.next().raw)
  return values
}

/** A good certificate whose parts, and whose fields to be signed, are rearranged. */
function rebuild(change: {
  readonly parts?: (parts: Buffer[]) => Buffer[]
  readonly fields?: (fields: Buffer[]) => Buffer[]
}): Buffer {
  const [tbs, algorithm] = children(forgeUser(authority)) as [Buffer, Buffer]
  const fields = change.fields?.(children(tbs)) ?? children(tbs)
  const signed = derValue(TAG.sequence, ...fields)
  const key = createPrivateKey(authority.privateKeyPem.reveal())
  const signature = derValue(TAG.bitString, Buffer.of(0), sign('sha256', signed, key))
  const parts = [signed, algorithm, signature]
  return derValue(TAG.sequence, ...(change.parts?.(parts) ?? parts))
}

test('the parts of a certificate come out as they were put in', () => {
  expect(parseCertificate(rebuild({}))).toMatchObject({
    serial: '5a'.repeat(16),
    notBefore: new Date('2026-03-04T05:01:07Z'),
    notAfter: new Date('2026-03-04T17:06:07Z'),
    subject: nameOf([attribute('commonName', 'bob')], [attribute('organization', 'dev')]),
  })
})

describe('a certificate of another structure is refused', () => {
  const other = Buffer.from(SIGNATURE_ALGORITHMS.sha384, 'hex')
  const validity = 4
  const extensions = 7

  test.each<[string, Parameters<typeof rebuild>[0]]>([
    ['something after its signature', { parts: (parts) => [...parts, NULL] }],
    ['no signature', { parts: (parts) => parts.slice(0, 2) }],
    ['something after its extensions', { fields: (fields) => [...fields, NULL] }],
    ['no extensions', { fields: (fields) => fields.slice(0, extensions) }],
    ['no version', { fields: (fields) => fields.slice(1) }],
    ['one algorithm outside and another inside', { fields: (fields) => fields.with(2, other) }],
    [
      'a third time in its validity',
      {
        fields: (fields) =>
          fields.with(
            validity,
            derValue(TAG.sequence, ...children(fields[validity]!), children(fields[validity]!)[0]!),
          ),
      },
    ],
    [
      'an issuer’s unique id',
      { fields: (fields) => fields.toSpliced(extensions, 0, derValue(0x81, Buffer.of(0, 1))) },
    ],
  ])('%s', (_title, change) => {
    expect(() => parseCertificate(rebuild(change))).toThrow(DerError)
  })

  test('an extension that says critical FALSE, which DER leaves out', () => {
    const [id, value] = children(extension('policyConstraints', '3000')) as [Buffer, Buffer]
    const spelt = derValue(TAG.sequence, id, derValue(TAG.boolean, Buffer.of(0)), value)
    const longer = derValue(TAG.sequence, id, value, NULL)
    for (const wrong of [spelt, longer])
      expect(() => parseCertificate(forgeUser(authority, { extensions: [wrong] }))).toThrow(
        DerError,
      )
    parseCertificate(forgeUser(authority, { extensions: [derValue(TAG.sequence, id, value)] }))
  })
})

describe('a name of another structure is refused', () => {
  const bob = attribute('commonName', 'bob')

  test('with an empty part, or something after a value', () => {
    expect(parseName(nameOf([bob]))).toEqual([
      [{ type: '2.5.4.3', tag: TAG.utf8String, value: Buffer.from('bob') }],
    ])
    expect(() => parseName(nameOf([bob], []))).toThrow(DerError)
    const longer = derValue(TAG.sequence, ...children(bob), NULL)
    expect(() => parseName(nameOf([longer]))).toThrow(DerError)
    expect(() => parseName(Buffer.concat([nameOf([bob]), NULL]))).toThrow(DerError)
    expect(() => parseName(derValue(TAG.sequence, bob))).toThrow(DerError)
  })
})
