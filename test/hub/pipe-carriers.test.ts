import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { HubApi } from '../../src/client/hub.ts'
import { pipeHost } from '../../src/protocol/names.ts'
import { readText, Stage, type TestCluster } from './stage.ts'

/** Streams to the pipe host: as those to the cluster host, but that whoever resumes may name the replica. */

let stage: Stage
let cluster: TestCluster
let api: HubApi

beforeEach(async () => {
  stage = await Stage.founded()
  cluster = await stage.cluster('alice')
  api = await stage.api(stage.alice)
})

afterEach(() => stage.stop())

/** An agent that answers every stream with its name and the authority asked for. */
function named(name: string) {
  return {
    replica: name,
    connect: (authority: string, _headers: unknown, stream: Duplex) => {
      stream.resume()
      stream.end(`${name} ${authority}`)
    },
  }
}

const authority = () => `${pipeHost(cluster.id)}:443`

it('reach the replica that is named, every time, and any when none is', async () => {
  await stage.agent(cluster, named('agent-0'))
  await stage.agent(cluster, named('agent-1'))
  for (let time = 0; time < 4; time++)
    expect(await readText(await api.connect(authority(), 'agent-1'))).toBe(`agent-1 ${authority()}`)
  expect(await readText(await api.connect(authority()))).toMatch(/^agent-[01] pipe\./)
})

it('are refused at once when the replica that is named is not there, and no other takes them', async () => {
  await stage.agent(cluster, named('agent-0'))
  const began = performance.now()
  await expect(api.connect(authority(), 'agent-7')).rejects.toMatchObject({
    code: 'MCM_AGENT_UNREACHABLE',
    message: 'the agent of this session is not connected to the hub',
  })
  expect(performance.now() - began).toBeLessThan(2_000)
})

it('are for nobody who may not reach the cluster, named replica or not', async () => {
  const bob = await stage.admit('bob')
  await stage.agent(cluster, named('agent-0'))
  const other = await stage.api(bob)
  for (const replica of [undefined, 'agent-0'])
    await expect(other.connect(authority(), replica)).rejects.toMatchObject({
      code: 'MCM_FORBIDDEN',
      message: 'there is no such cluster, or this certificate may not reach it',
    })
  await stage.member('add', 'bob', cluster.id)
  expect(await readText(await other.connect(authority(), 'agent-0'))).toContain('agent-0')
})
