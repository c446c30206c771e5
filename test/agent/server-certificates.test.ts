import { randomBytes, X509Certificate } from 'node:crypto'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { newServerCertificate, renewRegularly } from '../../src/agent/server-certificates.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { RecordedLog } from './frozen-world.ts'

const world = { now: () => new Date(), random: (count: number) => randomBytes(count) }
const HOUR_MS = 3_600_000

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('a certificate is for one host, for a day, with a key of its own', async () => {
  const authority = await createAuthority(world, { commonName: 'server CA' })
  const [first, second] = await Promise.all(
    ['a.test', 'b.test'].map((host) => newServerCertificate(world, authority, host)),
  )
  const certificate = new X509Certificate(first!.certPem)
  expect(certificate.subjectAltName).toBe('DNS:a.test')
  expect(certificate.verify(new X509Certificate(authority.certificatePem).publicKey)).toBe(true)
  const lifetime = Date.parse(certificate.validTo) - Date.now()
  expect(lifetime).toBeGreaterThan(23 * HOUR_MS)
  expect(lifetime).toBeLessThanOrEqual(24 * HOUR_MS)
  expect(first!.keyPem).not.toBe(second!.keyPem)
})

test('it is renewed at two thirds of its life, again and again, until told to stop', async () => {
  const renew = vi.fn(async () => {})
  const { stop } = renewRegularly(world, renew, new RecordedLog())
  await vi.advanceTimersByTimeAsync(16 * HOUR_MS - 1)
  expect(renew).toHaveBeenCalledTimes(0)
  await vi.advanceTimersByTimeAsync(1)
  expect(renew).toHaveBeenCalledTimes(1)
  await vi.advanceTimersByTimeAsync(16 * HOUR_MS)
  expect(renew).toHaveBeenCalledTimes(2)
  stop()
  await vi.advanceTimersByTimeAsync(100 * HOUR_MS)
  expect(renew).toHaveBeenCalledTimes(2)
})

test('a renewal that fails is tried every minute and said', async () => {
  const renew = vi
    .fn(async () => {})
    .mockRejectedValueOnce(new Error('no'))
    .mockRejectedValueOnce(new Error('no'))
  const log = new RecordedLog()
  const { stop } = renewRegularly(world, renew, log)
  await vi.advanceTimersByTimeAsync(16 * HOUR_MS + 2 * 60_000)
  expect(renew).toHaveBeenCalledTimes(3)
  expect(log.events()).toEqual(['server_certificate_not_renewed', 'server_certificate_not_renewed'])
  stop()
})

test('after a sleep in which timers stood still, it is renewed before the next handshake, once', async () => {
  const renew = vi.fn(async () => {})
  const { whenDue, stop } = renewRegularly(world, renew, new RecordedLog())
  expect(whenDue()).toBeUndefined()
  vi.setSystemTime(Date.now() + 14 * 24 * HOUR_MS)
  await Promise.all([whenDue(), whenDue()])
  expect(renew).toHaveBeenCalledTimes(1)
  expect(whenDue()).toBeUndefined()
  stop()
})

test('after a clock was set back to before its beginning, it is renewed', async () => {
  const renew = vi.fn(async () => {})
  const { whenDue, stop } = renewRegularly(world, renew, new RecordedLog())
  vi.setSystemTime(Date.now() - HOUR_MS)
  await whenDue()
  expect(renew).toHaveBeenCalledTimes(1)
  stop()
})

test('a handshake waits for a renewal that fails, and goes on with what there is', async () => {
  const log = new RecordedLog()
  const renew = vi.fn(async () => Promise.reject(new Error('no')))
  const { whenDue, stop } = renewRegularly(world, renew, log)
  vi.setSystemTime(Date.now() + 17 * HOUR_MS)
  await whenDue()
  expect(log.events()).toEqual(['server_certificate_not_renewed'])
  stop()
})
