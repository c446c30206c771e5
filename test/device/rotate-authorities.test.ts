import { readFile, writeFile } from 'node:fs/promises'
import { beforeEach, describe, expect, test } from 'vitest'
import { pemCertificate } from '../../src/device/agent-connection.ts'
import { appendStatements } from '../../src/device/append.ts'
import { readCertificateFile } from '../../src/device/certificate-file.ts'
import { fetchCertificates } from '../../src/device/certificates.ts'
import { withCluster } from '../../src/device/cluster-access.ts'
import { credentialFor } from '../../src/device/credentials.ts'
import { setDirectAddress } from '../../src/device/direct-address.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { certificatePath } from '../../src/device/home.ts'
import { kubeconfigFor } from '../../src/device/kubeconfig.ts'
import { rotateAuthorities } from '../../src/device/rotate-authorities.ts'
import { staleKubeconfig } from '../../src/device/stale-kubeconfig.ts'
import { loadUserCa } from '../../src/device/user-ca.ts'
import { mergeEntries } from '../../src/kubeconfig/merge.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, HOUR, joinedDevice, registeredCluster, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

const record = () => fleet.hub.directory.state.clusters.get(agent.id)!
const rotate = (overlapMs = 24 * HOUR) =>
  asAda(fleet, (session) => rotateAuthorities(session, 'idc-k8s', overlapMs))
const reach = () =>
  asAda(fleet, (session) => withCluster(session, record(), ({ agent }) => agent.whoami()))
const issuerOf = async (der: Buffer) => {
  const { certificatePem } = await credentialFor(fleet.ada, agent.id)
  const raw = Buffer.from(certificatePem.replace(/-----[^-]*-----/g, ''), 'base64')
  return readUserCertificate(raw, der)
}

test('the statement carries what the agent has made, what was before, and until when', async () => {
  const before = record()
  const { until } = await rotate()
  const after = record()
  expect(after.serverCaDer).toEqual(agent.next!.serverCa.certificateDer)
  expect(after.userCaDer).toEqual(agent.next!.userCa!.certificateDer)
  const { serverCaDer, userCaDer } = before
  expect(after.previous).toMatchObject({ serverCaDer, userCaDer, until: new Date(until) })
  expect(after).toMatchObject({ name: 'idc-k8s', agentKey: before.agentKey, prefix: before.prefix })
})

test('during the overlap the old server certificate is good, and the next use gets a certificate of the new CA', async () => {
  await credentialFor(fleet.ada, agent.id)
  const issued = agent.issued
  await rotate()
  await reach()
  expect(agent.issued).toBe(issued + 1)
  await expect(issuerOf(record().userCaDer)).resolves.toMatchObject({ user: 'ada' })
})

test('what runs on a certificate of the CA of before is not cut short by the renewal: it is named only by hand', async () => {
  const first = await credentialFor(fleet.ada, agent.id)
  await rotate()
  await reach()
  expect(agent.enrolled.at(-1)).not.toHaveProperty('replaces')
  const second = await credentialFor(fleet.ada, agent.id)
  expect(second.fingerprint).not.toBe(first.fingerprint)
  await asAda(fleet, (session) => fetchCertificates(session, { renew: true, ends: true }))
  expect(agent.enrolled.at(-1)).toMatchObject({ replaces: second.fingerprint })
})

test('after it the new server CA alone is trusted, and everything goes on', async () => {
  const { until } = await rotate()
  const impostor = agent.serverCa
  agent.useNext()
  fleet.world.advance(Date.parse(until) - fleet.world.now().getTime())
  await expect(reach()).resolves.toMatchObject({ user: 'ada' })
  agent.impostor = impostor
  fleet.world.advance(11 * 60_000)
  await expect(reach()).rejects.toMatchObject({ code: 'MCM_CERTIFICATE_UNTRUSTED' })
})

test('a server CA whose key was stolen is trusted by nobody from the statement on', async () => {
  await rotate(0)
  // The agent shows it still: whoever has the key could.
  await expect(reach()).rejects.toMatchObject({ code: 'MCM_CERTIFICATE_UNTRUSTED' })
})

test('a device that hears of it later renews at its next use, too', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  await asAda(fleet, (session) => {
    const subject = { kind: 'user', name: 'bob' } as const
    const detail = { action: 'add', subject, cluster: agent.id } as const
    return appendStatements(session, ({ key }) => [{ type: 'member', detail, signers: [key] }])
  })
  await credentialFor(bob, agent.id)
  await rotate()
  await withFleet(bob, async () => {})
  const file = await readCertificateFile(certificatePath(bob.home, agent.id))
  expect(Date.parse(file!.renewAfter)).toBeLessThanOrEqual(fleet.world.now().getTime())
})

test('the certificate before is not ended by the one of the new CA: it ends with its own', async () => {
  await credentialFor(fleet.ada, agent.id)
  const orders = agent.enrolled.length
  await rotate()
  await credentialFor(fleet.ada, agent.id)
  expect(agent.enrolled.slice(orders).map(({ replaces }) => replaces)).toEqual([undefined])
})

test('a second rotation waits for the end of the first', async () => {
  const { until } = await rotate()
  await expect(rotate()).rejects.toMatchObject({
    code: 'MCM_USAGE',
    message: expect.stringContaining(until),
  })
})

test('an agent that offers the CAs of now, or one for both, gets nothing signed', async () => {
  const { serverCaDer, userCaDer, seq } = record()
  const other = fleet.hub.certificateDer.toString('base64')
  const [serverCa, userCa] = [serverCaDer, userCaDer].map((der) => der.toString('base64'))
  for (const offer of [
    { serverCa: serverCa!, userCa: userCa! },
    { serverCa: userCa!, userCa: serverCa! },
    { serverCa: other, userCa: other },
    { serverCa: 'AAAA', userCa: 'AAAA' },
  ]) {
    agent.offerInstead = offer
    await expect(rotate()).rejects.toMatchObject({ code: 'MCM_PAIRING_MISMATCH' })
  }
  expect(record().seq).toBe(seq)
})

test('nobody but an admin does it', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  const attempt = withFleet(bob, (session) => rotateAuthorities(session, agent.id, HOUR))
  await expect(attempt).rejects.toBeInstanceOf(Error)
  expect(record().previous).toBeUndefined()
})

test('a new address in between leaves the overlap as it is', async () => {
  await rotate()
  const { previous } = record()
  const direct = { sessions: '127.0.0.1:1', enrolment: '127.0.0.1:2' }
  await asAda(fleet, (session) => setDirectAddress(session, 'idc-k8s', direct))
  expect(record()).toMatchObject({ direct, previous })
})

describe('a kubeconfig', () => {
  const location = { path: '/k', homeDirectory: '/' }
  let text: string
  const write = async () => {
    const self = { command: 'mcm', args: [] }
    const entries = await asAda(fleet, (session) =>
      kubeconfigFor(session, { clusters: [], mode: 'exec', self, env: {} }),
    )
    text = mergeEntries(undefined, entries, { file: '/k' })
  }
  const stale = () =>
    staleKubeconfig(fleet.ada, agent.id, location, { readTextIfAny: async () => text })
  beforeEach(write)

  test('of before is named with the command that refreshes it; one of now is not', async () => {
    expect(await stale()).toBeUndefined()
    await rotate()
    expect(await stale()).toContain('mcm kubeconfig idc-k8s --merge')
    await write()
    expect(await stale()).toBeUndefined()
  })

  test('holds both server CAs during the overlap, and one after it', async () => {
    const cas = () => {
      const data = /certificate-authority-data: (\S+)/.exec(text)![1]!
      return Buffer.from(data, 'base64')
        .toString()
        .match(/BEGIN CERTIFICATE/g)!.length
    }
    expect(cas()).toBe(2)
    await rotate(HOUR)
    await write()
    expect(cas()).toBe(3)
    fleet.world.advance(HOUR)
    await write()
    expect(cas()).toBe(2)
  })

  test('refreshed in the overlap is named again after it: it trusts what is over', async () => {
    await rotate(HOUR)
    await write()
    expect(await stale()).toBeUndefined()
    fleet.world.advance(HOUR)
    expect(await stale()).toContain('mcm kubeconfig idc-k8s --merge')
    await write()
    expect(await stale()).toBeUndefined()
  })

  test('made after a stolen key was replaced without an overlap never holds it', async () => {
    const stolen = pemCertificate(record().serverCaDer).trim()
    await rotate(0)
    await write()
    const data = /certificate-authority-data: (\S+)/.exec(text)![1]!
    expect(Buffer.from(data, 'base64').toString()).not.toContain(stolen)
  })

  test('that is damaged is nobody’s obstacle', async () => {
    text = `${agent.id}.clusters.mcm.internal: [`
    expect(await stale()).toBeUndefined()
  })
})

test('where the owner issues, the owner’s machine makes the user CA and signs by it from then on', async () => {
  const local = await registeredCluster(fleet, 'edge', 'local')
  const found = () => fleet.hub.directory.state.clusters.get(local.id)!
  const before = found()
  await asAda(fleet, (session) => rotateAuthorities(session, 'edge', HOUR))
  expect(found().userCaDer.equals(before.userCaDer)).toBe(false)
  expect(found().userCaDer).toEqual(local.next!.ownersCaDer)
  const authority = await loadUserCa(fleet.ada, found())
  expect(authority!.certificateDer).toEqual(found().userCaDer)
  await expect(loadUserCa(fleet.ada, before)).rejects.toMatchObject({ code: 'MCM_STATE_DAMAGED' })
  const { certificatePem } = await credentialFor(fleet.ada, local.id)
  const raw = Buffer.from(certificatePem.replace(/-----[^-]*-----/g, ''), 'base64')
  expect(readUserCertificate(raw, found().userCaDer).user).toBe('ada')
})

describe('a rotation that was interrupted', () => {
  test('between the agent’s offer and the statement goes on with the same CAs when it is run again', async () => {
    const offered = await asAda(fleet, (session) =>
      withCluster(session, record(), ({ agent }) => agent.nextAuthorities({})),
    )
    expect(record().previous).toBeUndefined()
    await rotate()
    const { serverCaDer, userCaDer } = record()
    expect([serverCaDer, userCaDer].map((der) => der.toString('base64'))).toEqual([
      offered.serverCa,
      offered.userCa,
    ])
  })

  test('after the statement is said to be under way, and the certificates here are renewed all the same', async () => {
    await credentialFor(fleet.ada, agent.id)
    const before = await Promise.all(
      [fleet.ada.home.directoryCache, fleet.ada.home.state].map((path) => readFile(path)),
    )
    const { until } = await rotate()
    // As if it had been killed before it wrote down what it had signed.
    await writeFile(fleet.ada.home.directoryCache, before[0]!)
    await writeFile(fleet.ada.home.state, before[1]!)
    await expect(rotate()).rejects.toMatchObject({ message: expect.stringContaining(until) })
    const file = await readCertificateFile(certificatePath(fleet.ada.home, agent.id))
    expect(Date.parse(file!.renewAfter)).toBeLessThanOrEqual(fleet.world.now().getTime())
  })

  test('by another administrator at the same moment is one rotation, signed once', async () => {
    const seq = record().seq
    const both = await Promise.allSettled([rotate(HOUR), rotate(2 * HOUR)])
    const done = both.flatMap((each) => (each.status === 'fulfilled' ? [each.value.until] : []))
    const failed = both.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
    expect(done.length).toBeGreaterThan(0)
    // Both hear the same end, or the later one that it is under way.
    const { until } = record().previous!
    for (const each of done) expect(Date.parse(each)).toBe(until.getTime())
    for (const each of failed) expect(each).toMatchObject({ code: 'MCM_USAGE' })
    const signed = fleet.hub.directory.statements.filter((each) => each.type === 'cluster')
    expect(signed.filter((each) => each.seq > seq)).toHaveLength(1)
    const next = agent.next!.serverCa.certificateDer
    expect(record().serverCaDer).toEqual(next)
  })
})
