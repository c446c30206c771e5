import { expect, test } from 'vitest'
import type { AgentApi } from '../../src/client/agent.ts'
import { addAdmin } from '../../src/device/admins.ts'
import { appendStatements, type Draft } from '../../src/device/append.ts'
import { exitCodeOfCertificates, revokeCertificates } from '../../src/device/certificate-end.ts'
import { listCertificates } from '../../src/device/certificate-list.ts'
import { withCluster } from '../../src/device/cluster-access.ts'
import { confirmWhenDue } from '../../src/device/confirm-directory.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { type GossipOutcome, gossip } from '../../src/device/gossip.ts'
import { grantRole } from '../../src/device/grant.ts'
import { revokeUser } from '../../src/device/revoke.ts'
import { Directory } from '../../src/directory/directory.ts'
import { lackingDetails } from '../../src/directory/lacking.ts'
import type { SigningKey } from '../../src/directory/signing-key.ts'
import { AccessDeniedError, TrustError, UnreachableError } from '../../src/errors.ts'
import type { DirectoryAppend } from '../../src/protocol/messages.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, DAY, HOUR, joinedDevice, registeredCluster, type TestFleet } from './fleet.ts'
import { eachWithCluster } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

const whoami = () =>
  asAda(fleet, (session) =>
    withCluster(session, session.directory.state.clusters.get(agent.id)!, (access) =>
      access.agent.whoami(),
    ),
  )

/** What a device that is no administrator's tells an agent. */
const tellAll = (
  listener: Pick<AgentApi, 'nameHead' | 'bringDirectory'>,
  patienceMs = 60_000,
): Promise<GossipOutcome> => {
  const { directory } = fleet.hub
  return gossip(listener, { directory, key: { id: 'nobody' } }, agent.id).wait(patienceMs)
}

const certificates = (bringsDirectory: boolean) =>
  asAda(fleet, (session) =>
    listCertificates(session, { clusters: [], all: true, bin: false, bringsDirectory }),
  )

const saidOfAgents = () => fleet.ada.said.filter((line) => line.includes('the agent of'))

const confirm = () => asAda(fleet, confirmWhenDue)

const grantTo = (name: string, cluster: string) =>
  asAda(fleet, (session) =>
    grantRole(session, { subject: { kind: 'user', name }, role: 'mcm:ro' }, [cluster]),
  )

/** As an agent says it that has the details of all others. */
function lacking(hidden: readonly { readonly seq: number }[]): string {
  const { statements } = fleet.hub.directory
  const details = new Map(fleet.hub.directory.details)
  for (const { seq } of hidden) details.delete(seq)
  return lackingDetails({ statements, details })
}

/** What anybody may sign who has a device. */
function asked(key: SigningKey): Draft {
  const detail = { cluster: agent.id, user: 'bob', role: 'mcm:ops', seconds: 600, reason: 'why' }
  return { type: 'request', detail, signers: [key] }
}

test('every session tells the agent how far this device knows the directory', async () => {
  agent.heads.length = 0
  await whoami()
  expect(agent.heads).toEqual([fleet.hub.directory.head])
  expect(agent.brought).toEqual([])
})

test('an agent that is behind is brought the statements and the details that it lacks', async () => {
  const { statements } = fleet.hub.directory
  const { seq, hash } = statements.at(-3)!
  agent.head = { seq, hash }
  await whoami()
  const page = fleet.hub.directory.page(seq)
  expect(agent.brought).toEqual([{ statements: page.statements, details: page.details }])
  const behind = await Directory.empty(fleet.hub.directory.fleet).extend({
    statements: statements.slice(0, seq + 1).map(({ text }) => text),
    details: [...fleet.hub.directory.details.values()].filter((each) => each.seq <= seq),
  })
  const extended = await behind.extend(agent.brought[0]!)
  expect(extended.head).toEqual(fleet.hub.directory.head)
})

test('an agent on another chain, or one that cannot be told, keeps nobody from working', async () => {
  agent.head = { seq: 1, hash: 'H'.repeat(43) }
  for (let index = 0; index < 2; index += 1) expect(await whoami()).toMatchObject({ user: 'ada' })
  expect(agent.brought).toEqual([])
  expect(saidOfAgents()).toEqual([
    expect.stringMatching(/idc-k8s is on another directory: .* another statement 1 .*mcm certs/),
  ])
  const deaf = {
    nameHead: async () => {
      throw new UnreachableError('MCM_AGENT_UNREACHABLE', 'gone')
    },
    bringDirectory: async () => null,
  }
  expect(await tellAll(deaf)).toEqual({ result: 'unfinished', why: 'gone' })
})

test('an agent is brought the details that no hub showed it, and only those that concern it', async () => {
  const other = await registeredCluster(fleet, 'ack')
  await joinedDevice(fleet, 'bob')
  await grantTo('bob', 'idc-k8s')
  await joinedDevice(fleet, 'carol')
  await grantTo('carol', 'ack')
  await asAda(fleet, (session) => revokeUser(session, 'bob', 'left'))
  const { directory } = fleet.hub
  const lacked = directory.statements.filter(({ type }) => type === 'revoke' || type === 'member')
  agent.lacks = lacking(lacked)
  agent.brought.length = 0
  await whoami()
  const brought = agent.brought.flatMap(({ details }) => details)
  expect(agent.brought.every(({ statements }) => statements.length === 0)).toBe(true)
  expect(brought.map(({ text }) => text).join()).toContain('"user":"bob","reason":"left"')
  expect(JSON.stringify(brought)).not.toMatch(new RegExp(`carol|${other.id}`))
  expect(brought.every(({ seq }) => lacked.some((statement) => statement.seq === seq))).toBe(true)
})

test('revocations come first, and what anybody may sign in heaps after the statements of admins', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  await grantTo('bob', 'idc-k8s')
  for (let index = 0; index < 3; index += 1)
    await withFleet(bob, (session) => appendStatements(session, ({ key }) => [asked(key)]))
  await asAda(fleet, (session) => revokeUser(session, 'bob', 'left'))
  const { seq, hash } = fleet.hub.directory.head!
  fleet.world.advance(2 * DAY)
  await confirm()
  const { directory } = fleet.hub
  const [head, told] = [{ seq, hash }, [] as DirectoryAppend[]]
  const behind = {
    nameHead: async () => ({ head, lacks: lacking(directory.statements.slice(3, seq + 1)) }),
    bringDirectory: async (batch: DirectoryAppend) => {
      told.push(batch)
      return directory.head
    },
  }
  expect(await tellAll(behind)).toEqual({ result: 'brought' })
  const typesOf = ({ details }: DirectoryAppend) =>
    details.map((detail) => directory.statements[detail.seq]!.type)
  expect(told.map(({ statements }) => statements.length)).toEqual([0, 1, 0])
  const [ends, byAdmins, others] = told.map(typesOf)
  expect(ends).toEqual(['revoke'])
  expect(byAdmins).toContain('member')
  expect(byAdmins).not.toContain('request')
  expect(others).toEqual(expect.arrayContaining(['device', 'request', 'request', 'request']))
})

test('an administrator to whom a hub does not show what statements say is told, and nobody else', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  await joinedDevice(fleet, 'carol')
  const other = await joinedDevice(fleet, 'dora')
  await asAda(fleet, (session) => addAdmin(session, 'dora'))
  await withFleet(other, async () => {})
  await asAda(fleet, (session) => revokeUser(session, 'carol', 'left'))
  const { seq } = fleet.hub.directory.statements.findLast(({ type }) => type === 'revoke')!
  const keptBack = (said: readonly string[]) => said.filter((line) => line.includes('keeps back'))
  fleet.hub.tamper = (page) => ({ ...page, details: page.details.filter((each) => each.seq < seq) })
  await withFleet(other, async () => {})
  await withFleet(bob, async () => {})
  expect(keptBack(other.said)).toEqual([
    `the hub keeps back what statement ${seq} (revoke) says, which it shows every administrator`,
  ])
  expect(keptBack([...bob.said, ...fleet.ada.said])).toEqual([])
})

test('an agent that says it has nothing but the beginning hears nothing of other clusters', async () => {
  const other = await registeredCluster(fleet, 'secret-cluster')
  await joinedDevice(fleet, 'carol')
  await grantTo('carol', 'secret-cluster')
  const { seq, hash } = fleet.hub.directory.statements[0]!
  agent.head = { seq, hash }
  agent.brought.length = 0
  await whoami()
  const details = JSON.stringify(agent.brought.map((each) => each.details))
  expect(details).toContain(agent.id)
  expect(details).not.toMatch(new RegExp(`carol|secret-cluster|${other.id}`))
})

test('what others than admins signed last is left to a hub', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  await grantTo('bob', 'idc-k8s')
  const { seq, hash } = fleet.hub.directory.head!
  fleet.world.advance(2 * DAY)
  await confirm()
  await withFleet(bob, (session) => appendStatements(session, ({ key }) => [asked(key)]))
  agent.head = { seq, hash }
  agent.brought.length = 0
  await whoami()
  expect(agent.brought.map(({ statements }) => statements)).toEqual([
    [fleet.hub.directory.statements[seq + 1]!.text],
  ])
  expect(fleet.hub.directory.head!.seq).toBe(seq + 2)
})

test('an agent that takes nothing is said, and where it is asked for a problem of its cluster', async () => {
  const { seq, hash } = fleet.hub.directory.statements.at(-3)!
  agent.head = { seq, hash }
  expect((await certificates(true)).problems).toEqual([])
  expect(saidOfAgents()).toEqual([])
  agent.bringingRefusal = new TrustError('MCM_DIRECTORY_INVALID', 'it does not follow')
  expect((await certificates(false)).problems).toEqual([])
  expect((await certificates(true)).problems).toEqual([
    { cluster: 'idc-k8s', problem: expect.stringMatching(/^not brought .*: it does not follow$/) },
  ])
  expect(saidOfAgents()).toEqual([expect.stringContaining('it does not follow')])
})

test('whoever ends others at an agent hears that it does not know all, once; whoever ends themselves is let tell it no more', async () => {
  await joinedDevice(fleet, 'bob')
  await grantTo('bob', 'idc-k8s')
  const { seq, hash } = fleet.hub.directory.statements.at(-2)!
  agent.head = { seq, hash }
  agent.bringingRefusal = new TrustError('MCM_DIRECTORY_INVALID', 'it does not follow')
  const [day, hour] = ['2026-01-01', 'T00:00:00Z']
  const issued = (user: string, serial: string) => ({
    fingerprint: serial.padEnd(43, 'x'),
    serial,
    user,
    device: 'B'.repeat(43),
    notBefore: `${day}${hour}`,
    notAfter: `2026-01-02${hour}`,
  })
  agent.certificates = [issued('bob', '0b0b0b'), issued('bob', '1b1b1b'), issued('ada', '0a0a0a')]
  const revoke = (...serials: string[]) =>
    asAda(fleet, (session) =>
      revokeCertificates(session, { certificates: serials, clusters: [] }, async () => {}),
    )
  const others = await revoke('0b0b0b', '1b1b1b')
  expect(others.problems).toEqual([
    { cluster: 'idc-k8s', problem: expect.stringContaining('it does not follow') },
  ])
  expect(exitCodeOfCertificates(others)).toBe(9)
  expect((await revoke('0a0a0a')).problems).toEqual([])
  expect(agent.revocations).toHaveLength(3)
})

test('what fills more than one message is brought by an administrator, and said by others, who send none of it', async () => {
  const { directory } = fleet.hub
  const [before, last] = [directory.statements.slice(0, -1), directory.statements.at(-1)!]
  const removal = { ...last, type: 'removal', text: 'x'.repeat(60_000) } as const
  const statements = [...before, ...Array.from({ length: 80 }, () => removal), last]
  const { state } = directory
  // As if somebody had signed that much between two statements of administrators.
  const run: Directory = Object.create(directory, {
    statements: { value: statements },
    state: { value: state },
  })
  const { seq, hash } = before.at(-1)!
  const brought: number[] = []
  let reached = seq
  const listener = {
    nameHead: async () => ({ head: { seq, hash }, lacks: '' }),
    bringDirectory: async (batch: DirectoryAppend) => {
      brought.push(batch.statements.length)
      reached += batch.statements.length
      return { seq: reached, hash: statements[reached]!.hash }
    },
  }
  const tellAs = (id: string) =>
    gossip(listener, { directory: run, key: { id } }, agent.id).wait(60_000)
  expect(await tellAs('nobody')).toEqual({
    result: 'refused',
    why: expect.stringContaining(`statements from ${seq + 1} on fill more than one message`),
  })
  expect(brought).toEqual([])
  expect(await tellAs([...state.admins.keys()][0]!)).toEqual({ result: 'brought' })
  expect(brought.reduce((sum, each) => sum + each)).toBe(81)
})

test('whose access ends meanwhile has been refused nothing', async () => {
  const gone = new AccessDeniedError('MCM_REVOKED', 'revoked')
  const listener = {
    nameHead: async () => {
      throw gone
    },
    bringDirectory: async () => null,
  }
  expect(await tellAll(listener)).toEqual({ result: 'unfinished', why: 'revoked' })
})

test('an agent that others bring something at the moment is brought it afterwards', async () => {
  let busy = 2
  const { seq, hash } = fleet.hub.directory.statements.at(-3)!
  const outcome = tellAll({
    nameHead: async () => ({ head: { seq, hash }, lacks: '' }),
    bringDirectory: async () => {
      busy -= 1
      if (busy >= 0) throw new UnreachableError('MCM_LIMIT', 'others bring some')
      return fleet.hub.directory.head
    },
  })
  expect(await outcome).toEqual({ result: 'brought' })
})

test('nobody waits long for an agent that does not answer', async () => {
  const never = new Promise<never>(() => {})
  const silent = { nameHead: () => never, bringDirectory: () => never }
  const started = performance.now()
  expect(await tellAll(silent, 50)).toMatchObject({ result: 'unfinished' })
  expect(performance.now() - started).toBeLessThan(10_000)
})

test('whoever enrols names the directory too', async () => {
  expect(agent.enrolled.at(-1)).toMatchObject({ head: { seq: expect.any(Number) } })
})

test('an administrator confirms a directory that nobody has signed for a day, once', async () => {
  const before = fleet.hub.directory.head!.seq
  await confirm()
  fleet.world.advance(DAY - HOUR)
  await confirm()
  expect(fleet.hub.directory.head!.seq).toBe(before)
  fleet.world.advance(2 * HOUR)
  await Promise.all([confirm(), confirm()])
  const last = fleet.hub.directory.statements.at(-1)!
  expect([last.seq, last.type]).toEqual([before + 1, 'confirm'])
  await confirm()
  expect(fleet.hub.directory.head!.seq).toBe(before + 1)
})

test('a confirmation of a clock that was ahead is not waited for: the next command signs another', async () => {
  const before = fleet.hub.directory.head!.seq
  fleet.world.advance(30 * DAY)
  await confirm()
  fleet.world.advance(-29 * DAY)
  await confirm()
  expect(fleet.hub.directory.head!.seq).toBe(before + 2)
  await confirm()
  expect(fleet.hub.directory.head!.seq).toBe(before + 2)
  const confirmed = fleet.hub.directory.state.confirmed!.getTime()
  expect(Math.abs(confirmed - fleet.world.now().getTime())).toBeLessThan(1_000)
})

test('nobody else does', async () => {
  const bob = await joinedDevice(fleet, 'bob')
  const before = fleet.hub.directory.head!.seq
  fleet.world.advance(2 * DAY)
  await withFleet(bob, confirmWhenDue)
  expect(fleet.hub.directory.head!.seq).toBe(before)
})

test('a confirmation that cannot be appended now is left for the next time', async () => {
  fleet.world.advance(2 * DAY)
  const before = fleet.hub.directory.head
  fleet.hub.beforeAppend = async () => {
    throw new UnreachableError('MCM_HUB_UNREACHABLE', 'going down')
  }
  const session = await confirm()
  expect(session.directory.head).toEqual(before)
})
