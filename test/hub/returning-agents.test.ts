import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HubOptions } from '../../src/hub/hub.ts'
import { readText, Stage, type TestCluster } from './stage.ts'

let stage: Stage
let cluster: TestCluster
let directory: string

afterEach(async () => {
  await stage.stop()
  await rm(directory, { recursive: true, force: true })
})

/** A hub that had an agent of `cluster` and has just been started again without it. */
async function startedAgain(limits: HubOptions['limits']): Promise<void> {
  directory = await mkdtemp(join(tmpdir(), 'mcm-test-hub-'))
  const path = join(directory, 'hub.db')
  stage = await Stage.founded({ limits: { attendanceMs: 0, ...limits } }, path)
  cluster = await stage.cluster('alice')
  await stage.agent(cluster)
  await expect.poll(() => stage.store.readAgents()).toHaveLength(1)
  await stage.stop()
  await stage.start()
}

describe('a hub that has just been started again', () => {
  beforeEach(() => startedAgain({ returnMs: 10_000 }))

  it('has a person wait for the agent that is on its way back', async () => {
    const api = await stage.api(stage.alice)
    const stream = api.connect(cluster.authority)
    await stage.agent(cluster)
    const line = await stream
    line.end('hello')
    expect(await readText(line)).toBe('hello')
  })

  it('says at once that there is none of a cluster that never had one', async () => {
    const other = await stage.cluster('alice')
    const api = await stage.api(stage.alice)
    const began = performance.now()
    await expect(api.connect(other.authority)).rejects.toMatchObject({
      code: 'MCM_AGENT_UNREACHABLE',
    })
    expect(performance.now() - began).toBeLessThan(2_000)
  })

  it('lets nobody wait who may not reach the cluster', async () => {
    const bob = await stage.admit('bob')
    const api = await stage.api(bob)
    await expect(api.connect(cluster.authority)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
  })

  it('lets nobody wait who is there when it stops', async () => {
    const api = await stage.api(stage.alice)
    const waiting = api.connect(cluster.authority)
    waiting.catch(() => {})
    await stage.hub.stop()
    await expect(waiting).rejects.toThrow()
  })
})

it('a hub whose agents had time to come back says at once that there is none', async () => {
  await startedAgain({ returnMs: 50 })
  const api = await stage.api(stage.alice)
  await expect(api.connect(cluster.authority)).rejects.toMatchObject({
    code: 'MCM_AGENT_UNREACHABLE',
  })
})
