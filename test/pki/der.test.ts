import { describe, expect, test } from 'vitest'
import {
  DerError,
  DerReader,
  derValue,
  readBoolean,
  readDer,
  readObjectIdentifier,
  readTime,
  readWholeBytes,
  TAG,
} from '../../src/pki/der.ts'

const hex = (text: string) => Buffer.from(text, 'hex')

describe('one value', () => {
  test('is read with its tag, content and whole encoding, and written back the same', () => {
    for (const length of [0, 127, 128, 255, 256, 65_535]) {
      const encoded = derValue(TAG.octetString, Buffer.alloc(length, 7))
      const value = readDer(encoded, TAG.octetString)
      expect(value.content).toHaveLength(length)
      expect(value.raw).toEqual(encoded)
    }
  })

  test.each([
    ['an indefinite length', '3080020100' + '0000'],
    ['a length with a leading zero', '04820001aa'],
    ['a long form where the short one would do', '04810100'],
    ['a length of four bytes', '048400000001aa'],
    ['a length beyond the end', '0405aabb'],
    ['a length cut off', '0482'],
    ['a tag of several bytes', '1f810100'],
    ['nothing', ''],
    ['a tag alone', '04'],
    ['bytes after it', '0401aa00'],
    ['another tag', '0501aa'],
  ])('is refused with %s', (_title, encoded) => {
    expect(() => readDer(hex(encoded), TAG.octetString)).toThrow(DerError)
  })
})

test('a container refuses what is longer than itself and what is left over', () => {
  const reader = new DerReader(readDer(hex('300504030102'.concat('03')), TAG.sequence).content)
  expect(reader.take(TAG.octetString).content).toEqual(hex('010203'))
  reader.end()
  const inner = new DerReader(readDer(hex('30030405aa'), TAG.sequence).content)
  expect(() => inner.next()).toThrow(DerError)
  expect(() => new DerReader(hex('0500')).end()).toThrow(DerError)
})

test('a tag of several bytes is no value, whatever is asked for', () => {
  expect(() => new DerReader(hex('1f0100')).next()).toThrow(DerError)
  expect(new DerReader(hex('1e0100')).next().tag).toBe(0x1e)
})

test('object identifiers are read in dotted form and only in their shortest encoding', () => {
  expect(readObjectIdentifier(hex('550403'))).toBe('2.5.4.3')
  expect(readObjectIdentifier(hex('2a864886f70d01090e'))).toBe('1.2.840.113549.1.9.14')
  expect(readObjectIdentifier(hex('883703'))).toBe('2.999.3')
  for (const bad of ['', '55048003', '5504ff', 'ffffffffffff7f'])
    expect(() => readObjectIdentifier(hex(bad)), bad).toThrow(DerError)
})

test('booleans are 00 or FF, bit strings whole bytes', () => {
  expect(readBoolean(hex('ff'))).toBe(true)
  expect(readBoolean(hex('00'))).toBe(false)
  for (const bad of ['01', '', 'ffff']) expect(() => readBoolean(hex(bad))).toThrow(DerError)
  expect(readWholeBytes(hex('00aa'))).toEqual(hex('aa'))
  for (const bad of ['', '01aa']) expect(() => readWholeBytes(hex(bad))).toThrow(DerError)
})

describe('times', () => {
  const time = (tag: number, text: string) => () =>
    readTime(readDer(derValue(tag, Buffer.from(text)), tag))

  test('of two digits lie between 1950 and 2049, of four anywhere', () => {
    expect(time(TAG.utcTime, '491231235959Z')()).toEqual(new Date('2049-12-31T23:59:59Z'))
    expect(time(TAG.utcTime, '500101000000Z')()).toEqual(new Date('1950-01-01T00:00:00Z'))
    expect(time(TAG.generalizedTime, '20500101000000Z')()).toEqual(new Date('2050-01-01T00:00:00Z'))
  })

  test.each([
    [TAG.utcTime, '2603040506Z'],
    [TAG.utcTime, '260304050607+0100'],
    [TAG.utcTime, '260230000000Z'],
    [TAG.utcTime, '260304250000Z'],
    [TAG.generalizedTime, '20260304050607.5Z'],
    [TAG.generalizedTime, '20260304050607'],
    [TAG.octetString, '20260304050607Z'],
    [TAG.utcTime, '20260304050607Z'],
  ])('of another form are refused: %i %s', (tag, text) => {
    expect(time(tag, text)).toThrow(DerError)
  })
})
