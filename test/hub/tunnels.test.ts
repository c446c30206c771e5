import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HubApi } from '../../src/client/hub.ts'
import { Directory } from '../../src/directory/directory.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { closed, readText, Stage, type TestCluster, until } from './stage.ts'

let stage: Stage
let cluster: TestCluster
let api: HubApi

beforeEach(async () => {
  stage = await Stage.founded()
  cluster = await stage.cluster('alice')
  api = await stage.api(stage.alice)
})

afterEach(() => stage.stop())

async function agentsOf(id: string) {
  return (await api.presence()).find((each) => each.id === id)!.agents
}

/** An agent that answers every stream with its own name. */
function named(name: string) {
  return {
    replica: name,
    connect: (_authority: string, _headers: unknown, stream: Duplex) => {
      stream.resume()
      stream.end(name)
    },
  }
}

async function answerer(): Promise<string> {
  return readText(await api.connect(cluster.authority))
}

describe('who may bring a tunnel', () => {
  it('is a key that a cluster’s statement names; others are sent away with a reason', async () => {
    const stranger = { ...cluster, agentKey: generateSigningKey() }
    const { tunnel } = await stage.startAgent(stranger)
    await tunnel.closed
    expect(await agentsOf(cluster.id)).toEqual([])
    expect(stage.log.of('tunnel_goodbye')).toEqual([
      expect.objectContaining({ reason: 'no cluster of the directory has this key' }),
    ])
    await (await stage.startAgent({ ...cluster, agentKey: stage.alice })).tunnel.closed
    expect(stage.log.of('tunnel_opened')).toEqual([])
  })

  it('is not an agent that says it is of another cluster', async () => {
    const other = await stage.cluster('alice')
    const { tunnel } = await stage.startAgent(cluster, { hello: { cluster: other.id } })
    await tunnel.closed
    expect(await agentsOf(other.id)).toEqual([])
  })

  it('is not an agent whose hello is none', async () => {
    const { tunnel } = await stage.startAgent(cluster, { hello: { replica: 5 as never } })
    await tunnel.closed
    expect(await agentsOf(cluster.id)).toEqual([])
  })

  it('is not an agent of a cluster that has been removed, which learns it first', async () => {
    const agent = await stage.agent(cluster)
    await stage.append({ type: 'revoke', detail: { cluster: cluster.id, reason: 'gone' } })
    await agent.tunnel.closed
    expect(agent.directory.state.clusters.has(cluster.id)).toBe(false)
    await (await stage.startAgent(cluster)).tunnel.closed
  })
})

describe('an agent’s directory', () => {
  it('is brought up to date before anybody is sent to it', async () => {
    await stage.admit('bob')
    const agent = await stage.agent(cluster)
    expect(agent.directory.head).toEqual(stage.directory.head)
    expect(agent.directory.state.isMember('alice', cluster.id)).toBe(true)
  })

  it('gets what is new at once, old details that now concern it included, each once', async () => {
    const agent = await stage.agent(cluster)
    const bob = await stage.admit('bob')
    await until(() => agent.directory.head!.seq === stage.directory.head!.seq, 'the push')
    expect(agent.directory.state.deviceOwner(bob.id)).toBeUndefined()
    await stage.member('add', 'bob', cluster.id)
    await until(() => agent.directory.state.isMember('bob', cluster.id), 'the next push')
    expect(agent.directory.state.isLiveDevice(bob.id)).toBe(true)
    const sent = agent.pushes.flatMap(({ details }) => details.map(({ seq }) => seq))
    expect(new Set(sent).size).toBe(sent.length)
  })

  it('never gets a detail of other clusters’ people', async () => {
    const other = await stage.cluster()
    const agent = await stage.agent(other)
    await stage.admit('bob')
    await stage.member('add', 'bob', cluster.id)
    await until(() => agent.directory.head!.seq === stage.directory.head!.seq, 'the push')
    expect(JSON.stringify(agent.pushes.map(({ details }) => details))).not.toContain('bob')
  })

  it('gets only what follows its own head, and that once more, which says that the hub has it', async () => {
    const first = await stage.agent(cluster)
    first.tunnel.stop()
    await first.tunnel.closed
    await stage.admit('bob')
    const again = await stage.agent(cluster, { directory: first.directory })
    const texts = again.pushes.flatMap(({ statements }) => statements)
    const known = first.directory.head!.seq
    expect(texts).toEqual(stage.directory.statements.slice(known).map(({ text }) => text))
    expect(again.directory.head).toEqual(stage.directory.head)
  })

  it('that is ahead of the hub, or another, gets nothing, and the log says so', async () => {
    const other = await Stage.founded()
    const directory = await Directory.empty(other.directory.fleet).extend({
      statements: other.directory.statements.map(({ text }) => text),
      details: [...other.directory.details.values()],
    })
    await other.stop()
    const agent = await stage.agent(cluster, { directory })
    expect(agent.pushes).toEqual([])
    expect(stage.log.of('directory_push_refused')).toHaveLength(1)
  })
})

describe('several replicas', () => {
  it('take turns, and the least busy comes first', async () => {
    await stage.agent(cluster, named('agent-0'))
    await stage.agent(cluster, named('agent-1'))
    const answers = [await answerer(), await answerer(), await answerer(), await answerer()]
    expect(answers.sort()).toEqual(['agent-0', 'agent-0', 'agent-1', 'agent-1'])
  })

  it('stand in for each other: when one dies its streams end, and the next goes to the other', async () => {
    const streams: Duplex[] = []
    const hold = (_authority: string, _headers: unknown, stream: Duplex) => {
      streams.push(stream.on('error', () => {}))
    }
    const first = await stage.agent(cluster, { replica: 'agent-0', connect: hold })
    const stream = await api.connect(cluster.authority)
    stream.on('error', () => {}).resume()
    await stage.agent(cluster, named('agent-1'))
    const started = performance.now()
    first.socket.destroy()
    await closed(stream)
    expect(performance.now() - started).toBeLessThan(1_000)
    expect(await answerer()).toBe('agent-1')
    expect((await agentsOf(cluster.id)).map(({ replica }) => replica)).toEqual(['agent-1'])
  })

  it('stand in for one that hangs', async () => {
    await stage.stop()
    stage = await Stage.founded({ limits: { agentAnswerMs: 50 } })
    cluster = await stage.cluster('alice')
    api = await stage.api(stage.alice)
    const silent = await stage.agent(cluster, named('agent-0'))
    await stage.agent(cluster, named('agent-1'))
    // Nothing it has to say leaves the machine any more.
    silent.socket.cork()
    expect([await answerer(), await answerer(), await answerer()]).toEqual([
      'agent-1',
      'agent-1',
      'agent-1',
    ])
  })

  it('that drain get nothing new and may end what they have', async () => {
    const first = await stage.agent(cluster, { replica: 'agent-0' })
    const running = await api.connect(cluster.authority)
    await stage.agent(cluster, named('agent-1'))
    void first.tunnel.stop(5_000)
    await until(() => stage.log.of('tunnel_goodbye').length > 0, 'the goodbye arrives')
    expect([await answerer(), await answerer()]).toEqual(['agent-1', 'agent-1'])
    running.end('still echoed')
    expect(await readText(running)).toBe('still echoed')
  })
})

describe('one replica', () => {
  it('that dials again replaces its former tunnel', async () => {
    const former = await stage.agent(cluster, named('agent-0'))
    await stage.agent(cluster, { ...named('newer'), replica: 'agent-0' })
    await former.tunnel.closed
    expect(await agentsOf(cluster.id)).toHaveLength(1)
    expect(await answerer()).toBe('newer')
  })

  it('is remembered after it left, also by a hub that stops at once', async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'mcm-hub-')), 'hub.db')
    await stage.stop()
    stage = await Stage.founded({}, path)
    cluster = await stage.cluster('alice')
    const agent = await stage.agent(cluster)
    stage.world.forward(60_000)
    agent.socket.destroy()
    await until(() => stage.log.of('tunnel_closed').length === 1, 'it leaves')
    await stage.stop()
    await stage.start()
    expect(await stage.store.readAgents()).toEqual([
      {
        cluster: cluster.id,
        replica: 'agent-0',
        version: '1.2.3',
        kubernetesVersion: 'v1.36.3',
        lastSeen: '2026-03-01T12:01:00Z',
      },
    ])
  })

  it('whose path goes silent is noticed and taken out', async () => {
    await stage.stop()
    stage = await Stage.founded({ limits: { pingIntervalMs: 20, pingTimeoutMs: 60 } })
    cluster = await stage.cluster('alice')
    api = await stage.api(stage.alice)
    const agent = await stage.agent(cluster)
    agent.socket.pause()
    agent.socket.cork()
    await until(() => stage.log.of('tunnel_silent').length > 0, 'the hub notices')
    expect(await agentsOf(cluster.id)).toEqual([])
  })
})

describe('an agent turned hostile', () => {
  /** Raw HTTP/2 frames after a server's SETTINGS. */
  async function raw(...frames: Buffer[]): Promise<Duplex> {
    const socket = await stage.dial(cluster.agentKey, 'mcm-tunnel/1')
    socket.on('error', () => {}).resume()
    const settings = Buffer.from('000000040000000000', 'hex')
    socket.write(Buffer.concat([settings, ...frames]))
    return socket
  }

  it.each([
    ['opens a stream toward the hub', '0000050105000000028286840041'],
    ['opens an odd stream that the hub did not', '0000050105000000638286840041'],
    ['pushes a promise', '000009050400000001000000028286840041'],
    ['sends what is no frame', 'ffffffffffffffffffffffffffff'],
  ])('that %s loses its tunnel, and nobody else anything', async (_what, frame) => {
    const other = await stage.cluster('alice')
    await stage.agent(other)
    const socket = await raw(Buffer.from(frame, 'hex'))
    await once(socket, 'close')
    const stream = await api.connect(other.authority)
    stream.end('fine')
    expect(await readText(stream)).toBe('fine')
    expect(await agentsOf(cluster.id)).toEqual([])
  })

  it('that floods the hub with pings and settings is cut off or ignored, not obeyed for ever', async () => {
    const ping = Buffer.from('0000080600000000000000000000000000', 'hex')
    const socket = await raw(Buffer.concat(Array.from({ length: 20_000 }, () => ping)))
    expect((await api.info()).version).toBe('1.2.3')
    socket.destroy()
  })
})
