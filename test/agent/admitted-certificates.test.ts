import { expect, test, vi } from 'vitest'
import { noteAdmittedCertificates } from '../../src/agent/admitted-certificates.ts'
import type { NewCertificate } from '../../src/agent/principals.ts'
import { UnreachableError } from '../../src/errors.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'

const world = new FrozenWorld()
const certificate = {
  user: 'bob',
  groups: ['dev'],
  device: 'A'.repeat(43),
  publicKeyDer: Buffer.alloc(91),
  fingerprint: 'F'.repeat(43),
  serial: '0a',
  authority: 'A'.repeat(43),
  notBefore: new Date(0),
  notAfter: new Date(1000),
}
const since = new Date(5)

function stage() {
  const recorded: [string, NewCertificate][] = []
  const log = new RecordedLog()
  const principals = { fault: undefined as Error | undefined }
  const note = noteAdmittedCertificates(
    {
      record: async (user, noted) => {
        recorded.push([user, noted])
        if (principals.fault) throw principals.fault
      },
    },
    world,
    log,
  )
  return { recorded, log, principals, note }
}

test('a certificate is written once, however many requests it makes', async () => {
  const { recorded, log, note } = stage()
  for (let request = 0; request < 100; request++) note(certificate, since)
  await vi.waitFor(() => expect(log.events()).toEqual(['certificate_admitted']))
  const { user, groups: _, publicKeyDer: __, ...facts } = certificate
  expect(recorded).toEqual([[user, { ...facts, deviceSince: since }]])
})

test('a write that fails is said, stops nobody, and is tried again a minute later', async () => {
  const { recorded, log, principals, note } = stage()
  principals.fault = new UnreachableError('MCM_TIMEOUT', 'etcd is full')
  note(certificate, since)
  note(certificate, since)
  await vi.waitFor(() => expect(log.events()).toEqual(['certificate_not_noted']))
  principals.fault = undefined
  world.advance(61_000)
  note(certificate, since)
  await vi.waitFor(() => expect(log.events()).toContain('certificate_admitted'))
  expect(recorded).toHaveLength(2)
})
