import { mkdtemp, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { signingKeyPem } from '../../src/directory/signing-key.ts'
import { ensureStartToken } from '../../src/hub/start-token.ts'
import { closed, readText, Stage, until } from './stage.ts'

let stage: Stage

afterEach(() => stage.stop())

async function databasePath(): Promise<string> {
  return join(await mkdtemp(join(tmpdir(), 'mcm-hub-')), 'hub.db')
}

describe('a hub that is started again', () => {
  it('has everything that it confirmed', async () => {
    stage = await Stage.founded({}, await databasePath())
    const cluster = await stage.cluster('alice')
    await stage.admit('bob')
    const api = await stage.api(stage.alice)
    const registration = await api.newCluster('pending')
    const before = await api.directory({ after: -1, details: 'all' })
    await stage.stop()
    await stage.start()
    const again = await stage.api(stage.alice)
    expect(await again.directory({ after: -1, details: 'all' })).toEqual(before)
    expect(await again.publication(registration.id, 0)).toBeUndefined()
    await stage.agent(cluster)
    const stream = await again.connect(cluster.authority)
    stream.end('hello')
    expect(await readText(stream)).toBe('hello')
    expect(await ensureStartToken(stage.store, stage.world)).toBeUndefined()
  })

  it('refuses a directory of which somebody changed a byte', async () => {
    stage = await Stage.founded({}, await databasePath())
    await stage.admit('bob')
    await stage.tamper()
    await stage.stop()
    await expect(stage.start()).rejects.toMatchObject({
      code: 'MCM_STATE_DAMAGED',
      exitCode: 8,
      hint: expect.stringContaining('backup'),
    })
    stage = await Stage.open()
  })
})

describe('what a hub keeps on disk', () => {
  it('holds no token, no key and no secret after a day of use', async () => {
    const path = await databasePath()
    stage = await Stage.open({}, path)
    const token = (await ensureStartToken(stage.store, stage.world))!.reveal()
    const alice = await stage.api(stage.alice)
    const update = await stage.foundingStatements()
    await alice.foundFleet({ token, ...update })
    const { joinToken } = await alice.newCluster('idc')
    const files = await readdir(join(path, '..'))
    const contents = await Promise.all(
      files.map((name) => readFile(join(path, '..', name), 'latin1')),
    )
    const disk = contents.join('')
    expect(disk).toContain('hash')
    for (const secret of [token, joinToken, signingKeyPem(stage.alice).reveal().split('\n')[1]!])
      expect(disk).not.toContain(secret)
    expect(disk).not.toContain('PRIVATE KEY')
    const logged = JSON.stringify(stage.log.lines)
    for (const secret of [token, joinToken]) expect(logged).not.toContain(secret)
  })
})

describe('a hub that stops', () => {
  it('lets connections end, takes no new ones, and tells agents to go', async () => {
    stage = await Stage.founded({ limits: { drainMs: 5_000 } })
    const cluster = await stage.cluster('alice')
    const agent = await stage.agent(cluster)
    const api = await stage.api(stage.alice)
    const stream = await api.connect(cluster.authority)
    const stopping = stage.hub.stop()
    await agent.tunnel.draining
    const late = stage.tcp()
    await closed(late)
    expect(late.bytesRead).toBe(0)
    stream.end('last words')
    expect(await readText(stream)).toBe('last words')
    await stopping
    await stage.hub.closed
  })

  it('ends after its bound what does not end by itself', async () => {
    stage = await Stage.founded({ limits: { drainMs: 50 } })
    const cluster = await stage.cluster('alice')
    const agent = await stage.agent(cluster)
    const { socket } = await stage.connect(cluster.authority, await stage.keyIdentity(stage.alice))
    socket.resume()
    const [idle, waiting] = [await stage.api(stage.alice), await stage.api(stage.alice)]
    const { id } = await idle.newCluster('x')
    const poll = waiting.publication(id, 60).catch((error) => error)
    const started = performance.now()
    await stage.hub.stop()
    expect(performance.now() - started).toBeLessThan(2_000)
    await Promise.all([agent.tunnel.closed, idle.closed, waiting.closed])
    expect(await poll).toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
    await until(() => stage.log.of('relay_closed').length === 1, 'the relay')
  })

  it('stops by its signal, and twice is once', async () => {
    const abort = new AbortController()
    stage = await Stage.open({}, ':memory:', abort.signal)
    abort.abort()
    await stage.hub.closed
    await stage.hub.stop()
    expect(stage.log.of('hub_stopped')).toHaveLength(1)
  })
})
