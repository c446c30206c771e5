import { expect, test } from 'vitest'
import {
  type EndingWish,
  exitCodeOfCertificates,
  purgeCertificates,
  type Risk,
  restoreCertificates,
  revokeCertificates,
} from '../../src/device/certificate-end.ts'
import { type CertificateQuery, listCertificates } from '../../src/device/certificate-list.ts'
import { credentialFor } from '../../src/device/credentials.ts'
import { grantRole } from '../../src/device/grant.ts'
import { requireState } from '../../src/device/state.ts'
import { NotFoundError } from '../../src/errors.ts'
import type { IssuedCertificate } from '../../src/protocol/messages.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, joinedDevice, registeredCluster, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

const BOBS_DEVICE = 'B'.repeat(43)

function issued(
  user: string,
  serial: string,
  changes: Partial<IssuedCertificate> = {},
): IssuedCertificate {
  return {
    fingerprint: `f${serial}`.padEnd(43, 'x'),
    serial,
    user,
    device: BOBS_DEVICE,
    notBefore: '2026-01-01T00:00:00Z',
    notAfter: '2026-01-01T12:00:00Z',
    ...changes,
  }
}

function list(query: Partial<CertificateQuery> = {}) {
  return asAda(fleet, (session) =>
    listCertificates(session, { clusters: [], all: false, bin: false, ...query }),
  )
}

function wish(changes: Partial<EndingWish>): EndingWish {
  return { certificates: [], clusters: [], ...changes }
}

/** Says yes, and remembers what was asked. */
function sayYes() {
  const risks: Risk[] = []
  const ask = async (risk: Risk) => void risks.push(risk)
  return { risks, ask }
}

test('certificates of every cluster are listed, with names of devices and the one of this machine', async () => {
  const ack = await registeredCluster(fleet, 'ack')
  const { fingerprint } = await credentialFor(fleet.ada, agent.id)
  const { device } = await requireState(fleet.ada.home)
  const used = { time: '2026-01-01T03:00:00Z', addressByHub: '192.0.2.7' }
  agent.certificates = [
    issued('ada', '0a0a0a', { fingerprint, device: device.id, lastUsed: used }),
    issued('bob', '0b0b0b'),
  ]
  ack.certificates = [issued('ada', '0c0c0c', { replaced: '2026-01-01T01:00:00Z' })]
  const { certificates, problems } = await list()
  expect(problems).toEqual([])
  expect(certificates).toMatchObject([
    { cluster: 'ack', serial: '0c0c0c', state: 'replaced', since: '2026-01-01T01:00:00Z' },
    {
      cluster: 'idc-k8s',
      user: 'ada',
      device: { id: device.id, name: 'laptop' },
      state: 'stands',
      lastUsed: used,
      isThis: true,
    },
  ])
})

test('everybody’s are asked for only when they are wanted, and a cluster that says no is named', async () => {
  agent.certificates = [issued('ada', '0a0a0a'), issued('bob', '0b0b0b')]
  expect((await list({ all: true })).certificates).toHaveLength(2)
  expect((await list({ user: 'bob' })).certificates.map(({ user }) => user)).toEqual(['bob'])
  agent.asked.length = 0
  expect((await list({ user: 'ada' })).certificates).toHaveLength(1)
  expect(agent.asked).toEqual(['/.mcm/v1/certificates'])
  agent.mayListAll = false
  expect(await list({ all: true })).toEqual({
    certificates: [],
    problems: [{ cluster: 'idc-k8s', problem: expect.stringContaining('your own') }],
  })
})

test('a certificate is revoked by the beginning of its serial or fingerprint, after saying what is lost', async () => {
  agent.certificates = [issued('ada', '0a0a0a'), issued('ada', '0b0b0b')]
  const { risks, ask } = sayYes()
  await asAda(fleet, (session) =>
    revokeCertificates(session, wish({ certificates: ['0A0A0A'] }), ask),
  )
  await asAda(fleet, (session) =>
    revokeCertificates(session, wish({ certificates: ['f0b0b0b'] }), ask),
  )
  expect(agent.revocations).toEqual([{ serial: '0a0a0a' }, { serial: '0b0b0b' }])
  expect(risks[0]).toMatchObject({ level: 'low' })
  expect(risks[0]!.lost[0]).toMatch(/^0a0a0a of ada on BBBBBBBB at idc-k8s \(never used\): /)
})

test('another’s certificate is found by whoever may see everybody’s', async () => {
  agent.certificates = [issued('bob', '0b0b0b')]
  const revoke = () =>
    asAda(fleet, (session) =>
      revokeCertificates(session, wish({ certificates: ['0b0b0b'] }), sayYes().ask),
    )
  await revoke()
  expect(agent.revocations).toEqual([{ serial: '0b0b0b' }])
  agent.mayListAll = false
  await expect(revoke()).rejects.toMatchObject({
    code: 'MCM_NOT_FOUND',
    hint: expect.stringContaining('idc-k8s'),
  })
})

test('a device or a user ends in every cluster, and that wants its name typed', async () => {
  const ack = await registeredCluster(fleet, 'ack')
  agent.certificates = [issued('bob', '0b0b0b')]
  const { risks, ask } = sayYes()
  await asAda(fleet, (session) => revokeCertificates(session, wish({ user: 'bob' }), ask))
  expect([agent.revocations, ack.revocations]).toEqual([[{ user: 'bob' }], [{ user: 'bob' }]])
  expect(risks).toMatchObject([{ level: 'high', name: 'bob' }])
  expect(risks[0]!.lost.at(-1)).toMatch(/^bob gets no certificate at ack, idc-k8s /)
  const device = wish({ device: 'laptop', clusters: ['ack'] })
  await asAda(fleet, (session) => revokeCertificates(session, device, ask))
  const { id } = (await requireState(fleet.ada.home)).device
  expect(ack.revocations.at(-1)).toEqual({ device: id })
  expect(agent.revocations).toHaveLength(1)
})

test('of devices of one name it is one’s own that ends, and another’s is named with its user', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  const [own, bobs] = [await requireState(fleet.ada.home), await requireState(bob.home)]
  const revoke = (changes: Partial<EndingWish>) =>
    asAda(fleet, (session) =>
      revokeCertificates(session, wish({ device: 'laptop', ...changes }), sayYes().ask),
    )
  await revoke({})
  await revoke({ user: 'bob' })
  expect(agent.revocations).toEqual([{ device: own.device.id }, { device: bobs.device.id }])
})

test('a cluster that could not be told shows in the exit code', async () => {
  await joinedDevice(fleet, 'bob')
  agent.mayListAll = false
  const ended = await asAda(fleet, (session) =>
    revokeCertificates(session, wish({ user: 'bob' }), sayYes().ask),
  )
  expect(ended.problems).toMatchObject([{ cluster: 'idc-k8s' }])
  expect(exitCodeOfCertificates(ended)).toBe(9)
  expect(exitCodeOfCertificates({ problems: [] })).toBe(0)
})

test('a device that an agent does not know is not said to be ended there', async () => {
  const bob = await requireState((await joinedDevice(fleet, 'bob')).home)
  agent.revocationRefusal = new NotFoundError('MCM_NOT_FOUND', 'no certificate here is of that')
  const ended = await asAda(fleet, (session) =>
    revokeCertificates(session, wish({ device: bob.device.id }), sayYes().ask),
  )
  expect(ended.problems).toMatchObject([{ cluster: 'idc-k8s' }])
  expect(exitCodeOfCertificates(ended)).toBe(9)
})

test('a device is told to the clusters that its user may reach, and is shown whole before', async () => {
  const { device } = await requireState((await joinedDevice(fleet, 'bob')).home)
  const grant = { subject: { kind: 'user', name: 'bob' }, role: 'ro' } as const
  await asAda(fleet, (session) => grantRole(session, grant, ['idc-k8s']))
  const ack = await registeredCluster(fleet, 'ack')
  const { risks, ask } = sayYes()
  await asAda(fleet, (session) =>
    revokeCertificates(session, wish({ device: device.id.slice(0, 8) }), ask),
  )
  expect([agent.revocations, ack.revocations]).toEqual([[{ device: device.id }], []])
  expect(risks[0]!.lost.at(-1)).toContain(`device ${device.id} (laptop of bob)`)
})

test('a slip in the name of a user ends nobody, and is not said to be done', async () => {
  await expect(
    asAda(fleet, (session) => revokeCertificates(session, wish({ user: 'bbo' }), sayYes().ask)),
  ).rejects.toMatchObject({ code: 'MCM_NOT_FOUND' })
  expect(agent.revocations).toEqual([])
})

test('a beginning that fits more than one certificate ends none of them', async () => {
  agent.certificates = [issued('ada', '0a0a0a01'), issued('ada', '0a0a0a02')]
  const { ask } = sayYes()
  const one = wish({ certificates: ['0a0a0a'] })
  for (const end of [revokeCertificates, purgeCertificates])
    await expect(asAda(fleet, (session) => end(session, one, ask))).rejects.toMatchObject({
      code: 'MCM_USAGE',
      hint: expect.stringContaining('0a0a0a01, 0a0a0a02'),
    })
  await asAda(fleet, (session) =>
    revokeCertificates(session, wish({ certificates: ['0a0a0a01'] }), ask),
  )
  expect([agent.revocations, agent.binned]).toEqual([[{ serial: '0a0a0a01' }], []])
})

test('a hostile agent cannot make the beginning of a device’s id name another one', async () => {
  const { device } = await requireState((await joinedDevice(fleet, 'bob')).home)
  const typed = device.id.slice(0, 8)
  const false1 = issued('bob', '0a0a0a', { device: typed.padEnd(43, 'z') })
  agent.certificates = [false1, { ...false1, user: 'ada', serial: '0b0b0b' }]
  await asAda(fleet, (session) =>
    revokeCertificates(session, wish({ device: typed }), sayYes().ask),
  )
  expect(agent.revocations).toEqual([{ device: device.id }])
})

test('a certificate in the bin can be revoked too', async () => {
  agent.certificates = [issued('ada', '0a0a0a', { purged: '2026-01-01T01:00:00Z' })]
  await asAda(fleet, (session) =>
    revokeCertificates(session, wish({ certificates: ['0a0a0a'] }), sayYes().ask),
  )
  expect(agent.revocations).toEqual([{ serial: '0a0a0a' }])
})

test('who says no has changed nothing', async () => {
  agent.certificates = [issued('ada', '0a0a0a')]
  const no = async () => {
    throw new Error('no')
  }
  for (const certificates of [['0a0a0a'], []])
    await expect(
      asAda(fleet, (session) =>
        revokeCertificates(session, wish({ certificates, user: 'ada' }), no),
      ),
    ).rejects.toThrow('no')
  expect(agent.revocations).toEqual([])
})

test.each([
  ['nothing named', {}, 'MCM_USAGE'],
  ['too short a beginning', { certificates: ['0a'] }, 'MCM_USAGE'],
  ['a certificate there is not', { certificates: ['ffffff'] }, 'MCM_NOT_FOUND'],
  ['a device there is not', { device: 'abacus' }, 'MCM_NOT_FOUND'],
  ['a cluster there is not', { user: 'bob', clusters: ['nowhere'] }, 'MCM_CLUSTER_UNKNOWN'],
])('revoking with %s is an error', async (_, changes, code) => {
  agent.certificates = [issued('ada', '0a0a0a')]
  await expect(
    asAda(fleet, (session) => revokeCertificates(session, wish(changes), sayYes().ask)),
  ).rejects.toMatchObject({ code })
  expect(agent.revocations).toEqual([])
})

test('without a name one’s own that stand no more go into the bin', async () => {
  agent.certificates = [
    issued('ada', '0a0a0a'),
    issued('ada', '0b0b0b', { revoked: '2026-01-01T01:00:00Z' }),
    issued('bob', '0c0c0c', { revoked: '2026-01-01T01:00:00Z' }),
  ]
  await asAda(fleet, (session) => purgeCertificates(session, wish({}), sayYes().ask))
  expect(agent.binned).toEqual([['purge', '0b0b0b']])
})

test('what is named goes into the bin also while it stands, and comes out again', async () => {
  agent.certificates = [issued('ada', '0a0a0a')]
  const { risks, ask } = sayYes()
  const one = wish({ certificates: ['0a0a0a'] })
  await asAda(fleet, (session) => purgeCertificates(session, one, ask))
  expect(risks[0]!.lost).toHaveLength(2)
  agent.certificates = [issued('ada', '0a0a0a', { purged: '2026-01-01T01:00:00Z' })]
  expect((await list({ bin: true })).certificates).toMatchObject([{ state: 'purged' }])
  await asAda(fleet, (session) => restoreCertificates(session, one))
  expect(agent.binned).toEqual([
    ['purge', '0a0a0a'],
    ['restore', '0a0a0a'],
  ])
})
