import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { controlFrame, dataHead, FLAG_FIN, FRAME } from '../../src/forward/spdy-frames.ts'
import { undiciUpstream } from '../../src/forward/undici-upstream.ts'
import { openGateway } from './gateway.ts'
import { socketFrame } from './socket-frame.ts'
import {
  cleanup,
  LF2,
  message,
  rawTlsServer,
  readAll,
  readUntil,
  SERVER_NAME,
  type TestIdentity,
  testIdentity,
} from './stage.ts'

const ends = cleanup()
let identity: TestIdentity

beforeAll(async () => {
  identity = await testIdentity()
})
afterEach(() => ends.run())

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = createHash('sha1')
  .update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
  .digest('base64')

const WEBSOCKET = message(
  'GET /exec?command=sh HTTP/1.1',
  'Host: c.test',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  `Sec-WebSocket-Key: ${KEY}`,
  'Sec-WebSocket-Protocol: v5.channel.k8s.io',
)
const SPDY = message(
  'POST /exec?command=sh HTTP/1.1',
  'Host: c.test',
  'Content-Length: 0',
  'Connection: Upgrade',
  'Upgrade: SPDY/3.1',
  'X-Stream-Protocol-Version: v5.channel.k8s.io',
  'X-Stream-Protocol-Version: v4.channel.k8s.io',
)
const SWITCHED = message(
  'HTTP/1.1 101 Switching Protocols',
  'Connection: Upgrade',
  'Upgrade: websocket',
  `Sec-WebSocket-Accept: ${ACCEPT}`,
  'Sec-WebSocket-Protocol: v5.channel.k8s.io',
)
const SWITCHED_SPDY = message(
  'HTTP/1.1 101 Switching Protocols',
  'Connection: Upgrade',
  'Upgrade: SPDY/3.1',
  'X-Stream-Protocol-Version: v5.channel.k8s.io',
)

/** A gateway before a server that answers each head and leaves the socket to the test. */
async function before(answer: string, then: (socket: Duplex) => void = endWithPeer) {
  const heads: string[] = []
  const accept = (socket: Duplex) => {
    void readUntil(socket, LF2).then(
      (head) => {
        heads.push(head)
        socket.write(answer, 'latin1')
        then(socket)
      },
      () => {},
    )
  }
  const server = await rawTlsServer(identity, ends, accept, true)
  const upstream = undiciUpstream({
    name: 'the API server',
    host: '127.0.0.1',
    port: server.port,
    caPem: identity.caPem,
    serverName: SERVER_NAME,
  })
  ends.add(() => upstream.close())
  return { ...openGateway(upstream, ends), heads, server }
}

function endWithPeer(socket: Duplex): void {
  socket.on('end', () => socket.end()).resume()
}

function echo(socket: Duplex): void {
  socket.on('data', (chunk) => socket.write(chunk))
  socket.on('end', () => socket.end())
  socket.resume()
}

test('a WebSocket is switched and its bytes go both ways', async () => {
  const gateway = await before(SWITCHED, echo)
  const client = await gateway.http1()
  client.write(WEBSOCKET)
  const head = await readUntil(client, LF2)
  expect(head).toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n/)
  expect(head.toLowerCase()).toContain('connection: upgrade\r\nupgrade: websocket\r\n')
  expect(head).toContain(`Sec-WebSocket-Accept: ${ACCEPT}`)
  const close = Buffer.from([0x88, 2, 1000 >> 8, 1000 & 0xff])
  client.write(Buffer.concat([socketFrame(1, Buffer.from('hello')), close]))
  expect(await readUntil(client, 'hello')).toContain('hello')
  expect(gateway.heads[0]).toMatch(/^GET \/exec\?command=sh HTTP\/1.1\r\n/)
  expect(gateway.heads[0]).toContain('Connection: Upgrade\r\nUpgrade: websocket\r\n')
  client.end()
  await readAll(client)
  expect(await gateway.upgrades[0]!.done).toEqual({
    status: 101,
    bytes: 11,
    bytesFromClient: 11,
    ended: 'complete',
  })
})

test('SPDY is switched by POST with its five version lines kept apart', async () => {
  const gateway = await before(SWITCHED_SPDY, echo)
  const client = await gateway.http1()
  client.write(SPDY)
  await readUntil(client, LF2)
  expect(gateway.heads[0]).toContain(
    'X-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io',
  )
  expect(gateway.heads[0]).toMatch(/content-length: 0\r\n/i)
})

test('bytes right behind the request and right behind the 101 arrive first and in order', async () => {
  const gateway = await before(`${SWITCHED}server first`, (socket) => {
    void readUntil(socket, 'client second').then((text) => socket.end(text))
  })
  const client = await gateway.http1()
  client.write(`${WEBSOCKET}client first,`)
  const head = await readUntil(client, 'server first')
  expect(head.endsWith(`${LF2}server first`)).toBe(true)
  client.write('client second')
  expect(await readUntil(client, 'second')).toBe('client first,client second')
})

test('what the client sends before the 101 waits for it', async () => {
  let release = () => {}
  const gateway = await before('', (socket) => {
    release = () => {
      echo(socket)
      socket.write(SWITCHED)
    }
  })
  const client = await gateway.http1()
  client.write(WEBSOCKET)
  client.write('GET /api/v1/secrets HTTP/1.1\r\n\r\n')
  while (gateway.heads.length === 0) await new Promise((done) => setImmediate(done))
  expect(gateway.heads.join('')).not.toContain('secrets')
  release()
  expect(await readUntil(client, 'secrets HTTP/1.1\r\n\r\n')).toContain('101')
})

test.each([400, 403, 404, 500, 503])(
  'a refusal with %i is that status and body, then the end; nothing more reaches the upstream',
  async (code) => {
    const body = `{"kind":"Status","code":${code}}`
    const more: Buffer[] = []
    const gateway = await before(
      message(`HTTP/1.1 ${code} Evil Reason`, `Content-Length: ${body.length}`, 'Set-Cookie: a') +
        body,
      (socket) => {
        socket.on('data', (chunk: Buffer) => more.push(chunk))
        endWithPeer(socket)
      },
    )
    const client = await gateway.http1()
    client.write(WEBSOCKET)
    client.write('GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n')
    const upstreamEnd = once(
      gateway.server.sockets[0] ?? (await firstSocket(gateway.server)),
      'close',
    )
    const answer = await readAll(client)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${code} `))
    expect(answer.endsWith(LF2 + body)).toBe(true)
    expect(answer).not.toMatch(/Evil|cookie/i)
    await upstreamEnd
    expect(Buffer.concat(more).toString()).toBe('')
    expect(gateway.heads).toHaveLength(1)
  },
)

async function firstSocket(server: { sockets: Duplex[] }): Promise<Duplex> {
  while (server.sockets.length === 0) await new Promise((done) => setImmediate(done))
  return server.sockets[0]!
}

test('a chunked refusal is told whole', async () => {
  const gateway = await before(
    `${message('HTTP/1.1 403 Forbidden', 'Transfer-Encoding: chunked')}3\r\nabc\r\n3\r\ndef\r\n0${LF2}`,
  )
  const client = await gateway.http1()
  client.write(SPDY)
  const answer = await readAll(client)
  expect(answer).toMatch(/^HTTP\/1.1 403 /)
  expect(answer.endsWith(`${LF2}abcdef`)).toBe(true)
})

test.each([200, 204, 300, 301, 302, 307, 308])(
  'an answer %i to a switch is 502, and both ends are closed',
  async (code) => {
    const gateway = await before(
      message(`HTTP/1.1 ${code} X`, 'Location: https://evil.test', 'Content-Length: 0'),
    )
    const client = await gateway.http1()
    client.write(WEBSOCKET)
    const answer = await readAll(client)
    expect(answer).toMatch(/^HTTP\/1.1 502 /)
    expect(answer).not.toContain('evil.test')
    await closed(gateway.server.sockets[0]!)
  },
)

test.each([
  ['another protocol', SWITCHED.replace('Upgrade: websocket', 'Upgrade: h2c')],
  ['no protocol', SWITCHED.replace('Upgrade: websocket\r\n', '')],
  ['two protocols', SWITCHED.replace('Upgrade: websocket', 'Upgrade: websocket\r\nUpgrade: h2c')],
  ['a list of protocols', SWITCHED.replace('Upgrade: websocket', 'Upgrade: websocket, h2c')],
  ['SPDY for a WebSocket', SWITCHED_SPDY],
  ['a wrong accept', SWITCHED.replace(ACCEPT, 'AAAAAAAAAAAAAAAAAAAAAAAAAAA=')],
  ['no accept', SWITCHED.replace(`Sec-WebSocket-Accept: ${ACCEPT}\r\n`, '')],
  ['no HTTP at all', 'SSH-2.0-x\r\n\r\n'],
])('a 101 with %s switches nothing: 502, closed', async (_, answer) => {
  const gateway = await before(answer)
  const client = await gateway.http1()
  client.write(WEBSOCKET)
  expect(await readAll(client)).toMatch(/^HTTP\/1.1 502 /)
  await closed(gateway.server.sockets[0]!)
})

test('a 100 or 103 before the 101 is swallowed', async () => {
  const early = message('HTTP/1.1 100 Continue') + message('HTTP/1.1 103 Early Hints')
  const gateway = await before(early + SWITCHED, echo)
  const client = await gateway.http1()
  client.write(WEBSOCKET)
  expect(await readUntil(client, LF2)).toMatch(/^HTTP\/1.1 101 /)
})

test.each([
  [
    'h2c',
    WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__'),
  ],
  ['a list', WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: h2c, websocket')],
  ['a list the other way', WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: websocket, h2c')],
  ['two lines', WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: websocket\r\nUpgrade: h2c')],
  [
    'a second spelling',
    WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: websocket\r\nupgrade: websocket'),
  ],
  ['another protocol', WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: foo')],
  ['TLS', WEBSOCKET.replace('Upgrade: websocket', 'Upgrade: TLS/1.0')],
  ['another SPDY', SPDY.replace('SPDY/3.1', 'SPDY/3')],
  ['a body', `${SPDY.replace('Content-Length: 0', 'Content-Length: 4')}abcd`],
  ['a body of length 00', SPDY.replace('Content-Length: 0', 'Content-Length: 00')],
  ['a chunked body', `${SPDY.replace('Content-Length: 0', 'Transfer-Encoding: chunked')}0${LF2}`],
  [
    'a WebSocket body',
    `${WEBSOCKET.replace('Host: c.test', 'Host: c.test\r\nContent-Length: 4')}abcd`,
  ],
  ['a WebSocket by POST', WEBSOCKET.replace('GET', 'POST')],
  ['no key', WEBSOCKET.replace(`Sec-WebSocket-Key: ${KEY}\r\n`, '')],
  [
    'two keys',
    WEBSOCKET.replace('Sec-WebSocket-Version', `Sec-WebSocket-Key: x\r\nSec-WebSocket-Version`),
  ],
  ['SPDY by DELETE', SPDY.replace('POST', 'DELETE')],
])('a switch with %s is 400 and never goes up', async (_, request) => {
  const gateway = await before(SWITCHED)
  const client = await gateway.http1()
  client.write(request)
  expect(await readAll(client)).toMatch(/^HTTP\/1.1 400 /)
  expect(gateway.server.sockets).toHaveLength(0)
})

test('Connection: close, upgrade without Upgrade is an ordinary request', async () => {
  const gateway = await before(`${message('HTTP/1.1 200 OK', 'Content-Length: 2')}ok`)
  const client = await gateway.http1()
  client.write(message('GET /x HTTP/1.1', 'Host: c', 'Connection: close, upgrade'))
  expect(await readUntil(client, 'ok')).toMatch(/^HTTP\/1.1 200/)
  expect(gateway.heads[0]).not.toMatch(/upgrade/i)
})

test('Upgrade without Connection: upgrade is an ordinary request without it', async () => {
  const gateway = await before(`${message('HTTP/1.1 200 OK', 'Content-Length: 2')}ok`)
  const client = await gateway.http1()
  client.write(message('GET /x HTTP/1.1', 'Host: c', 'Upgrade: websocket'))
  expect(await readUntil(client, 'ok')).toMatch(/^HTTP\/1.1 200/)
  expect(gateway.heads[0]).not.toMatch(/upgrade/i)
})

test('every switch has a connection of its own, and ordinary requests never get it', async () => {
  const gateway = await before(message('HTTP/1.1 403 Forbidden', 'Content-Length: 0'))
  for (let round = 0; round < 3; round += 1) {
    const client = await gateway.http1()
    client.write(WEBSOCKET)
    await readAll(client)
  }
  expect(gateway.server.sockets).toHaveLength(3)
  const client = await gateway.http1()
  client.write(message('GET /x HTTP/1.1', 'Host: c'))
  await readUntil(client, LF2)
  expect(gateway.server.sockets).toHaveLength(4)
})

test('a switch pipelined behind an unfinished request ends the connection', async () => {
  const gateway = await before(message('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'))
  const client = await gateway.http1()
  client.write(message('GET /watch HTTP/1.1', 'Host: c') + WEBSOCKET)
  await readAll(client)
  expect(gateway.upgrades).toHaveLength(0)
})

test('three megabytes arrive whole after the client has said its last word', async () => {
  const gateway = await before(SWITCHED, (socket) => {
    socket.on('end', () => socket.end(Buffer.alloc(3_000_000, 'x')))
    socket.resume()
  })
  const client = await gateway.http1Half()
  client.write(WEBSOCKET)
  await readUntil(client, LF2)
  client.end('last word')
  expect((await readAll(client)).length).toBe(3_000_000)
  expect(await gateway.upgrades[0]!.done).toMatchObject({ bytes: 3_000_000, bytesFromClient: 9 })
})

test('the upstream may end first and still hear the client', async () => {
  let heard = Promise.resolve('')
  const gateway = await before(SWITCHED, (socket) => {
    heard = readAll(socket)
    socket.end('bye')
  })
  const client = await gateway.http1Half()
  client.write(WEBSOCKET)
  await readUntil(client, 'bye')
  client.resume()
  await once(client, 'end')
  client.end(Buffer.alloc(3_000_000, 'y'))
  expect((await heard).length).toBe(3_000_000)
})

const CLOSE = socketFrame(8, Buffer.from([3, 232]))
const PING = socketFrame(9, Buffer.from('are you there'), Buffer.from([1, 2, 3, 4]))

/** Its last words lie in kernels when it is gone, and whoever speaks to it then has them thrown away. */
function leaving(words: Buffer) {
  return (socket: Duplex) => {
    socket.once('finish', () => socket.destroy())
    socket.end(words)
  }
}

async function readSlowly(client: Socket, atEachMegabyte: () => void): Promise<number> {
  let bytes = 0
  for await (const chunk of client) {
    if ((bytes + chunk.length) % 1_000_000 < chunk.length) atEachMegabyte()
    bytes += chunk.length
    await new Promise(setImmediate)
  }
  return bytes
}

test.each([
  [
    'WebSocket',
    WEBSOCKET,
    SWITCHED,
    PING,
    Buffer.concat([socketFrame(2, Buffer.alloc(6_000_000)), CLOSE]),
  ],
  [
    'SPDY',
    SPDY,
    SWITCHED_SPDY,
    controlFrame(FRAME.PING, 0, [1]),
    Buffer.concat([dataHead(1, 6_000_000, FLAG_FIN), Buffer.alloc(6_000_000)]),
  ],
])('a client that pings before it has read everything loses nothing: %s', async (...way) => {
  const [, request, answer, ping, words] = way
  const gateway = await before(answer, leaving(words))
  const client = await gateway.http1Half()
  client.write(request)
  const first = await readUntil(client, LF2)
  const early = first.length - first.indexOf(LF2) - LF2.length
  const [upstream] = gateway.server.sockets
  await closed(upstream!)
  client.write(ping)
  expect(early + (await readSlowly(client, () => client.write(ping)))).toBe(words.length)
  client.end()
  expect(await gateway.upgrades[0]!.done).toMatchObject({ ended: 'complete', bytes: words.length })
})

test('an abort of either side ends the other at once', async () => {
  const gateway = await before(SWITCHED, echo)
  const first = await gateway.http1()
  first.write(WEBSOCKET)
  await readUntil(first, LF2)
  first.resetAndDestroy()
  await closed(gateway.server.sockets[0]!)
  const second = await gateway.http1()
  second.write(WEBSOCKET)
  await readUntil(second, LF2)
  second.resume()
  gateway.server.sockets[1]!.destroy()
  await closed(second)
  const third = await gateway.http1()
  third.write(WEBSOCKET)
  await readUntil(third, LF2)
  third.resume()
  gateway.upgrades[2]!.cut()
  await Promise.all([closed(third), closed(gateway.server.sockets[2]!)])
  expect(await gateway.upgrades[2]!.done).toMatchObject({ ended: 'cut' })
})

test('who broke a switched connection is told apart from who ended it', async () => {
  const gateway = await before(SWITCHED_SPDY, echo)
  const endOf = async (request: string, act: (client: Socket, server: Duplex) => void) => {
    const index = gateway.upgrades.length
    const client = await gateway.http1()
    client.write(request)
    await readUntil(client, LF2)
    client.resume()
    act(client, gateway.server.sockets[index]!)
    return (await gateway.upgrades[index]!.done).ended
  }
  const resetServer = () => {
    for (const connection of gateway.server.connections) connection.resetAndDestroy()
  }
  expect(await endOf(SPDY, (client) => client.end())).toBe('complete')
  expect(await endOf(SPDY, (client) => client.resetAndDestroy())).toBe('client')
  expect(await endOf(SPDY, (_client, server) => server.end())).toBe('complete')
  expect(await endOf(SPDY, resetServer)).toBe('upstream')
  const halfOfAFrame = Buffer.from('800300010000', 'hex')
  expect(await endOf(SPDY, (_client, server) => server.end(halfOfAFrame))).toBe('upstream')
})

test('a WebSocket that ends without a close frame was broken by whoever ended it', async () => {
  const close = socketFrame(8, Buffer.from([3, 232]))
  const endOf = async (act: (client: Socket, server: Duplex) => void) => {
    const gateway = await before(SWITCHED)
    const client = await gateway.http1()
    client.write(WEBSOCKET)
    await readUntil(client, LF2)
    client.resume()
    act(client, gateway.server.sockets[0]!)
    return (await gateway.upgrades[0]!.done).ended
  }
  expect(await endOf((client) => client.end())).toBe('client')
  expect(await endOf((client) => client.end(close))).toBe('complete')
  expect(await endOf((_client, server) => server.end())).toBe('upstream')
  expect(await endOf((_client, server) => server.end(close))).toBe('complete')
})

test('a client that goes away before the 101 ends the connection upstream', async () => {
  const gateway = await before('')
  const client = await gateway.http1()
  client.write(WEBSOCKET)
  const socket = await firstSocket(gateway.server)
  client.resetAndDestroy()
  await closed(socket)
  expect(await gateway.upgrades[0]!.done).toMatchObject({ status: 0, ended: 'client' })
})

test('a stalled reader is not buffered for', async () => {
  let written = 0
  const blocked = Promise.withResolvers<void>()
  const gateway = await before(SWITCHED, (socket) => {
    const pour = () => {
      while (written < 400_000_000) {
        written += 65_536
        if (!socket.write(Buffer.alloc(65_536))) break
      }
      const before = written
      setTimeout(() => written === before && blocked.resolve(), 300)
    }
    socket.on('drain', pour)
    pour()
  })
  const client = await gateway.http1()
  client.write(WEBSOCKET)
  client.pause()
  await blocked.promise
  expect(written).toBeLessThan(40_000_000)
})

function closed(socket: Duplex): Promise<unknown> {
  return socket.closed ? Promise.resolve() : new Promise((done) => socket.once('close', done))
}
