import { expect, test } from 'vitest'
import { withCluster } from '../../src/device/cluster-access.ts'
import { confirmWhenDue } from '../../src/device/confirm-directory.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { gossip } from '../../src/device/gossip.ts'
import { Directory } from '../../src/directory/directory.ts'
import { UnreachableError } from '../../src/errors.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, DAY, HOUR, joinedDevice, type TestFleet } from './fleet.ts'
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

const confirm = () => asAda(fleet, confirmWhenDue)

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
  expect(agent.brought[0]).toEqual({ statements: page.statements, details: page.details })
  const behind = await Directory.empty(fleet.hub.directory.fleet).extend({
    statements: statements.slice(0, seq + 1).map(({ text }) => text),
    details: [...fleet.hub.directory.details.values()].filter((each) => each.seq <= seq),
  })
  const extended = await behind.extend(agent.brought[0]!)
  expect(extended.head).toEqual(fleet.hub.directory.head)
})

test('an agent on another chain, or one that cannot be told, keeps nobody from working', async () => {
  agent.head = { seq: 1, hash: 'H'.repeat(43) }
  expect(await whoami()).toMatchObject({ user: 'ada' })
  expect(agent.brought).toEqual([])
  const deaf = {
    nameHead: async () => {
      throw new UnreachableError('MCM_AGENT_UNREACHABLE', 'gone')
    },
    bringDirectory: async () => null,
  }
  await gossip(deaf, fleet.hub.directory)
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
