import { afterEach, beforeEach, expect, test } from 'vitest'
import { openProxyWays, type ProxyWays } from '../../src/device/proxy-ways.ts'
import { revokeUser } from '../../src/device/revoke.ts'
import { ProvenEnd } from '../../src/pipe/initiator.ts'
import { pipeHost } from '../../src/protocol/names.ts'
import type { FakeAgent } from './fake-agent.ts'
import { asAda, type TestFleet } from './fleet.ts'
import { eachWithCluster, readersDevice } from './scene.ts'

/** Carriers for the pipes of `mcm proxy`. */

let fleet: TestFleet
let agent: FakeAgent
let bobs: ProxyWays
const { signal } = new AbortController()
const FIRST = { replica: undefined, attempt: 0, signal }
const AGAIN = { replica: 'agent-a', attempt: 1, signal }

eachWithCluster((founded, registered) => {
  fleet = founded
  agent = registered
})

beforeEach(async () => {
  bobs = openProxyWays(await readersDevice(fleet, 'bob'))
  await bobs.clusters()
})

afterEach(() => bobs.close())

const asked = () => fleet.hub.requests.filter((line) => line.startsWith('CONNECT pipe.'))

test('are streams to the pipe host, on the one connection to the hub', async () => {
  const before = fleet.hub.connections
  const carriers = [
    await bobs.connectPipe(agent.id, FIRST),
    await bobs.connectPipe(agent.id, AGAIN),
  ]
  for (const carrier of carriers) carrier.on('error', () => {}).destroy()
  expect(asked()).toEqual(carriers.map(() => `CONNECT ${pipeHost(agent.id)}:443`))
  expect(fleet.hub.connections).toBe(before)
})

test('are found again when the connection to the hub broke', async () => {
  fleet.hub.dropConnections()
  await expect
    .poll(async () => {
      const carrier = await bobs.connectPipe(agent.id, AGAIN).catch(() => undefined)
      carrier?.on('error', () => {}).destroy()
      return carrier !== undefined
    })
    .toBe(true)
})

test('a refusal of the hub alone proves nothing', async () => {
  fleet.hub.agents.delete(agent.id)
  const refused = bobs.connectPipe(agent.id, AGAIN)
  await expect(refused).rejects.toMatchObject({ code: 'MCM_AGENT_UNREACHABLE' })
  await expect(refused).rejects.not.toBeInstanceOf(ProvenEnd)
})

test('a revocation in the directory ends the search, with its reason', async () => {
  await asAda(fleet, (session) => revokeUser(session, 'bob', ''))
  await expect
    .poll(() => bobs.connectPipe(agent.id, AGAIN).catch((error: unknown) => error))
    .toMatchObject({ name: 'ProvenEnd', reason: { code: 'MCM_REVOKED' } })
})
