import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { controlFrame, dataHead, FLAG_FIN, FRAME } from '../../src/forward/spdy-frames.ts'
import { HeaderPacker } from '../../src/forward/spdy-headers.ts'
import { acceptOf } from '../../src/forward/upgrade-client.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { socketFrame } from '../forward/socket-frame.ts'
import {
  cleanup,
  LF2,
  message,
  type RawServer,
  rawTlsServer,
  readAll,
  readUntil,
  testIdentity,
} from '../forward/stage.ts'
import { HOST, openStage, type Person, type TrafficStage } from './traffic-stage.ts'

/** What somebody is told whose exec the agent cuts, and what the audit says of it. */

const ends = cleanup()
let stage: TrafficStage
let bob: Person
let apiServer: RawServer
let upstreams: Duplex[]
let protocol: string

const EXEC = '/api/v1/namespaces/a/pods/b/exec?command=sh'
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const SENTENCE = /^mcm: bob was revoked at \S+; ask an admin for a new invite$/

beforeEach(async () => {
  upstreams = []
  protocol = 'v5.channel.k8s.io'
  const identity = await testIdentity()
  const accept = (socket: Duplex) => {
    const switched = (head: string) => {
      socket.write(head.startsWith('GET') ? webSocketAnswer() : spdyAnswer())
      socket.on('end', () => socket.end()).resume()
      upstreams.push(socket)
    }
    void readUntil(socket, LF2).then(switched, () => {})
  }
  apiServer = await rawTlsServer(identity, ends, accept, true)
  stage = await openStage(ends, { apiServer: { port: apiServer.port, caPem: identity.caPem } })
  bob = await stage.person('bob')
})
afterEach(() => ends.run())

function webSocketAnswer(): string {
  return message(
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    'Upgrade: websocket',
    `Sec-WebSocket-Accept: ${acceptOf(KEY)}`,
    `Sec-WebSocket-Protocol: ${protocol}`,
  )
}

function spdyAnswer(): string {
  return message(
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    'Upgrade: SPDY/3.1',
    `X-Stream-Protocol-Version: ${protocol}`,
  )
}

/** An exec that is under way, as kubectl begins one. */
async function exec(kind: 'websocket' | 'SPDY'): Promise<{ client: TLSSocket; upstream: Duplex }> {
  const client = await stage.connect(bob)
  const lines =
    kind === 'SPDY'
      ? ['Upgrade: SPDY/3.1', 'Content-Length: 0', `X-Stream-Protocol-Version: ${protocol}`]
      : [
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          `Sec-WebSocket-Key: ${KEY}`,
          `Sec-WebSocket-Protocol: ${protocol}`,
        ]
  const method = kind === 'SPDY' ? 'POST' : 'GET'
  client.write(
    message(`${method} ${EXEC} HTTP/1.1`, `Host: ${HOST}`, 'Connection: Upgrade', ...lines),
  )
  await readUntil(client, LF2)
  await expect.poll(() => upstreams.length).toBe(1)
  return { client, upstream: upstreams[0]! }
}

function revokeBob(): number {
  stage.facts.devices.set(bob.device, { user: 'bob', revoked: new Date() })
  return stage.cutRevoked('bob')
}

/** Everything the client is given from now to the end, in how long. */
async function afterRevocation(client: TLSSocket) {
  const started = performance.now()
  const all = readAll(client)
  expect(revokeBob()).toBe(1)
  const bytes = Buffer.from(await all, 'latin1')
  return { bytes, ms: performance.now() - started }
}

/** The frames of a server, none of them longer than 64 KiB. */
function framesIn(bytes: Buffer): { opcode: number; payload: Buffer }[] {
  const frames = []
  for (let at = 0; at < bytes.length; ) {
    const short = bytes[at + 1]!
    const head = short === 126 ? 4 : 2
    const length = short === 126 ? bytes.readUInt16BE(at + 2) : short
    frames.push({
      opcode: bytes[at]! & 0xf,
      payload: bytes.subarray(at + head, at + head + length),
    })
    at += head + length
  }
  return frames
}

async function endedInAudit(): Promise<string> {
  await expect.poll(() => stage.audit.at(-1)?.stage).toBe('ended')
  return stage.audit.at(-1)!.ended
}

const closed = (stream: Duplex) =>
  new Promise<void>((resolve) =>
    stream.closed ? resolve() : stream.once('close', () => resolve()),
  )

describe('a WebSocket whose owner is revoked', () => {
  test.each(['v4.channel.k8s.io', 'v5.channel.k8s.io'])(
    'ends with a Status on the channel of %s that says why, as a command ends',
    async (version) => {
      protocol = version
      const { client, upstream } = await exec('websocket')
      const { bytes, ms } = await afterRevocation(client)
      const [status, close, ...more] = framesIn(bytes)
      expect(status!.opcode).toBe(2)
      expect(status!.payload[0]).toBe(3)
      const said = JSON.parse(status!.payload.toString('utf8', 1))
      expect(said).toMatchObject({ kind: 'Status', status: 'Failure', code: 403 })
      expect(said.message).toMatch(SENTENCE)
      expect([close!.opcode, close!.payload.readUInt16BE()]).toEqual([8, 1000])
      expect(more).toEqual([])
      expect(ms).toBeLessThan(1_000)
      await closed(upstream)
      expect(await endedInAudit()).toBe('revoked')
    },
  )

  test('is closed with the reason where there is no channel for a Status', async () => {
    protocol = 'SPDY/3.1+portforward.k8s.io'
    const { client } = await exec('websocket')
    const [close, ...more] = framesIn((await afterRevocation(client)).bytes)
    expect([close!.opcode, close!.payload.readUInt16BE()]).toEqual([8, 1008])
    expect(close!.payload.toString('utf8', 2)).toMatch(SENTENCE)
    expect(more).toEqual([])
  })

  test('is told behind the frame that is under way, never within it', async () => {
    const { client, upstream } = await exec('websocket')
    const output = socketFrame(2, Buffer.concat([Buffer.from([1]), Buffer.alloc(40_000, 'x')]))
    upstream.write(output.subarray(0, 10_000))
    let length = 0
    const all: Buffer[] = []
    client.on('data', (chunk: Buffer) => {
      all.push(chunk)
      length += chunk.length
    })
    client.resume()
    await expect.poll(() => length).toBe(10_000)
    expect(revokeBob()).toBe(1)
    upstream.write(
      Buffer.concat([output.subarray(10_000), socketFrame(2, Buffer.from('\x01late'))]),
    )
    await closed(client)
    const frames = framesIn(Buffer.concat(all))
    expect(frames.map(({ opcode, payload }) => [opcode, payload[0]])).toEqual([
      [2, 1],
      [2, 3],
      [8, 3],
    ])
    expect(frames[0]!.payload.length).toBe(40_001)
  })

  test('is ended all the same within a second when its frame never ends', async () => {
    const { client, upstream } = await exec('websocket')
    const begun = socketFrame(2, Buffer.alloc(40_000)).subarray(0, 100)
    upstream.write(begun)
    await readUntil(client, begun.toString('latin1', 90))
    const { bytes, ms } = await afterRevocation(client)
    expect(bytes.length).toBe(0)
    expect(ms).toBeLessThan(1_000)
    await closed(upstream)
  })

  test('is ended all the same when its client reads nothing', async () => {
    const { client, upstream } = await exec('websocket')
    client.pause()
    for (let count = 0; count < 200; count++)
      upstream.write(socketFrame(2, Buffer.alloc(60_000, 1)))
    await expect.poll(() => upstream.writableLength > 0).toBe(true)
    const started = performance.now()
    expect(revokeBob()).toBe(1)
    await expect.poll(() => stage.sessions.size).toBe(0)
    await closed(upstream)
    // Half a second of it is the client's to take the last word; a poll comes now and then.
    expect(performance.now() - started).toBeLessThan(2_500)
  })
})

describe('SPDY whose owner is revoked', () => {
  const HEADERS = Buffer.alloc(2)
  const open = (stream: number, streamtype: string, packer = new HeaderPacker()) =>
    controlFrame(
      FRAME.SYN_STREAM,
      0,
      [stream, 0],
      Buffer.concat([HEADERS, packer.pack({ streamtype })]),
    )

  test('ends with a Status on its error stream that says why', async () => {
    protocol = 'v4.channel.k8s.io'
    const { client, upstream } = await exec('SPDY')
    const packer = new HeaderPacker()
    const [first, second] = [open(1, 'error', packer), open(3, 'stdout', packer)]
    client.write(first.subarray(0, 11))
    client.write(Buffer.concat([first.subarray(11), second]))
    upstream.write(Buffer.concat([dataHead(3, 6, 0), Buffer.from('output')]))
    await readUntil(client, 'output')
    const { bytes } = await afterRevocation(client)
    const said = bytes.subarray(8)
    expect(bytes.subarray(0, 8)).toEqual(dataHead(1, said.length, FLAG_FIN))
    expect(JSON.parse(said.toString()).message).toMatch(SENTENCE)
    expect(await endedInAudit()).toBe('revoked')
  })

  test.each([
    ['opened another stream first', () => open(1, 'stdout')],
    ['said nothing yet', () => Buffer.alloc(0)],
    ['said what cannot be understood', () => Buffer.from('8003000100000004ffffffff', 'hex')],
    ['hides a megabyte in its headers', () => open(1, 'error'.padEnd(60_000, 'x'))],
  ])('ends at once and without a word where it has %s', async (_what, first) => {
    protocol = 'v4.channel.k8s.io'
    const { client, upstream } = await exec('SPDY')
    client.write(first())
    const { bytes, ms } = await afterRevocation(client)
    expect(bytes.length).toBe(0)
    expect(ms).toBeLessThan(1_000)
    await closed(upstream)
  })
})

test('the audit says who broke an exec, and that its time was over', async () => {
  const first = await exec('SPDY')
  for (const connection of apiServer.connections) connection.resetAndDestroy()
  await closed(first.client.resume())
  expect(await endedInAudit()).toBe('upstream')
  upstreams = []
  const gone = await exec('SPDY')
  gone.client.destroy()
  await expect.poll(() => stage.audit.filter(({ stage: at }) => at === 'ended').length).toBe(2)
  stage.facts.now = new Date(bob.notAfter.getTime() - 1_000)
  upstreams = []
  const second = await exec('SPDY')
  stage.facts.now = new Date(bob.notAfter.getTime() + 1_000)
  expect(stage.cutRevoked('bob')).toBe(1)
  await closed(second.client.resume())
  await expect.poll(() => stage.audit.at(-1)?.ended).toBe('expired')
})

describe('what runs on a certificate of a CA that was replaced', () => {
  const replaceCa = () =>
    void stage.facts.replacedAuthorities.add(sha256(stage.userAuthority.certificateDer))
  const inAnHour = () => new Date(stage.facts.now.getTime() + 3_600_000)

  test('goes on while its device has one of the CA of now, and ends when that ends', async () => {
    const { upstream } = await exec('websocket')
    replaceCa()
    stage.facts.successors.set(`bob ${bob.device}`, inAnHour())
    expect(stage.cutRevoked()).toBe(0)
    expect(upstream.destroyed).toBe(false)
    stage.facts.successors.set(`bob ${bob.device}`, new Date(stage.facts.now.getTime() - 1_000))
    expect(stage.cutRevoked()).toBe(1)
  })

  test('is cut with the reason where its device has none', async () => {
    const { client, upstream } = await exec('websocket')
    const text = readAll(client)
    replaceCa()
    expect(stage.cutRevoked()).toBe(1)
    expect(await text).toContain('a CA that this cluster has replaced')
    await closed(upstream)
  })

  test('with nothing under way the connection ends, whatever its device has', async () => {
    const client = await stage.http1(bob)
    replaceCa()
    stage.facts.successors.set(`bob ${bob.device}`, inAnHour())
    await expect.poll(() => stage.cutRevoked()).toBe(1)
    await closed(client.resume())
  })

  test('a successor of somebody else’s device is none', async () => {
    await exec('websocket')
    replaceCa()
    stage.facts.successors.set(`bob ${'x'.repeat(43)}`, inAnHour())
    stage.facts.successors.set(`alice ${bob.device}`, inAnHour())
    expect(stage.cutRevoked()).toBe(1)
  })
})
