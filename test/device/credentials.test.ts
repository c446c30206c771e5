import { readdir, readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { readCertificateFile, renewalTime } from '../../src/device/certificate-file.ts'
import { fetchCertificates } from '../../src/device/certificates.ts'
import { credentialFor } from '../../src/device/credentials.ts'
import { grantRole } from '../../src/device/grant.ts'
import { certificatePath } from '../../src/device/home.ts'
import { kubeconfigFor } from '../../src/device/kubeconfig.ts'
import { revokeDevice, revokeUser } from '../../src/device/revoke.ts'
import { AccessDeniedError } from '../../src/errors.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, DAY, deviceAt, HOUR, joinedDevice, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

test('a fresh certificate is used without asking anybody', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  fleet.hub.requests.length = 0
  fleet.world.advance(7 * HOUR)
  const second = await credentialFor(fleet.ada, agent.id)
  expect(second.fingerprint).toBe(first.fingerprint)
  expect(second.user).toBe('ada')
  expect(fleet.hub.requests).toEqual([])
})

test('with a third of its life left it is renewed, and the old key is deleted', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  fleet.world.advance(8 * HOUR + 60_000)
  const second = await credentialFor(fleet.ada, agent.id)
  expect(second.fingerprint).not.toBe(first.fingerprint)
  const keys = (await readdir(fleet.ada.home.secrets)).filter((name) => name.includes(agent.id))
  expect(keys).toEqual([`certificate-key.${agent.id}.${second.fingerprint}`])
})

test('a renewal says which certificate it takes the place of, unless a kubeconfig holds that too', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  fleet.world.advance(8 * HOUR + 60_000)
  await credentialFor(fleet.ada, agent.id)
  expect(agent.enrolled.at(-1)).toMatchObject({ replaces: first.fingerprint })
  await asAda(fleet, (session) =>
    kubeconfigFor(session, {
      clusters: [],
      mode: 'static',
      self: { command: 'mcm', args: [] },
      env: {},
    }),
  )
  fleet.world.advance(8 * HOUR + 60_000)
  await credentialFor(fleet.ada, agent.id)
  expect(agent.enrolled.at(-1)).not.toHaveProperty('replaces')
})

test('whoever renews by hand ends the old one, also where a kubeconfig holds it', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  const path = certificatePath(fleet.ada.home, agent.id)
  await writeFile(path, JSON.stringify({ ...(await readCertificateFile(path)), isCopied: true }))
  const outcomes = await asAda(fleet, (session) =>
    fetchCertificates(session, { renew: true, ends: true }),
  )
  expect(outcomes).toMatchObject([{ id: agent.id, certificateUntil: expect.any(String) }])
  expect(agent.enrolled.at(-1)).toMatchObject({ replaces: first.fingerprint })
})

test('renewal comes at two thirds of the lifetime or up to a twentieth earlier, never later', () => {
  const from = new Date(0)
  const until = new Date(12 * HOUR)
  expect(renewalTime(from, until, 0).getTime()).toBe(8 * HOUR)
  expect(Math.round(renewalTime(from, until, 1).getTime() / 10)).toBe((7.4 * HOUR) / 10)
})

test('after a fortnight away the expired certificate is replaced without anyone typing anything', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  fleet.world.advance(14 * DAY)
  const second = await credentialFor(fleet.ada, agent.id)
  expect(second.fingerprint).not.toBe(first.fingerprint)
  expect(second.notAfter > fleet.world.now()).toBe(true)
})

test('fifty callers at once make one renewal', async () => {
  fleet.world.advance(14 * DAY)
  const before = agent.issued
  const all = await Promise.all(
    Array.from({ length: 50 }, () => credentialFor(fleet.ada, agent.id)),
  )
  expect(agent.issued).toBe(before + 1)
  expect(new Set(all.map(({ fingerprint }) => fingerprint)).size).toBe(1)
})

test('while the hub is down a certificate serves until it ends, then the error says what is down', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  await fleet.hub.stop()
  fleet.world.advance(11 * HOUR)
  expect((await credentialFor(fleet.ada, agent.id)).fingerprint).toBe(first.fingerprint)
  fleet.world.advance(2 * HOUR)
  await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({
    code: 'MCM_HUB_UNREACHABLE',
    exitCode: 6,
  })
})

test('many callers while the hub is down share one failed attempt', async () => {
  await fleet.hub.stop()
  fleet.world.advance(14 * DAY)
  const before = Date.now()
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, () => credentialFor(fleet.ada, agent.id)),
  )
  expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true)
  expect(Date.now() - before).toBeLessThan(10_000)
})

test('while only the agent is down a certificate serves until it ends', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  fleet.hub.agents.delete(agent.id)
  fleet.world.advance(9 * HOUR)
  expect((await credentialFor(fleet.ada, agent.id)).fingerprint).toBe(first.fingerprint)
})

test('a user revoked in the directory gets no certificate, and a valid one is not used on', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  await grantTo('bob')
  await credentialFor(bob, agent.id)
  await asAda(fleet, (session) => revokeUser(session, 'bob', ''))
  fleet.world.advance(9 * HOUR)
  await expect(credentialFor(bob, agent.id)).rejects.toMatchObject({
    code: 'MCM_REVOKED',
    exitCode: 5,
  })
})

test('a revoked device is named, its owner’s other device goes on', async () => {
  const laptop = await joinedDevice(fleet, 'bob')
  const phone = await joinedDevice(fleet, 'bob')
  await grantTo('bob')
  const id = JSON.parse(await readFile(laptop.home.state, 'utf8')).device.id
  await asAda(fleet, (session) => revokeDevice(session, 'bob', id, 'lost'))
  await expect(credentialFor(laptop, agent.id)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
  expect((await credentialFor(phone, agent.id)).user).toBe('bob')
})

test('a user without membership is told so before the agent is asked', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  const error = await credentialFor(bob, agent.id).catch((e) => e)
  // The details of a cluster that is not bob's are not even shown to bob.
  expect(error).toMatchObject({ code: 'MCM_CLUSTER_UNKNOWN', exitCode: 3 })
  expect(fleet.hub.requests.filter((each) => each.startsWith('CONNECT enrol'))).toHaveLength(1)
})

test('what the agent refuses with comes out as its own code', async () => {
  agent.refusal = new AccessDeniedError('MCM_NO_GRANT', 'no grant on this cluster', { hint: 'ask' })
  fleet.world.advance(DAY)
  await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({
    code: 'MCM_NO_GRANT',
    exitCode: 5,
  })
})

test('a certificate that the agent no longer accepts is replaced, also when it is young', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  const refusedPem = first.certificatePem
  const second = await credentialFor(fleet.ada, agent.id, { refusedPem })
  expect(second.fingerprint).not.toBe(first.fingerprint)
  const third = await credentialFor(fleet.ada, agent.id, { refusedPem })
  expect(third.fingerprint).toBe(second.fingerprint)
})

test('a damaged certificate file is as good as none', async () => {
  await credentialFor(fleet.ada, agent.id)
  await writeFile(certificatePath(fleet.ada.home, agent.id), '{"certificate": 1')
  expect((await credentialFor(fleet.ada, agent.id)).user).toBe('ada')
})

test('a certificate whose key is gone is replaced', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  await fleet.ada.secrets.delete(`certificate-key.${agent.id}.${first.fingerprint}`)
  const second = await credentialFor(fleet.ada, agent.id)
  expect(second.fingerprint).not.toBe(first.fingerprint)
})

test('a clock set back does not make a certificate of the future count', async () => {
  await credentialFor(fleet.ada, agent.id)
  const file = (await readCertificateFile(certificatePath(fleet.ada.home, agent.id)))!
  expect(new Date(file.notBefore) < fleet.world.now()).toBe(true)
  fleet.world.advance(-DAY)
  fleet.hub.skewMs = DAY
  await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({ code: 'MCM_CLOCK_SKEW' })
})

test.each([
  ['another user', { user: 'eve' }],
  ['another device', { device: 'B'.repeat(43) }],
  ['another key', { publicKeyDer: generateKeyPair().publicKeyDer }],
])('a certificate that the agent issues for %s is not kept', async (_what, issueAs) => {
  agent.issueAs = issueAs
  fleet.world.advance(DAY)
  await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({
    code: 'MCM_CERTIFICATE_UNTRUSTED',
    exitCode: 7,
  })
})

test('whoever answers on the inner layer with another CA than the directory’s is not spoken to', async () => {
  agent.impostor = await createAuthority(fleet.world, { commonName: 'evil hub' })
  fleet.world.advance(DAY)
  const before = agent.issued
  await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({
    code: 'MCM_CERTIFICATE_UNTRUSTED',
    exitCode: 7,
  })
  expect(agent.issued).toBe(before)
})

test('not even a valid certificate is handed out when the hub shows an older directory', async () => {
  const older = fleet.hub.directory.page(-1)
  await joinedDevice(fleet, 'bob')
  await grantTo('bob')
  fleet.world.advance(9 * HOUR)
  const statements = older.statements
  fleet.hub.tamper = (page) => ({ ...page, ...older, statements: statements.slice(0, 0) })
  await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({
    code: 'MCM_DIRECTORY_ROLLED_BACK',
    exitCode: 7,
  })
})

test('another process of the same person finds the certificate', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  const other = await deviceAt(fleet.ada.home.directory, fleet.world)
  expect((await credentialFor(other, agent.id)).fingerprint).toBe(first.fingerprint)
})

function grantTo(user: string) {
  const grant = { subject: { kind: 'user', name: user }, role: 'ro' } as const
  return asAda(fleet, (session) => grantRole(session, grant, ['idc-k8s']))
}
