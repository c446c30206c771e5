import { describe, expect, it } from 'vitest'
import { lastExpiryUnder, revocationOfCertificate } from '../../src/agent/principal-ends.ts'
import {
  newRecord,
  type PrincipalRecord,
  recordSecret,
  requireRoom,
  withAdmission,
  withCertificate,
  withEnding,
  withoutOldEnded,
  withPurged,
  withRoom,
} from '../../src/agent/principal-record.ts'
import type { Admission } from '../../src/directory/admission.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { p256 } from '../directory/fleet.ts'

const CLUSTER = 'c-abcdefgh22'
const ALICE = 'alice@example.com'
const START = Date.parse('2026-03-01T12:00:00Z')
const HOUR_MS = 3_600_000
const NOW = new Date(START)
const { jwk } = { jwk: p256(generateSigningKey()) }

const id = (name: string | number) => String(name).padStart(43, 'd')
const secretBytes = (record: PrincipalRecord) =>
  Buffer.from(recordSecret(CLUSTER, record, undefined).data?.['principal.json'] ?? '', 'base64')
    .byteLength

function admission(device: string, tokenTime: Date, groups: string[] = ['dev']): Admission {
  return {
    ...{ provider: 3, user: ALICE, bot: false, groups, tokenTime },
    device: { id: device, key: jwk, name: 'laptop' },
    tokenHash: id('hash'),
    until: new Date(START + 24 * HOUR_MS),
  }
}

/** As the agent does when it issues. */
function issued(record: PrincipalRecord, device: string, index: number, count = 30) {
  const at = new Date(START + index)
  let next = withAdmission(record, admission(device, at), NOW)
  for (let turn = 0; turn < count; turn++) {
    const certificate = {
      ...{ fingerprint: id(`${index}-${turn}`), serial: id(turn), device },
      notBefore: NOW,
      notAfter: new Date(START + 12 * HOUR_MS),
    }
    next = withRoom(withCertificate(next, certificate, NOW), device)
  }
  return next
}

describe('however many keys somebody comes with', () => {
  let record = newRecord(ALICE)
  for (let index = 0; index < 120; index++) record = issued(record, id(index), index)

  it('half of their Secret stays free, and the newest device is in it', () => {
    expect(secretBytes(record)).toBeLessThan(512 * 1024)
    expect(Object.keys(record.devices)).toContain(id(119))
    expect(Object.keys(record.devices)).not.toContain(id(0))
    expect(record.certificates.some(({ device }) => device === id(0))).toBe(false)
  })

  it('they can be revoked, which makes it smaller and forgets no key', () => {
    const revoked = withEnding(record, 'everything', NOW)
    expect(secretBytes(revoked)).toBeLessThan(secretBytes(record))
    expect(revoked.revoked).toEqual(NOW)
    for (const device of Object.keys(record.devices))
      expect(revoked.devices[device]).toMatchObject({ revoked: NOW })
  })
})

/** As for a device that the directory knows. */
function listed(record: PrincipalRecord, device: string, name: string) {
  const times = { notBefore: NOW, notAfter: new Date(START + 12 * HOUR_MS) }
  const certificate = { fingerprint: id(name), serial: name, device, ...times }
  return withoutOldEnded(withCertificate(record, certificate, NOW))
}

describe('a member who renews and purges without end', () => {
  let record = newRecord(ALICE)
  for (let index = 0; index < 4_000; index++)
    record = withPurged(listed(record, id(index % 4), `c${index}`), `c${index}`, ALICE, NOW)

  it('does not fill their Secret: of ended certificates the latest stay', () => {
    expect(withoutOldEnded(record).certificates).toHaveLength(256)
    expect(record.certificates.at(-1)).toMatchObject({ serial: 'c3999' })
    expect(secretBytes(record)).toBeLessThan(128 * 1024)
  })

  it('can be revoked, and every certificate with them', () => {
    const revoked = withEnding(record, 'everything', NOW)
    expect(secretBytes(revoked)).toBeLessThan(secretBytes(record) + 1_024)
    for (const each of revoked.certificates)
      expect(revocationOfCertificate(revoked, each)).toEqual(NOW)
  })
})

describe('a record that is half a Secret long', () => {
  let record = newRecord(ALICE)
  for (let index = 0; secretBytes(record) <= 512 * 1024; index += 20)
    for (let turn = 0; turn < 20; turn++) record = listed(record, id(index), `c${index + turn}`)

  it('takes no new certificate', () => {
    expect(() => requireRoom(record)).toThrow('too many certificates')
    expect(() => requireRoom(newRecord(ALICE))).not.toThrow()
  })

  it('has room for the end of everything, one by one and at once', () => {
    const long = 'a'.repeat(253)
    const purged = record.certificates.reduce(
      (all, { serial }) => withoutOldEnded(withPurged(all, serial, long, NOW)),
      record,
    )
    for (const each of [record, purged])
      expect(secretBytes(withEnding(each, 'everything', NOW))).toBeLessThan(768 * 1024)
  })
})

describe('keys that were ended', () => {
  it('are remembered for good, and of a token’s device nothing else', () => {
    const before = issued(newRecord(ALICE), id('lost'), 0)
    const after = withEnding(before, { device: id('lost') }, NOW)
    expect(after.certificates).toEqual([])
    expect(Object.keys(after.devices[id('lost')]!).sort()).toEqual(['lastExpiry', 'revoked'])
  })

  it('and were never here are 64 at most', () => {
    let record = newRecord(ALICE)
    for (let index = 0; index < 64; index++) record = withEnding(record, { device: id(index) }, NOW)
    expect(withEnding(record, { device: id(7) }, NOW).devices).toEqual(record.devices)
    expect(() => withEnding(record, { device: id('more') }, NOW)).toThrow('too many devices')
  })

  it('leave no room for ever more of them: beyond a thousand no new one comes', () => {
    const devices = Object.fromEntries(
      Array.from({ length: 1_000 }, (_, index) => [id(index), { lastExpiry: NOW, revoked: NOW }]),
    )
    const record = { ...newRecord(ALICE), devices }
    expect(() => withAdmission(record, admission(id('new'), NOW), NOW)).toThrow('too many devices')
    expect(secretBytes(withEnding(record, 'everything', NOW))).toBeLessThan(512 * 1024)
  })
})

describe('the newest certificate of a device by a CA that counts', () => {
  const hours = (count: number) => new Date(START + count * HOUR_MS)
  const isNew = (authority: string) => authority === id('new')
  const certificate = (name: string, device: string, until: number, authority?: string) => ({
    ...{ fingerprint: id(name), serial: name, device, notBefore: NOW, notAfter: hours(until) },
    ...(authority === undefined ? {} : { authority: id(authority) }),
  })
  const all = [
    certificate('a', id('laptop'), 12, 'old'),
    certificate('b', id('laptop'), 13),
    certificate('c', id('laptop'), 4, 'new'),
    certificate('d', id('laptop'), 3, 'new'),
    certificate('e', id('desktop'), 14, 'new'),
  ]
  const record = all.reduce((known, each) => withCertificate(known, each, NOW), newRecord(ALICE))

  it('is of that device, and neither of the CA before nor of one that nobody wrote down', () => {
    expect(lastExpiryUnder(record, id('laptop'), isNew)).toEqual(hours(4))
    expect(lastExpiryUnder(record, id('laptop'), () => false)).toBeUndefined()
  })

  it('is none that was revoked or is in the bin', () => {
    const purged = withPurged(record, 'c', ALICE, NOW)
    expect(lastExpiryUnder(purged, id('laptop'), isNew)).toEqual(hours(3))
    const revoked = withEnding(purged, { serial: 'd' }, NOW)
    expect(lastExpiryUnder(revoked, id('laptop'), isNew)).toBeUndefined()
  })
})
