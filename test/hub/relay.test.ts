import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateSigningKey, signingKeyPem } from '../../src/directory/signing-key.ts'
import { createKeyCertificate } from '../../src/pki/profiles.ts'
import { clusterHost, enrolmentHost } from '../../src/protocol/names.ts'
import { closed, readText, Stage, type TestCluster, until } from './stage.ts'

const DENIED = 'there is no such cluster, or this certificate may not reach it'
const NO_AGENT = 'no agent of this cluster is connected to the hub'

let stage: Stage

beforeEach(async () => {
  stage = await Stage.founded()
})

afterEach(() => stage.stop())

describe('kubectl through the hub', () => {
  it('is put through with a user certificate, even an expired one: the agent judges time', async () => {
    const cluster = await stage.cluster('alice')
    await stage.agent(cluster)
    const identity = await stage.userIdentity(cluster, 'alice', stage.alice.id)
    const { status, phrase, socket } = await stage.connect(cluster.authority, identity)
    expect([status, phrase]).toEqual([200, 'Connection established'])
    expect(socket.alpnProtocol).toBe('http/1.1')
    socket.end('ping')
    expect(await readText(socket)).toBe('ping')
  })

  it('is put through by a device’s key, whatever the dates of the certificate around it', async () => {
    const cluster = await stage.cluster('alice')
    await stage.agent(cluster)
    const keyPem = signingKeyPem(stage.alice)
    const { random } = stage.world
    const longAgo = { now: () => new Date('2001-01-01T00:00:00Z'), random }
    const certPem = await createKeyCertificate(longAgo, keyPem)
    const { status, socket } = await stage.connect(cluster.authority, { keyPem, certPem })
    expect(status).toBe(200)
    socket.destroy()
  })

  it('is put through without ALPN, and with http/1.1 alone', async () => {
    const cluster = await stage.cluster('alice')
    await stage.agent(cluster)
    const identity = await stage.userIdentity(cluster, 'alice', stage.alice.id)
    for (const protocols of [[], ['http/1.1']]) {
      const { status, socket } = await stage.connect(cluster.authority, identity, protocols)
      expect(status).toBe(200)
      socket.destroy()
    }
  })

  it('tells the agent where its client is', async () => {
    const seen: unknown[] = []
    const cluster = await stage.cluster('alice')
    await stage.agent(cluster, {
      connect: (authority, headers, stream) => {
        seen.push(authority, headers['mcm-forwarded-for'])
        stream.end()
      },
    })
    const identity = await stage.userIdentity(cluster, 'alice', stage.alice.id)
    const { socket } = await stage.connect(cluster.authority, identity)
    await readText(socket)
    expect(seen[0]).toBe(cluster.authority)
    expect(seen[1]).toBe('127.0.0.1')
  })

  it('loses no byte that follows its half-close', async () => {
    const cluster = await stage.cluster('alice')
    await stage.agent(cluster, {
      connect(_authority, _headers, stream) {
        stream.resume()
        stream.once('end', () => stream.end(Buffer.alloc(3_000_000, 'x')))
      },
    })
    const identity = await stage.userIdentity(cluster, 'alice', stage.alice.id)
    const { socket } = await stage.connect(cluster.authority, identity)
    socket.end('request')
    expect((await readText(socket)).length).toBe(3_000_000)
  })

  it('is refused at once, with the reason as reason phrase, when no agent is connected', async () => {
    const cluster = await stage.cluster('alice')
    const identity = await stage.userIdentity(cluster, 'alice', stage.alice.id)
    const started = performance.now()
    const { status, phrase, socket } = await stage.connect(cluster.authority, identity)
    expect([status, phrase]).toEqual([503, NO_AGENT])
    expect(performance.now() - started).toBeLessThan(1_000)
    expect(await readText(socket)).toBe('')
  })
})

describe('whom the hub puts through to nobody', () => {
  let cluster: TestCluster
  const opened: string[] = []

  beforeEach(async () => {
    cluster = await stage.cluster('alice')
    opened.length = 0
    await stage.agent(cluster, {
      connect: (authority, _headers, stream) => {
        opened.push(authority)
        stream.end()
      },
    })
  })

  async function expectDenied(...args: Parameters<Stage['connect']>) {
    const { status, phrase } = await stage.connect(...args)
    expect([status, phrase]).toEqual([403, DENIED])
    expect(opened).toEqual([])
    expect(stage.log.of('relay_opened')).toEqual([])
  }

  it('a certificate of a CA that was replaced, and is told what to run', async () => {
    const identity = await stage.userIdentity(cluster, 'alice', stage.alice.id)
    await stage.rotate(cluster, new Date(stage.world.now().getTime() - 1_000))
    const { status, phrase } = await stage.connect(cluster.authority, identity)
    expect(status).toBe(403)
    expect(phrase).toBe(
      `the CAs of ${cluster.id} were replaced and this certificate is of one before: run mcm kubeconfig ${cluster.id} --merge`,
    )
    expect(opened).toEqual([])
  })

  it('a certificate of a CA that another cluster has replaced', async () => {
    const other = await stage.cluster('alice')
    const identity = await stage.userIdentity(other, 'alice', stage.alice.id)
    await stage.rotate(other, new Date(stage.world.now().getTime() - 1_000))
    await expectDenied(cluster.authority, identity)
  })

  it('a client without a certificate', () => expectDenied(cluster.authority))

  it('a self-signed certificate whose key the directory does not know', async () => {
    await expectDenied(cluster.authority, await stage.keyIdentity(generateSigningKey()))
  })

  it('an agent, with its own key', async () => {
    await expectDenied(cluster.authority, await stage.keyIdentity(cluster.agentKey))
  })

  it('a user certificate of another cluster, whoever it names', async () => {
    const other = await stage.cluster('alice')
    await expectDenied(cluster.authority, await stage.userIdentity(other, 'alice', stage.alice.id))
  })

  it('a member of another cluster only', async () => {
    const bob = await stage.admit('bob')
    await expectDenied(cluster.authority, await stage.userIdentity(cluster, 'bob', bob.id))
    await expectDenied(cluster.authority, await stage.keyIdentity(bob))
  })

  it('a certificate for a device of somebody else', async () => {
    const bob = await stage.admit('bob')
    await expectDenied(cluster.authority, await stage.userIdentity(cluster, 'alice', bob.id))
    const nobodys = generateSigningKey().id
    await expectDenied(cluster.authority, await stage.userIdentity(cluster, 'alice', nobodys))
  })

  it('a revoked device, by its key or a certificate', async () => {
    const bob = await stage.admit('bob')
    await stage.member('add', 'bob', cluster.id)
    const certificate = await stage.userIdentity(cluster, 'bob', bob.id)
    await stage.append({ type: 'revoke', detail: { device: bob.id, reason: '' } })
    await expectDenied(cluster.authority, certificate)
    await expectDenied(cluster.authority, await stage.keyIdentity(bob))
  })

  it('anybody, to a cluster that does not exist or is spelt otherwise', async () => {
    const identity = await stage.userIdentity(cluster, 'alice', stage.alice.id)
    const host = clusterHost(cluster.id)
    for (const authority of [
      'c-zzzzzzzzzz.clusters.mcm.internal:443',
      `${host}:80`,
      `${host}.:443`,
      host.toUpperCase().concat(':443'),
      '10.0.0.1:443',
      '__proto__:443',
      '127.0.0.1:22',
    ])
      await expectDenied(authority, identity)
  })

  it('and lets an admin’s own device key through, also to enrolment', async () => {
    const identity = await stage.keyIdentity(stage.alice)
    for (const authority of [cluster.authority, `${enrolmentHost(cluster.id)}:443`])
      expect((await stage.connect(authority, identity)).status).toBe(200)
    expect(opened).toEqual([cluster.authority, `${enrolmentHost(cluster.id)}:443`])
  })
})

describe('what the log says of refusals', () => {
  it('is who was refused and why, and of strangers nothing', async () => {
    const bob = await stage.admit('bob')
    const cluster = await stage.cluster('alice')
    await stage.connect(cluster.authority, await stage.keyIdentity(bob))
    await stage.connect(cluster.authority, await stage.userIdentity(cluster, 'bob', bob.id))
    await stage.connect(cluster.authority)
    await stage.connect(cluster.authority, await stage.keyIdentity(generateSigningKey()))
    await stage.connect('c-zzzzzzzzzz.clusters.mcm.internal:443', await stage.keyIdentity(bob))
    const refused = stage.log.of('relay_refused')
    expect(refused.map(({ user, reason }) => `${user}: ${reason}`)).toEqual([
      'bob: not a member',
      'bob: not a member',
      'bob: no such cluster',
    ])
  })
})

describe('running relays', () => {
  it('end within a second when the directory takes the membership away', async () => {
    const bob = await stage.admit('bob')
    const cluster = await stage.cluster('alice', 'bob')
    await stage.agent(cluster)
    const [ofBob, ofAlice] = await Promise.all([
      stage.connect(cluster.authority, await stage.keyIdentity(bob)),
      stage.connect(cluster.authority, await stage.keyIdentity(stage.alice)),
    ])
    ofBob.socket.resume()
    const ended = new Promise((resolve) => ofBob.socket.once('end', resolve))
    const started = performance.now()
    await stage.member('remove', 'bob', cluster.id)
    await ended
    expect(performance.now() - started).toBeLessThan(1_000)
    await expect
      .poll(() => stage.log.of('relay_closed')[0])
      .toMatchObject({ user: 'bob', aborted: true, reason: 'no longer granted' })
    ofAlice.socket.end('still here')
    expect(await readText(ofAlice.socket)).toBe('still here')
  })

  it('end at the agent within a second when the client dies', async () => {
    const streams: Duplex[] = []
    const cluster = await stage.cluster('alice')
    await stage.agent(cluster, {
      connect: (_authority, _headers, stream) => {
        streams.push(stream)
        stream.resume()
      },
    })
    const transport = stage.tcp()
    const identity = await stage.keyIdentity(stage.alice)
    await stage.connect(cluster.authority, identity, undefined, transport)
    const started = performance.now()
    transport.resetAndDestroy()
    await closed(streams[0]!)
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  it('of one user may be aborted 1 000 at once, three times, and everything else lives', async () => {
    await stage.stop()
    stage = await Stage.founded({ limits: { relaysPerUser: 2_000 } })
    const bob = await stage.admit('bob')
    const cluster = await stage.cluster('alice', 'bob')
    const { tunnel } = await stage.agent(cluster)
    const bystander = await stage.connect(cluster.authority, await stage.keyIdentity(bob))
    // One connection of a local proxy: more resets than HTTP/2 servers usually put up with.
    const api = await stage.api(stage.alice)
    for (let round = 1; round <= 3; round += 1) {
      const opening = Array.from({ length: 1_000 }, () => api.connect(cluster.authority))
      for (const stream of await Promise.all(opening)) stream.destroy()
      const closedSoFar = () => stage.log.of('relay_closed').length
      await until(() => closedSoFar() === round * 1_000, 'all relays end', 10_000)
    }
    expect(tunnel.isOpen()).toBe(true)
    bystander.socket.end('alive')
    expect(await readText(bystander.socket)).toBe('alive')
    expect((await api.info()).version).toBe('1.2.3')
  })

  it('are counted: one too many of a user is refused with a sentence', async () => {
    await stage.stop()
    stage = await Stage.founded({ limits: { relaysPerUser: 2 } })
    const cluster = await stage.cluster('alice')
    await stage.agent(cluster)
    const identity = await stage.keyIdentity(stage.alice)
    const [first] = await Promise.all([
      stage.connect(cluster.authority, identity),
      stage.connect(cluster.authority, identity),
    ])
    const refused = await stage.connect(cluster.authority, identity)
    expect([refused.status, refused.phrase]).toEqual([
      503,
      'alice has 2 connections open through this hub',
    ])
    first!.socket.destroy()
    await until(() => stage.log.of('relay_closed').length === 1, 'one relay ends')
    expect((await stage.connect(cluster.authority, identity)).status).toBe(200)
  })
})

describe('readers that do not read', () => {
  const flood = (_authority: string, _headers: unknown, stream: Duplex) => {
    const chunk = Buffer.alloc(256 << 10)
    const pump = () => {
      while (!stream.destroyed && stream.write(chunk));
    }
    stream.on('drain', pump)
    pump()
  }

  it('cost their own connections, and no more waits for a user than is allowed', async () => {
    await stage.stop()
    stage = await Stage.founded({ limits: { bufferedBytesPerUser: 1 << 20, stallMs: 100 } })
    const bob = await stage.admit('bob')
    const cluster = await stage.cluster('alice', 'bob')
    const echo = (_authority: string, _headers: unknown, stream: Duplex) => stream.pipe(stream)
    let isFlood = true
    await stage.agent(cluster, {
      connect: (...args) => (isFlood ? flood(...args) : echo(...args)),
    })
    const identity = await stage.keyIdentity(stage.alice)
    const stalled = await Promise.all(
      Array.from({ length: 12 }, () => stage.connect(cluster.authority, identity)),
    )
    expect(stalled.every(({ status }) => status === 200)).toBe(true)
    isFlood = false
    const other = await stage.connect(cluster.authority, await stage.keyIdentity(bob))
    const body = Buffer.alloc(8 << 20, 'y').toString()
    other.socket.end(body)
    expect((await readText(other.socket)).length).toBe(body.length)
    await until(() => stage.log.of('relay_closed').some(({ user }) => user === 'alice'), 'a cap')
    for (const line of stage.log.of('relay_closed').filter(({ user }) => user === 'alice'))
      expect(line).toMatchObject({ reason: expect.stringContaining('reader stands still') })
  })
})
