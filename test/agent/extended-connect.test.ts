import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { controlFrame, dataHead, FRAME as SPDY } from '../../src/forward/spdy-frames.ts'
import {
  END_HEADERS,
  FRAME,
  frame,
  headerBlock,
  PREFACE,
  resetFrame,
} from '../forward/raw-http2.ts'
import {
  cleanup,
  LF2,
  message,
  type RawServer,
  rawTlsServer,
  readAll,
  readUntil,
  type TestIdentity,
  testIdentity,
} from '../forward/stage.ts'
import {
  ENROLMENT_HOST,
  HOST,
  openStage,
  type Person,
  TOKEN,
  type TrafficStage,
} from './traffic-stage.ts'

const ends = cleanup()
let identity: TestIdentity
let apiServer: RawServer
let stage: TrafficStage
let bob: Person
let session: ClientHttp2Session
/** What the API server does with the n-th head on a fresh connection. */
let answer: (socket: Duplex, head: string, index: number) => void
const heads: string[] = []
const upstreams: Duplex[] = []

const EXEC = '/api/v1/namespaces/a/pods/b/exec?command=sh&stdin=true'
const VERSIONS = ['v5', 'v4', 'v3', 'v2'].flatMap((version) => [
  'x-stream-protocol-version',
  `${version}.channel.k8s.io`,
])

beforeEach(async () => {
  heads.length = 0
  upstreams.length = 0
  identity = await testIdentity()
  answer = (socket, head) => {
    socket.write(switched(head))
    echo(socket)
  }
  const accept = (socket: Duplex) => {
    upstreams.push(socket)
    void readUntil(socket, LF2).then(
      (head) => answer(socket, head, heads.push(head) - 1),
      () => {},
    )
  }
  apiServer = await rawTlsServer(identity, ends, accept, true)
  stage = await openStage(ends, { apiServer: { port: apiServer.port, caPem: identity.caPem } })
  bob = await stage.person('bob', { groups: ['dev'] })
  session = await openSession(bob)
})
afterEach(() => ends.run())

async function openSession(person: Person): Promise<ClientHttp2Session> {
  const opened = await stage.http2(person)
  if (opened.remoteSettings.enableConnectProtocol !== true) await once(opened, 'remoteSettings')
  return opened
}

function echo(socket: Duplex): void {
  socket.on('data', (chunk) => socket.write(chunk))
  socket.on('end', () => socket.end())
  socket.resume()
}

/** The 101 that fits a head. */
function switched(head: string): string {
  if (!/^upgrade: websocket\r/im.test(head))
    return message(
      'HTTP/1.1 101 Switching Protocols',
      'Connection: Upgrade',
      'Upgrade: SPDY/3.1',
      'X-Stream-Protocol-Version: v5.channel.k8s.io',
    )
  const accept = createHash('sha1')
    .update(`${values(head, 'sec-websocket-key')[0]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')
  return message(
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    'Upgrade: websocket',
    `Sec-WebSocket-Accept: ${accept}`,
    'Sec-WebSocket-Protocol: v5.channel.k8s.io',
  )
}

function values(head: string, name: string): string[] {
  const lines = head.split('\r\n').filter((line) => line.toLowerCase().startsWith(`${name}: `))
  return lines.map((line) => line.slice(name.length + 2))
}

/** An extended CONNECT, its errors taken care of. */
function ask(
  protocol: string,
  lines: readonly string[] = [],
  overrides: Readonly<Record<string, string>> = {},
  on: ClientHttp2Session = session,
): ClientHttp2Stream {
  const pseudo = { ':method': 'CONNECT', ':protocol': protocol, ':scheme': 'https' }
  const place = { ':path': EXEC, ':authority': HOST }
  const all = Object.entries({ ...pseudo, ...place, ...overrides }).flat()
  const stream = on.request([...all, ...lines], { endStream: false })
  stream.on('error', () => {})
  return stream
}

/** The head of the answer: its status, and its raw lines. */
async function answered(
  stream: ClientHttp2Stream,
): Promise<{ status: number; raw: readonly string[] }> {
  const [fields, , raw] = await once(stream, 'response')
  return { status: fields[':status'], raw }
}

/** The status, or what happened instead. */
function outcome(stream: ClientHttp2Stream): Promise<unknown> {
  stream.resume()
  return new Promise((done) => {
    stream.once('response', (fields) => done(fields[':status']))
    stream.once('error', () => done('reset'))
    stream.once('close', () => done('closed'))
  })
}

function closed(stream: Duplex): Promise<unknown> {
  return stream.closed ? Promise.resolve() : new Promise((done) => stream.once('close', done))
}

describe('an extended CONNECT', () => {
  test('for SPDY goes up as the certificate’s user by POST, on a connection of its own, its version lines apart', async () => {
    const stream = ask('SPDY/3.1', [
      ...VERSIONS,
      ...['user-agent', 'kubectl', 'authorization', 'Bearer evil', 'cookie', 'a=b'],
    ])
    const { status, raw } = await answered(stream)
    expect(status).toBe(200)
    expect(raw).toEqual([':status', '200', 'x-stream-protocol-version', 'v5.channel.k8s.io'])
    stream.end('stdin')
    expect(await readAll(stream)).toBe('stdin')
    const [head] = heads
    expect(head).toMatch(/^POST \/api\/v1\/namespaces\/a\/pods\/b\/exec\?command=sh&stdin=true /)
    expect(values(head!, 'impersonate-user')).toEqual(['mcm:bob'])
    expect(values(head!, 'impersonate-group')).toEqual(['mcm:dev'])
    expect(values(head!, 'authorization')).toEqual([`Bearer ${TOKEN}`])
    expect(values(head!, 'content-length')).toEqual(['0'])
    expect(values(head!, 'x-stream-protocol-version')).toHaveLength(4)
    expect(values(head!, 'cookie')).toEqual([])
    expect(upstreams).toHaveLength(1)
  })

  test('for a WebSocket goes up by GET with a key of the agent’s own, and tells no accept', async () => {
    const stream = ask('websocket', [
      ...['sec-websocket-version', '13', 'sec-websocket-protocol', 'v5.channel.k8s.io'],
    ])
    const { status, raw } = await answered(stream)
    expect(status).toBe(200)
    expect(raw).toEqual([':status', '200', 'sec-websocket-protocol', 'v5.channel.k8s.io'])
    expect(heads[0]).toMatch(/^GET /)
    expect(values(heads[0]!, 'sec-websocket-key')).toHaveLength(1)
    const second = ask('websocket')
    await answered(second)
    expect(values(heads[1]!, 'sec-websocket-key')).not.toEqual(
      values(heads[0]!, 'sec-websocket-key'),
    )
    stream.end('hello')
    expect(await readAll(stream)).toBe('hello')
  })

  test('gets the bytes behind the 101 first, and what was sent before it waits for it', async () => {
    let release = () => {}
    answer = (socket, head) => {
      release = () => {
        socket.write(`${switched(head)}server first,`)
        echo(socket)
      }
    }
    const stream = ask('SPDY/3.1')
    stream.write('client first,')
    await expect.poll(() => heads.length).toBe(1)
    expect(heads[0]!.endsWith(LF2)).toBe(true)
    release()
    await answered(stream)
    stream.end('client second')
    expect(await readAll(stream)).toBe('server first,client first,client second')
  })

  test.each([400, 403, 500])(
    'that the API server refuses with %i gets that status and body, and nothing it sends goes up',
    async (code) => {
      const body = JSON.stringify({ kind: 'Status', code, message: 'pods "b" is forbidden' })
      const more: Buffer[] = []
      answer = (socket) => {
        socket.on('data', (chunk: Buffer) => more.push(chunk))
        socket.on('end', () => socket.end())
        const length = `Content-Length: ${body.length}`
        socket.write(message(`HTTP/1.1 ${code} X`, 'Content-Type: application/json', length) + body)
      }
      const stream = ask('websocket')
      stream.write('GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n')
      const { status, raw } = await answered(stream)
      expect(status).toBe(code)
      expect(raw).toContain('application/json')
      expect(await readAll(stream)).toBe(body)
      await closed(upstreams[0]!)
      expect(Buffer.concat(more).toString()).toBe('')
    },
  )

  test.each([
    ['200', () => message('HTTP/1.1 200 OK', 'Content-Length: 0')],
    ['302', () => message('HTTP/1.1 302 X', 'Location: https://evil.test', 'Content-Length: 0')],
    ['307', () => message('HTTP/1.1 307 X', 'Location: https://evil.test', 'Content-Length: 0')],
    [
      'another protocol',
      (head: string) => switched(head).replace('Upgrade: websocket', 'Upgrade: h2c'),
    ],
    ['another accept', (head: string) => switched(head).replace(/Accept: ..../, 'Accept: AAAA')],
  ])('whose answer is %s is 502, and the connection is closed', async (_, reply) => {
    answer = (socket, head) => {
      socket.write(reply(head))
      socket.on('end', () => socket.end()).resume()
    }
    const stream = ask('websocket')
    const { status, raw } = await answered(stream)
    expect(status).toBe(502)
    expect(raw.join()).not.toContain('evil')
    await closed(upstreams[0]!)
    stream.destroy()
  })

  test.each<[string, string, string[], Record<string, string>]>([
    ['another protocol', 'h2c', [], {}],
    ['CONNECT-UDP', 'connect-udp', [], {}],
    ['a list of protocols', 'websocket, h2c', [], {}],
    ['a protocol and a space', 'websocket ', [], {}],
    ['no protocol at all', '', [], {}],
    ['another host', 'websocket', [], { ':authority': 'evil.test' }],
    ['a Host that is not its :authority', 'websocket', ['host', 'evil.test'], {}],
    ['an absolute path', 'websocket', [], { ':path': 'https://evil.test/x' }],
    ['a path of another server', 'websocket', [], { ':path': '//evil.test/x' }],
    ['no path', 'websocket', [], { ':path': '' }],
    ['a key', 'websocket', ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ=='], {}],
    ['an expectation', 'websocket', ['expect', '100-continue'], {}],
    ['an empty body announced', 'SPDY/3.1', ['content-length', '0'], {}],
    [
      'a bearer token for a subprotocol',
      'websocket',
      ['sec-websocket-protocol', 'base64url.bearer.authorization.k8s.io.eA, v5.channel.k8s.io'],
      {},
    ],
    ['another identity', 'SPDY/3.1', ['impersonate-user', 'system:admin'], {}],
    ['a group alone', 'SPDY/3.1', ['impersonate-group', 'system:masters'], {}],
    ['a path of the agent’s own', 'websocket', [], { ':path': '/.mcm/v1/whoami' }],
  ])('with %s is refused and never goes up', async (_, protocol, lines, overrides) => {
    const what = await outcome(ask(protocol, lines, overrides))
    expect([400, 403, 421, 'reset', 'closed']).toContain(what)
    expect(heads).toEqual([])
    expect(upstreams).toEqual([])
    expect(stage.log.join()).not.toContain('authorization.k8s.io.eA')
  })

  test.each([
    ['a body announced', [['content-length', '4']]],
    ['a second protocol', [[':protocol', 'SPDY/3.1']]],
    ['Upgrade beside it', [['upgrade', 'h2c']]],
    ['Connection beside it', [['connection', 'upgrade']]],
    ['a transfer coding', [['transfer-encoding', 'chunked']]],
    [
      'a protocol behind its lines',
      [
        ['a', 'b'],
        [':protocol', 'websocket'],
      ],
    ],
  ] as [string, [string, string][]][])(
    'written by hand with %s never goes up, and a body sent behind it neither',
    async (_, more) => {
      const socket = await stage.connect(bob, { ALPNProtocols: ['h2'] })
      const connecting: [string, string][] = [
        [':method', 'CONNECT'],
        [':scheme', 'https'],
        [':path', '/api/v1/namespaces/a/pods/b/exec'],
        [':authority', HOST],
      ]
      const isLate = more.some(([name]) => name === 'a')
      const block = headerBlock(
        ...connecting,
        ...(isLate ? [] : ([[':protocol', 'websocket']] as [string, string][])),
        ...more,
      )
      socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]))
      socket.write(frame(FRAME.headers, END_HEADERS, 1, block))
      socket.write(frame(FRAME.data, 0, 1, Buffer.from('abcd')))
      const marker = headerBlock(
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/marker'],
        [':authority', HOST],
      )
      socket.write(frame(FRAME.headers, END_HEADERS | 1, 3, marker))
      socket.resume()
      const seen = () => heads.some((head) => head.startsWith('GET /marker '))
      await expect.poll(() => seen() || socket.closed).toBe(true)
      expect(heads.filter((head) => !head.startsWith('GET /marker '))).toEqual([])
    },
  )

  test('without :protocol is no tunnel: a CONNECT is refused', async () => {
    const stream = session.request([':method', 'CONNECT', ':authority', HOST])
    stream.on('error', () => {})
    expect(await outcome(stream)).toBe(400)
    const other = (await openSession(bob)).request([
      ...[':method', 'CONNECT', ':authority', '10.0.0.1:443'],
    ])
    other.on('error', () => {})
    expect(await outcome(other)).toBe(400)
    expect(upstreams).toEqual([])
  })

  test('is not offered on enrolment, and is refused there', async () => {
    const socket = await stage.connect(undefined, { ALPNProtocols: ['h2'] }, 'enrolment')
    const enrolment = connect(`https://${ENROLMENT_HOST}`, { createConnection: () => socket })
    enrolment.on('error', () => {})
    ends.add(() => enrolment.destroy())
    const [settings] = await once(enrolment, 'remoteSettings')
    expect(settings.enableConnectProtocol).toBe(false)
    const stream = ask('websocket', [], { ':authority': ENROLMENT_HOST }, enrolment)
    expect([400, 'reset', 'closed']).toContain(await outcome(stream))
    expect(upstreams).toEqual([])
  })

  test('by a certificate that is on no list is 401', async () => {
    const evil = await stage.person('evil', { isUnlisted: true })
    const refused = ask('websocket', [], {}, await openSession(evil))
    expect(await outcome(refused)).toBe(401)
    expect(upstreams).toEqual([])
  })

  test('is authenticated anew each: after the certificate’s end 401, after a revocation 403', async () => {
    await answered(ask('websocket'))
    stage.facts.devices.set(bob.device, { user: 'bob', revoked: new Date() })
    expect(await outcome(ask('websocket'))).toBe(403)
    stage.facts.devices.set(bob.device, { user: 'bob' })
    stage.facts.now = new Date(bob.notAfter.getTime() + 1_000)
    expect(await outcome(ask('websocket'))).toBe(401)
    expect(heads).toHaveLength(1)
  })

  test('leaves two lines in the audit: when it began and when it ended', async () => {
    const stream = ask('SPDY/3.1')
    await answered(stream)
    await expect.poll(() => stage.audit.length).toBe(1)
    expect(stage.audit[0]).toMatchObject({
      ...{ stage: 'began', method: 'POST', verb: 'create', resource: 'pods', subresource: 'exec' },
    })
    stream.end(controlFrame(SPDY.PING, 0, [2]))
    await readAll(stream)
    await expect.poll(() => stage.audit.length).toBe(2)
    expect(stage.audit[1]).toMatchObject({
      ...{ stage: 'ended', code: 101, ended: 'complete', bytes: 12, bytesFromClient: 12 },
    })
  })
})

describe('what it joins', () => {
  async function joined(protocol = 'SPDY/3.1', on = session) {
    const count = upstreams.length
    const stream = ask(protocol, [], {}, on)
    await answered(stream)
    return { stream, upstream: upstreams[count]! }
  }

  test('three megabytes arrive whole after the client has said its last word', async () => {
    answer = (socket, head) => {
      socket.write(switched(head))
      const frame = Buffer.concat([dataHead(1, 2_999_992, 0), Buffer.alloc(2_999_992, 'x')])
      socket.on('end', () => socket.end(frame)).resume()
    }
    const { stream } = await joined()
    stream.end('last word')
    expect((await readAll(stream)).length).toBe(3_000_000)
    await expect
      .poll(() => stage.audit.at(-1))
      .toMatchObject({ bytes: 3_000_000, bytesFromClient: 9, ended: 'complete' })
  })

  test('the upstream may end first and still hear three megabytes of the client', async () => {
    let heard = Promise.resolve('')
    answer = (socket, head) => {
      heard = readAll(socket)
      socket.end(`${switched(head)}bye`)
    }
    const { stream } = await joined()
    await readUntil(stream, 'bye')
    stream.resume()
    await once(stream, 'end')
    stream.end(Buffer.alloc(3_000_000, 'y'))
    expect((await heard).length).toBe(3_000_000)
  })

  test('a reset by the client ends the upstream within a second', async () => {
    const { stream, upstream } = await joined()
    const started = performance.now()
    stream.destroy(new Error('gone'))
    await closed(upstream)
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  test('a reset of the upstream is a reset for the client, never an end', async () => {
    const { stream } = await joined()
    stream.resume()
    const started = performance.now()
    for (const connection of apiServer.connections) connection.resetAndDestroy()
    await closed(stream)
    expect(performance.now() - started).toBeLessThan(1_000)
    expect(stream.rstCode).not.toBe(0)
  })

  test('the end of the session ends all of its upstreams', async () => {
    const all = [await joined(), await joined('websocket'), await joined()]
    session.destroy()
    await Promise.all(all.map(({ upstream }) => closed(upstream)))
  })

  test('a revocation cuts both ends within a second, and the session with them', async () => {
    const { stream, upstream } = await joined()
    stream.resume()
    stage.facts.devices.set(bob.device, { user: 'bob', revoked: new Date() })
    const started = performance.now()
    expect(stage.cutRevoked('bob')).toBe(1)
    await Promise.all([closed(stream), closed(upstream), closed(session as unknown as Duplex)])
    expect(performance.now() - started).toBeLessThan(1_000)
    await expect
      .poll(() => stage.audit.at(-1))
      .toMatchObject({ stage: 'ended', code: 101, ended: 'revoked' })
  })

  test('lives on past its certificate’s end while the same device has a newer one', async () => {
    const { stream } = await joined()
    const end = bob.notAfter.getTime()
    stage.facts.lastExpiry.set(`bob ${bob.device}`, new Date(end + 3_600_000))
    stage.facts.now = new Date(end + 1_000)
    expect(stage.cutRevoked('bob')).toBe(0)
    stream.write('still here')
    expect(await readUntil(stream, 'here')).toBe('still here')
    stage.facts.now = new Date(end + 3_601_000)
    expect(stage.cutRevoked('bob')).toBe(1)
    await closed(stream)
  })

  test('a reader that stands still is not buffered for, and its neighbour on the session goes on', async () => {
    let written = 0
    answer = (socket, head, index) => {
      socket.write(switched(head))
      if (index > 0) return echo(socket)
      const pour = () => {
        while (written < 400_000_000) {
          written += 65_536
          if (!socket.write(Buffer.alloc(65_536))) break
        }
      }
      socket.on('drain', pour)
      pour()
    }
    await joined()
    const { stream: neighbour } = await joined()
    let before = -1
    await expect
      .poll(
        () => {
          const stands = before === written
          before = written
          return stands
        },
        { interval: 300 },
      )
      .toBe(true)
    expect(written).toBeLessThan(40_000_000)
    for (let count = 0; count < 20; count += 1) {
      neighbour.write('key')
      expect(await readUntil(neighbour, 'key')).toBe('key')
    }
  })

  test('a writer whose upstream reads nothing is held back, and its neighbour goes on', async () => {
    answer = (socket, head, index) => {
      socket.write(switched(head))
      if (index > 0) echo(socket)
    }
    const { stream } = await joined()
    const { stream: neighbour } = await joined()
    let taken = 0
    const pour = () => {
      while (taken < 400_000_000) {
        taken += 65_536
        if (!stream.write(Buffer.alloc(65_536))) break
      }
    }
    stream.on('drain', pour)
    pour()
    let before = -1
    await expect
      .poll(
        () => {
          const stands = before === taken
          before = taken
          return stands
        },
        { interval: 300 },
      )
      .toBe(true)
    expect(taken).toBeLessThan(40_000_000)
    for (let count = 0; count < 20; count += 1) {
      neighbour.write('key')
      expect(await readUntil(neighbour, 'key')).toBe('key')
    }
  })

  test('three thousand switches reset at once end neither the session nor its other streams', async () => {
    const { stream: neighbour } = await joined()
    const socket = await stage.connect(bob, { ALPNProtocols: ['h2'] })
    socket.resume()
    socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]))
    const block = headerBlock(
      [':method', 'CONNECT'],
      [':protocol', 'SPDY/3.1'],
      [':scheme', 'https'],
      [':path', '/api/v1/namespaces/a/pods/b/exec'],
      [':authority', HOST],
    )
    for (let count = 0; count < 3_000; count += 1) {
      const id = 1 + 2 * count
      socket.write(frame(FRAME.headers, END_HEADERS, id, block))
      socket.write(resetFrame(id, 8))
    }
    const carol = await stage.person('carol')
    const other = await joined('websocket', await openSession(carol))
    for (const stream of [neighbour, other.stream]) {
      stream.write('alive')
      expect(await readUntil(stream, 'alive')).toBe('alive')
    }
    expect(socket.destroyed).toBe(false)
    await expect.poll(() => upstreams.filter((each) => !each.destroyed).length).toBe(2)
  })
})
