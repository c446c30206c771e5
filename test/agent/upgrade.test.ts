import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  cleanup,
  LF2,
  message,
  rawTlsServer,
  readAll,
  readUntil,
  type TestIdentity,
  testIdentity,
} from '../forward/stage.ts'
import { HOST, openStage, type Person, TOKEN, type TrafficStage } from './traffic-stage.ts'

const ends = cleanup()
let identity: TestIdentity
let stage: TrafficStage
let bob: Person
/** What the API server does with the n-th head on a fresh connection. */
let answer: (socket: Duplex, head: string, index: number) => void
const heads: string[] = []

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = createHash('sha1')
  .update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
  .digest('base64')
const EXEC = '/api/v1/namespaces/a/pods/b/exec?command=sh&stdin=true'

beforeEach(async () => {
  heads.length = 0
  identity = await testIdentity()
  answer = (socket) => {
    socket.write(
      message('HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: SPDY/3.1'),
    )
    socket.on('data', (chunk) => socket.write(chunk))
    socket.on('end', () => socket.end())
    socket.resume()
  }
  const accept = (socket: Duplex) => {
    void readUntil(socket, LF2).then(
      (head) => answer(socket, head, heads.push(head) - 1),
      () => {},
    )
  }
  const server = await rawTlsServer(identity, ends, accept, true)
  stage = await openStage(ends, { apiServer: { port: server.port, caPem: identity.caPem } })
  bob = await stage.person('bob', { groups: ['dev'] })
})
afterEach(() => ends.run())

const SPDY = message(
  `POST ${EXEC} HTTP/1.1`,
  `Host: ${HOST}`,
  'Content-Length: 0',
  'Connection: Upgrade',
  'Upgrade: SPDY/3.1',
  'User-Agent: kubectl',
  'X-Stream-Protocol-Version: v5.channel.k8s.io',
  'X-Stream-Protocol-Version: v4.channel.k8s.io',
  'X-Stream-Protocol-Version: v3.channel.k8s.io',
  'X-Stream-Protocol-Version: v2.channel.k8s.io',
  'X-Stream-Protocol-Version: channel.k8s.io',
  'Authorization: Bearer evil',
  'Cookie: a=b',
)
const WEBSOCKET = message(
  `GET ${EXEC} HTTP/1.1`,
  `Host: ${HOST}`,
  'Connection: Upgrade',
  'Upgrade: websocket',
  `Sec-WebSocket-Key: ${KEY}`,
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Protocol: v5.channel.k8s.io',
)

/** As kubectl does it: without ALPN. */
async function client(request: string): Promise<TLSSocket> {
  const socket = await stage.connect(bob)
  socket.write(request)
  return socket
}

/** Values of a header in a raw head. */
function values(head: string, name: string): string[] {
  const lines = head.split('\r\n').filter((line) => line.toLowerCase().startsWith(`${name}: `))
  return lines.map((line) => line.slice(name.length + 2))
}

test('an exec goes up as the certificate’s user, with its version lines apart and nothing of the client’s identity', async () => {
  const socket = await client(SPDY)
  expect(await readUntil(socket, LF2)).toMatch(/^HTTP\/1.1 101 /)
  const [head] = heads as [string]
  expect(head.startsWith(`POST ${EXEC} HTTP/1.1\r\n`)).toBe(true)
  expect(values(head, 'impersonate-user')).toEqual(['mcm:bob'])
  expect(values(head, 'impersonate-group')).toEqual(['mcm:dev'])
  expect(values(head, 'authorization')).toEqual([`Bearer ${TOKEN}`])
  expect(values(head, 'x-stream-protocol-version')).toHaveLength(5)
  expect(values(head, 'content-length')).toEqual(['0'])
  expect(values(head, 'user-agent')).toEqual(['kubectl'])
  expect(values(head, 'cookie')).toEqual([])
  expect(values(head, 'host')).toHaveLength(1)
  expect(values(head, 'x-forwarded-for')).toEqual(['192.0.2.7'])
  socket.write('stdin')
  expect(await readUntil(socket, 'stdin')).toBe('stdin')
})

test('a WebSocket goes up with its own lines', async () => {
  answer = (socket) =>
    socket.write(
      message(
        'HTTP/1.1 101 Switching Protocols',
        'Connection: Upgrade',
        'Upgrade: websocket',
        `Sec-WebSocket-Accept: ${ACCEPT}`,
        'Sec-WebSocket-Protocol: v5.channel.k8s.io',
      ),
    )
  const socket = await client(WEBSOCKET)
  expect(await readUntil(socket, LF2)).toContain('Sec-WebSocket-Protocol: v5.channel.k8s.io')
  expect(values(heads[0]!, 'sec-websocket-key')).toEqual([KEY])
  expect(values(heads[0]!, 'sec-websocket-version')).toEqual(['13'])
})

test.each(['Impersonate-User', 'Authorization', 'Host, Impersonate-Group'])(
  'Connection: Upgrade, %s takes nothing of ours away',
  async (name) => {
    const socket = await client(SPDY.replace('Connection: Upgrade', `Connection: Upgrade, ${name}`))
    expect(await readUntil(socket, LF2)).toMatch(/^HTTP\/1.1 101 /)
    expect(values(heads[0]!, 'impersonate-user')).toEqual(['mcm:bob'])
    expect(values(heads[0]!, 'impersonate-group')).toEqual(['mcm:dev'])
    expect(values(heads[0]!, 'authorization')).toEqual([`Bearer ${TOKEN}`])
  },
)

test.each([
  ['h2c', SPDY.replace('Upgrade: SPDY/3.1', 'Upgrade: h2c\r\nHTTP2-Settings: AAA')],
  ['a list', WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: h2c, websocket')],
  ['foo', WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: foo')],
  ['a body', `${SPDY.replace('Content-Length: 0', 'Content-Length: 4')}abcd`],
  ['another host', SPDY.replace(HOST, 'evil')],
  ['an absolute target', SPDY.replace(EXEC, 'http://evil/exec')],
  [
    'a bearer protocol',
    WEBSOCKET.replace('v5.channel', 'base64url.bearer.authorization.k8s.io.eA, v5.channel'),
  ],
])('a switch with %s is refused and never goes up', async (_, request) => {
  const text = await readAll(await client(request))
  expect(text).toMatch(/^HTTP\/1.1 4(00|21) /)
  expect(heads).toEqual([])
})

test('a refusal of the API server is told with its status and body, so that kubectl can fall back', async () => {
  const body = JSON.stringify({ kind: 'Status', code: 403, message: 'pods "b" is forbidden' })
  answer = (socket) => {
    socket.write(
      message(
        'HTTP/1.1 403 Forbidden',
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
      ) + body,
    )
    socket.on('end', () => socket.end()).resume()
  }
  const text = await readAll(await client(WEBSOCKET))
  expect(text).toMatch(/^HTTP\/1.1 403 /)
  expect(text.endsWith(body)).toBe(true)
  await expect
    .poll(() => stage.audit.at(-1))
    .toMatchObject({ stage: 'ended', code: 403, verb: 'get', subresource: 'exec' })
})

test('a token that is not accepted is replaced once, on a connection of its own', async () => {
  stage.facts.tokens = ['stale', TOKEN]
  const good = answer
  answer = (socket, head, index) => {
    if (values(head, 'authorization')[0] === `Bearer ${TOKEN}`) good(socket, head, index)
    else socket.end(message('HTTP/1.1 401 Unauthorized', 'Content-Length: 0'))
  }
  expect(await readUntil(await client(SPDY), LF2)).toMatch(/^HTTP\/1.1 101 /)
  expect(heads).toHaveLength(2)
})

test('a token that is never accepted is 503; the client sees no 401', async () => {
  answer = (socket) => socket.end(message('HTTP/1.1 401 Unauthorized', 'Content-Length: 0'))
  expect(await readAll(await client(SPDY))).toMatch(/^HTTP\/1.1 503 /)
  expect(heads).toHaveLength(2)
})

test('an exec whose device is revoked is cut at both ends within a second', async () => {
  let upstream: Duplex | undefined
  const good = answer
  answer = (socket, head, index) => {
    upstream = socket
    good(socket, head, index)
  }
  const socket = await client(SPDY)
  await readUntil(socket, LF2)
  socket.resume()
  stage.facts.devices.set(bob.device, { user: 'bob', revoked: new Date() })
  const started = performance.now()
  expect(stage.cutRevoked('bob')).toBe(1)
  await Promise.all(
    [socket, upstream!].map((each) =>
      each.closed ? 0 : new Promise((done) => each.once('close', done)),
    ),
  )
  expect(performance.now() - started).toBeLessThan(1_000)
  await expect
    .poll(() => stage.audit.at(-1))
    .toMatchObject({ stage: 'ended', code: 101, ended: 'revoked' })
})

test('a client that is killed ends the exec upstream at once', async () => {
  let upstream: Duplex | undefined
  const good = answer
  answer = (socket, head, index) => {
    upstream = socket
    good(socket, head, index)
  }
  const socket = await client(SPDY)
  await readUntil(socket, LF2)
  socket.destroy()
  await new Promise((done) => upstream!.once('close', done))
})

test('three megabytes of output arrive whole after stdin has ended', async () => {
  answer = (socket) => {
    socket.write(
      message('HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: SPDY/3.1'),
    )
    socket.on('end', () => socket.end(Buffer.alloc(3_000_000, 'x'))).resume()
  }
  const socket = await client(SPDY)
  await readUntil(socket, LF2)
  socket.allowHalfOpen = true
  socket.end('stdin')
  expect((await readAll(socket)).length).toBe(3_000_000)
  await expect
    .poll(() => stage.audit.at(-1))
    .toMatchObject({ bytes: 3_000_000, bytesFromClient: 5 })
})

test('an exec leaves two lines: when it began and when it ended', async () => {
  const socket = await client(SPDY)
  await readUntil(socket, LF2)
  await expect.poll(() => stage.audit.length).toBe(1)
  expect(stage.audit[0]).toMatchObject({
    stage: 'began',
    verb: 'create',
    resource: 'pods',
    subresource: 'exec',
    name: 'b',
  })
  socket.destroy()
  await expect.poll(() => stage.audit.length).toBe(2)
  expect(stage.audit[1]).toMatchObject({ stage: 'ended', auditId: stage.audit[0]!.auditId })
  expect(stage.audit[1]!.path).not.toContain('command')
})
