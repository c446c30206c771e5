import { afterEach, beforeEach, expect, test } from 'vitest'
import { openProxyWays, type ProxyWays } from '../../src/device/proxy-ways.ts'
import { revokeUser } from '../../src/device/revoke.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, DAY, registeredCluster, type TestFleet } from './fleet.ts'
import { eachWithCluster, readersDevice } from './scene.ts'

let fleet: TestFleet
let agent: FakeAgent
let ways: ProxyWays

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

beforeEach(() => {
  ways = openProxyWays(fleet.ada)
})

afterEach(() => ways.close())

test('clusters are those of the directory at this moment', async () => {
  expect(await ways.clusters()).toMatchObject([{ id: agent.id, name: 'idc-k8s' }])
  await registeredCluster(fleet, 'edge')
  expect((await ways.clusters()).map(({ name }) => name)).toEqual(['edge', 'idc-k8s'])
})

test('one connection to the hub serves everything', async () => {
  fleet.world.advance(DAY)
  const before = fleet.hub.connections
  await Promise.all([ways.clusters(), ways.credential(agent.id), ways.clusters()])
  const stream = await ways.connect(agent.id)
  stream.destroy()
  expect(fleet.hub.connections).toBe(before + 1)
})

test('a credential says whom it names', async () => {
  expect(await ways.credential(agent.id)).toMatchObject({ user: 'ada', groups: [] })
})

test('a connection that broke is opened anew at the next use', async () => {
  await ways.clusters()
  fleet.hub.dropConnections()
  fleet.world.advance(DAY)
  await expect.poll(async () => (await ways.credential(agent.id)).user).toBe('ada')
})

test('while the hub is down the clusters of before are still known', async () => {
  await ways.clusters()
  await fleet.hub.stop()
  expect(await ways.clusters()).toMatchObject([{ name: 'idc-k8s' }])
  await expect(ways.connect(agent.id)).rejects.toMatchObject({ exitCode: 6 })
})

test('someone who was revoked is shown nothing any more', async () => {
  const his = openProxyWays(await readersDevice(fleet, 'bob'))
  expect(await his.clusters()).toHaveLength(1)
  await asAda(fleet, (session) => revokeUser(session, 'bob', ''))
  await expect(his.clusters()).rejects.toMatchObject({ code: 'MCM_REVOKED' })
  his.close()
})
