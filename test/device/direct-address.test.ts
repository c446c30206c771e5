import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { openInner } from '../../src/client/inner.ts'
import { pemCertificate } from '../../src/device/agent-connection.ts'
import {
  exitCodeOfCertificates,
  purgeCertificates,
  restoreCertificates,
  revokeCertificates,
} from '../../src/device/certificate-end.ts'
import { listCertificates } from '../../src/device/certificate-list.ts'
import { fetchCertificates } from '../../src/device/certificates.ts'
import { credentialFor } from '../../src/device/credentials.ts'
import { setDirectAddress } from '../../src/device/direct-address.ts'
import { withFleetOrAgents } from '../../src/device/fleet-or-agents.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { openProxyWays } from '../../src/device/proxy-ways.ts'
import { completeRegistration, prepareRegistration } from '../../src/device/register.ts'
import type { Traveller } from '../../src/device/way-to-agent.ts'
import { Directory } from '../../src/directory/directory.ts'
import { AccessDeniedError, UnreachableError } from '../../src/errors.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import type { IssuedCertificate } from '../../src/protocol/messages.ts'
import { clusterHost, enrolmentHost } from '../../src/protocol/names.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, DAY, registeredCluster, type TestFleet } from './fleet.ts'
import { eachWithCluster, readersDevice } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent
const servers: Server[] = []
const sockets = new Set<Socket>()

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})
afterEach(() => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers.splice(0)) server.close()
  sockets.clear()
})

async function listen(onSocket: (socket: Socket) => void, port = 0): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onSocket(socket)
  })
  servers.push(server)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** An agent's own two ports; signed into the directory. */
async function giveAddress(of = agent): Promise<{ sessions: string; enrolment: string }> {
  const session = await listen((socket) => void of.accept(`${clusterHost(of.id)}:443`, socket))
  const enrol = await listen((socket) => void of.accept(`${enrolmentHost(of.id)}:443`, socket))
  const direct = { sessions: `127.0.0.1:${session}`, enrolment: `127.0.0.1:${enrol}` }
  await asAda(fleet, (each) => setDirectAddress(each, of.id, direct))
  return direct
}

/** Another cluster, at whose address somebody else answers. */
async function misledCluster(): Promise<FakeAgent> {
  const ack = await registeredCluster(fleet, 'ack')
  await giveAddress(ack)
  ack.impostor = await createAuthority(fleet.world, { commonName: 'impostor' })
  return ack
}

const misled = {
  cluster: 'ack',
  problem: expect.stringMatching(/no certificate of that cluster.*; .*tell its owner/),
}

/** The hub is gone, and in its place somebody who takes connections and says nothing. */
async function silenceHub(): Promise<void> {
  const port = Number(fleet.hub.endpoint.split(':').at(-1))
  await fleet.hub.stop()
  await listen(() => {}, port)
}

async function showAnotherCertificate(): Promise<void> {
  const { privateKeyPem } = generateKeyPair()
  const { pem } = await createHubCertificate(fleet.world, privateKeyPem, [fleet.hub.endpoint])
  fleet.hub.showCertificate(pem, privateKeyPem)
}

async function showAnotherTime(): Promise<void> {
  fleet.hub.skewMs = DAY
}

async function showTheDirectoryOfBefore(): Promise<void> {
  const { statements, details } = fleet.hub.directory.page(-1)
  const last = statements.length - 1
  fleet.hub.directory = await Directory.empty().extend({
    statements: statements.slice(0, last),
    details: details.filter(({ seq }) => seq < last),
  })
}

const record = () => fleet.hub.directory.state.clusters.get(agent.id)!

describe('the address', () => {
  test('is set, changed and removed, and nothing else of the cluster changes', async () => {
    const { seq: _, ...before } = record()
    const one = { sessions: 'idc.example.com:9443', enrolment: 'idc.example.com:9444' }
    const other = { ...one, sessions: '[fd00::1]:9443' }
    for (const direct of [one, other, undefined]) {
      await asAda(fleet, (session) => setDirectAddress(session, 'idc-k8s', direct))
      const { seq: __, ...after } = record()
      expect(after).toEqual(direct ? { ...before, direct } : before)
    }
    expect(fleet.hub.directory.state.isMember('ada', agent.id)).toBe(true)
  })

  test('that is there already is not signed again', async () => {
    const direct = await giveAddress()
    const { seq } = fleet.hub.directory.head!
    await asAda(fleet, (session) => setDirectAddress(session, agent.id, direct))
    expect(fleet.hub.directory.head!.seq).toBe(seq)
  })

  test('is for admins to say', async () => {
    const bob = await readersDevice(fleet, 'bob')
    const direct = { sessions: 'evil:1', enrolment: 'evil:2' }
    await expect(
      withFleet(bob, (session) => setDirectAddress(session, 'idc-k8s', direct)),
    ).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
  })

  test('comes with the registration where it was asked for', async () => {
    const direct = { sessions: 'edge.example.com:9443', enrolment: 'edge.example.com:9444' }
    const options = { name: 'edge', labels: {}, endpoint: 'public', direct } as const
    await asAda(fleet, async (session) => {
      const { registration } = await prepareRegistration(session, options)
      await fleet.hub.registerAgent(registration.id, registration.pairingSecret)
      await completeRegistration(session, options, 60_000)
      const { clusters } = fleet.hub.directory.state
      expect(clusters.get(registration.id)!.direct).toEqual(direct)
    })
  })

  test('that is none is refused before anything is put into the cluster', async () => {
    const direct = { sessions: 'no port', enrolment: 'h:1' }
    const options = { name: 'edge', labels: {}, endpoint: 'public', direct } as const
    await expect(
      asAda(fleet, (session) => prepareRegistration(session, options)),
    ).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
  })
})

describe('a certificate, when no hub is up', () => {
  test('is ended at the direct address; where the cluster has none, that is said', async () => {
    await giveAddress()
    await registeredCluster(fleet, 'ack')
    for (const { id } of fleet.hub.directory.state.clusters.values())
      await credentialFor(fleet.ada, id)
    await fleet.hub.stop()
    const wish = { certificates: [], user: 'ada', clusters: [] }
    const ended = await withFleetOrAgents(fleet.ada, (traveller) =>
      revokeCertificates(traveller, wish, async () => {}),
    )
    expect(agent.revocations).toEqual([{ user: 'ada' }])
    expect(new Set(ended.problems.map(({ cluster }) => cluster))).toEqual(new Set(['ack']))
  })

  test('that has expired is renewed at the direct address', async () => {
    await giveAddress()
    await fleet.hub.stop()
    fleet.world.advance(DAY)
    const { user, notAfter } = await credentialFor(fleet.ada, agent.id)
    expect(user).toBe('ada')
    expect(notAfter.getTime()).toBeGreaterThan(fleet.world.now().getTime())
  })

  test('is renewed there within seconds when the hub’s address is silent', async () => {
    await giveAddress()
    await silenceHub()
    fleet.world.advance(DAY)
    const began = performance.now()
    await credentialFor(fleet.ada, agent.id)
    expect(performance.now() - began).toBeLessThan(6_000)
  })

  test('is not had where there is no direct address, as before', async () => {
    await fleet.hub.stop()
    fleet.world.advance(DAY)
    await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({
      code: 'MCM_HUB_UNREACHABLE',
    })
  })

  test('is not asked of somebody else who sits at the direct address', async () => {
    await giveAddress()
    await fleet.hub.stop()
    fleet.world.advance(DAY)
    agent.impostor = await createAuthority(fleet.world, { commonName: 'impostor' })
    await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_UNTRUSTED',
    })
    expect(agent.issued).toBe(1)
  })

  test('is refused there to somebody whom the agent knows as revoked', async () => {
    await giveAddress()
    await fleet.hub.stop()
    fleet.world.advance(DAY)
    agent.refusal = new AccessDeniedError('MCM_REVOKED', 'ada was revoked')
    await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
  })
})

describe('a hub that stands in the way of an administrator', () => {
  const revokeAda = (options: { isDirect?: boolean } = {}, device = fleet.ada) =>
    withFleetOrAgents(
      device,
      (traveller) =>
        revokeCertificates(
          traveller,
          { certificates: [], user: 'ada', clusters: [] },
          async () => {},
        ),
      options,
    )
  const denied = () => new AccessDeniedError('MCM_FORBIDDEN', 'no such cluster for you')

  test('is left out where that is said: it is asked nothing, and what is needed comes from the agent', async () => {
    await giveAddress()
    await credentialFor(fleet.ada, agent.id)
    fleet.world.advance(DAY)
    fleet.hub.requests.length = 0
    const { connections } = fleet.hub
    const ended = await revokeAda({ isDirect: true })
    expect(ended.problems).toEqual([])
    expect(agent.revocations).toEqual([{ user: 'ada' }])
    expect(agent.issued).toBe(2)
    expect(fleet.hub).toMatchObject({ connections, requests: [] })
    expect(fleet.ada.said.join()).toMatch(/leaving the hub out: by the copy of the directory here/)
  })

  test.each([
    ['another certificate', 'MCM_PIN_MISMATCH', showAnotherCertificate],
    ['another time', 'MCM_CLOCK_SKEW', showAnotherTime],
    ['a directory of before', 'MCM_DIRECTORY_ROLLED_BACK', showTheDirectoryOfBefore],
  ])('by %s is gone round by --direct, which the hint says', async (_, code, turn) => {
    await giveAddress()
    await turn()
    const hint = expect.stringContaining('; with --direct you go to')
    await expect(revokeAda()).rejects.toMatchObject({ code, hint })
    expect(agent.revocations).toEqual([])
    await revokeAda({ isDirect: true })
    expect(agent.revocations).toEqual([{ user: 'ada' }])
  })

  test('by a refusal of every stream is gone round so as well; not by itself, but that is said', async () => {
    await giveAddress()
    await credentialFor(fleet.ada, agent.id)
    fleet.hub.connectRefusal = denied()
    const { problems } = await revokeAda()
    expect(problems.map(({ problem }) => problem)).toContain('no such cluster for you')
    expect(agent.revocations).toEqual([])
    expect(fleet.ada.said.at(-1)).toMatch(/did not let everything through; with --direct/)
    await revokeAda({ isDirect: true })
    expect(agent.revocations).toEqual([{ user: 'ada' }])
  })

  test('by ending what it relays after the handshake is named as well', async () => {
    await giveAddress()
    await credentialFor(fleet.ada, agent.id)
    agent.hangsUp = true
    const { problems } = await revokeAda()
    expect(problems.map(({ problem }) => problem).join()).toContain('the agent does not answer')
    expect(fleet.ada.said.at(-1)).toMatch(/did not let everything through; with --direct/)
  })

  test('by giving one stream to somebody else hinders nothing at the other clusters', async () => {
    await giveAddress()
    const ack = await misledCluster()
    const { problems } = await revokeAda()
    expect(agent.revocations).toEqual([{ user: 'ada' }])
    expect(ack.revocations).toEqual([])
    expect(problems).toContainEqual(misled)
    expect(fleet.ada.said.at(-1)).toMatch(/did not let everything through; with --direct/)
  })

  test('is not blamed for what went wrong on the direct way', async () => {
    await misledCluster()
    fleet.hub.connectRefusal = new UnreachableError('MCM_AGENT_UNREACHABLE', 'no agent is there')
    expect((await revokeAda()).problems).toContainEqual(misled)
    expect(fleet.ada.said.join()).not.toContain('--direct')
  })

  test('is not blamed for an agent that answers and is busy', async () => {
    await giveAddress()
    fleet.world.advance(DAY)
    agent.refusal = new UnreachableError('MCM_AGENT_UNREACHABLE', 'the agent is busy')
    expect((await revokeAda()).problems).toContainEqual({
      cluster: 'idc-k8s',
      problem: 'the agent is busy',
    })
    expect(fleet.ada.said.join()).not.toContain('--direct')
  })

  test('is nothing that people are told who administer nothing', async () => {
    await giveAddress()
    const bob = await readersDevice(fleet, 'bob')
    fleet.hub.connectRefusal = denied()
    await revokeAda({}, bob)
    expect(bob.said.join()).not.toContain('--direct')
  })

  test('leaves no way to clusters without an address, which is said of each, and of all at once', async () => {
    const nowhere = { code: 'MCM_AGENT_UNREACHABLE', exitCode: 6, hint: expect.any(String) }
    await expect(revokeAda({ isDirect: true })).rejects.toMatchObject({
      ...nowhere,
      message: 'without the hub there is no way to idc-k8s: no direct address',
    })
    await giveAddress()
    await registeredCluster(fleet, 'ack')
    const { problems } = await revokeAda({ isDirect: true })
    expect(agent.revocations).toEqual([{ user: 'ada' }])
    const problem = 'without the hub there is no way to ack: no direct address'
    expect(new Set(problems.map((each) => JSON.stringify(each)))).toEqual(
      new Set([JSON.stringify({ cluster: 'ack', problem })]),
    )
  })
})

describe('an address at which somebody else answers', () => {
  const directly = <T>(work: (traveller: Traveller) => Promise<T>) =>
    withFleetOrAgents(fleet.ada, work, { isDirect: true })
  const own = (serial: string, purged?: string): IssuedCertificate => ({
    ...{ serial, fingerprint: `f${serial}`.padEnd(43, 'x'), user: 'ada', device: 'B'.repeat(43) },
    ...{ notBefore: '2026-01-01T00:00:00Z', notAfter: '2026-01-01T12:00:00Z' },
    ...(purged === undefined ? {} : { purged }),
  })
  const wish = { certificates: [], user: 'ada', clusters: [] }
  const yes = async () => {}

  test('keeps nothing from the other clusters: it is their problem, by name', async () => {
    await giveAddress()
    const ack = await misledCluster()
    agent.certificates = [own('0a0a0a'), own('0b0b0b', '2026-01-01T01:00:00Z')]
    const query = { clusters: [], all: true, bin: false }
    const list = await directly((session) => listCertificates(session, query))
    expect(list.certificates.map(({ serial }) => serial)).toEqual(['0a0a0a'])
    expect(list.problems).toEqual([misled])
    const ended = [
      await directly((session) => revokeCertificates(session, wish, yes)),
      await directly((session) => purgeCertificates(session, wish, yes)),
      await directly((session) => restoreCertificates(session, wish)),
    ]
    expect(agent.revocations).toEqual([{ user: 'ada' }])
    expect(agent.binned).toEqual([
      ['purge', '0a0a0a'],
      ['restore', '0b0b0b'],
    ])
    for (const each of ended) {
      expect(each.problems).toContainEqual(misled)
      expect(exitCodeOfCertificates(each)).toBe(9)
    }
    expect([ack.revocations, ack.binned]).toEqual([[], []])
  })

  test('is an error of mcm certs renew, when every other cluster has a new certificate', async () => {
    await giveAddress()
    await misledCluster()
    const before = await credentialFor(fleet.ada, agent.id)
    await expect(
      directly((session) => fetchCertificates(session, { renew: true, ends: true })),
    ).rejects.toMatchObject({
      ...{ code: 'MCM_CERTIFICATE_UNTRUSTED', exitCode: 7, hint: expect.any(String) },
      message: expect.stringMatching(/^ack: whoever answered for /),
    })
    const after = await credentialFor(fleet.ada, agent.id)
    expect(after.fingerprint).not.toBe(before.fingerprint)
  })
})

describe('the local proxy’s ways, when no hub is up', () => {
  test('lead to the agent by the directory kept here, from the start', async () => {
    await giveAddress()
    await fleet.hub.stop()
    fleet.world.advance(DAY)
    const ways = openProxyWays(fleet.ada)
    expect(await ways.clusters()).toMatchObject([{ id: agent.id, name: 'idc-k8s' }])
    const { certPem, keyPem } = await ways.credential(agent.id)
    const stream = await ways.connectDirect(agent.id)
    const host = clusterHost(agent.id)
    const serverCaPem = pemCertificate(record().serverCaDer)
    const socket = await openInner(stream!, { host, serverCaPem, certPem, keyPem, alpn: ['h2'] })
    expect(socket.authorized).toBe(true)
    socket.destroy()
    ways.close()
  })

  test('are found in a few seconds all together when the hub’s address is silent', async () => {
    await giveAddress()
    await silenceHub()
    fleet.world.advance(DAY)
    const ways = openProxyWays(fleet.ada)
    const began = performance.now()
    expect(await ways.clusters()).toHaveLength(1)
    await ways.credential(agent.id)
    expect(performance.now() - began).toBeLessThan(6_000)
    ways.close()
  })

  test('name no direct address where there is none', async () => {
    await fleet.hub.stop()
    const ways = openProxyWays(fleet.ada)
    expect(await ways.connectDirect(agent.id)).toBeUndefined()
    ways.close()
  })
})
