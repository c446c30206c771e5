import { once } from 'node:events'
import { constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { undiciUpstream } from '../../src/forward/undici-upstream.ts'
import type { Upstream } from '../../src/forward/upstream.ts'
import { openGateway } from './gateway.ts'
import { END_HEADERS, FRAME, frame, PREFACE, requestHead, resetFrame } from './raw-http2.ts'
import {
  cleanup,
  httpsServer,
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

function upstreamAt(port: number, caPem = identity.caPem): Upstream {
  const upstream = undiciUpstream({
    name: 'the API server',
    host: '127.0.0.1',
    port,
    caPem,
    serverName: SERVER_NAME,
  })
  ends.add(() => upstream.close())
  return upstream
}

/** A gateway before a server that gives the same bytes to every request head. */
async function before(answer: string | ((socket: Duplex, head: string) => void)) {
  const heads: string[] = []
  const server = await rawTlsServer(identity, ends, (socket) => {
    void (async () => {
      for (;;) {
        const head = await readUntil(socket, LF2).catch(() => undefined)
        if (head === undefined) return
        heads.push(head)
        if (typeof answer === 'string') socket.write(answer)
        else answer(socket, head)
      }
    })()
  })
  return { ...openGateway(upstreamAt(server.port), ends), heads, server }
}

const GET = message('GET /x HTTP/1.1', 'Host: c.test')

test('a request goes up with its lines as they were, an answer comes down so', async () => {
  const gateway = await before(
    `${message('HTTP/1.1 200 Whatever', 'Content-Length: 2', 'X-A: 1', 'x-a: 2')}ok`,
  )
  const client = await gateway.http1()
  client.write(message('GET /x?a=%2F HTTP/1.1', 'Host: c.test', 'X-B: 1', 'x-b: 2', 'Accept: */*'))
  const answer = await readUntil(client, 'ok')
  expect(gateway.heads[0]).toContain('GET /x?a=%2F HTTP/1.1\r\n')
  expect(gateway.heads[0]).toContain('X-B: 1\r\nx-b: 2\r\nAccept: */*\r\n')
  expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n/)
})

test('an answer keeps no cookie, CORS, hop-by-hop line or other place to talk to', async () => {
  const gateway = await before(
    message(
      'HTTP/1.1 200 OK',
      'Content-Length: 0',
      'Set-Cookie: a=b',
      'set_cookie: a=b',
      'Access-Control-Allow-Origin: *',
      'Access_Control_Allow_Origin: *',
      'Connection: X-Foo',
      'X-Foo: 1',
      'Alt-Svc: h3=":443"',
      'Keep-Alive: timeout=5',
      'Warning: 299 - "kept"',
    ),
  )
  const client = await gateway.http1()
  client.write(GET)
  const answer = await readUntil(client, LF2)
  expect(answer).toContain('Warning: 299 - "kept"')
  expect(answer).not.toMatch(/cookie|access.control|x-foo|alt-svc|timeout=5/i)
})

test('a redirect is passed on and never followed', async () => {
  const gateway = await before(
    message('HTTP/1.1 302 Found', 'Location: https://evil.test/x', 'Content-Length: 0'),
  )
  const client = await gateway.http1()
  client.write(GET)
  expect(await readUntil(client, LF2)).toContain('Location: https://evil.test/x')
  expect(gateway.heads).toHaveLength(1)
})

test('informational answers stay behind', async () => {
  const gateway = await before(
    message('HTTP/1.1 103 Early Hints', 'Link: </x>') +
      message('HTTP/1.1 200 OK', 'Content-Length: 2') +
      'ok',
  )
  const client = await gateway.http1()
  client.write(GET)
  expect(await readUntil(client, 'ok')).toMatch(/^HTTP\/1.1 200/)
})

test.each([
  [
    'with Upgrade',
    ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: websocket'],
  ],
  ['without Upgrade', ['HTTP/1.1 101 Switching Protocols']],
])('an unasked 101 %s is 502 and its connection is destroyed', async (_, lines) => {
  const gateway = await before(`${message(...lines)}smuggled`)
  const client = await gateway.http1()
  client.write(GET)
  expect(await readUntil(client, '}')).toMatch(/^HTTP\/1.1 502/)
  await once(gateway.server.sockets[0]!, 'close')
})

test('bytes that are no HTTP are 502', async () => {
  const gateway = await before('SSH-2.0-OpenSSH\r\n\r\n')
  const client = await gateway.http1()
  client.write(GET)
  expect(await readUntil(client, '}')).toMatch(/^HTTP\/1.1 502/)
})

test('too many answer headers are 502', async () => {
  const many = Array.from({ length: 150 }, (_, i) => `A${i}: x`)
  const gateway = await before(message('HTTP/1.1 200 OK', 'Content-Length: 0', ...many))
  const client = await gateway.http1()
  client.write(GET)
  expect(await readUntil(client, '}')).toMatch(/^HTTP\/1.1 502/)
})

test('an upstream with a foreign certificate is 502 and learns nothing', async () => {
  const server = await rawTlsServer(await testIdentity(), ends, () => {})
  const gateway = openGateway(upstreamAt(server.port), ends)
  const client = await gateway.http1()
  client.write(message('GET /x HTTP/1.1', 'Host: c.test', 'Authorization: Bearer secret'))
  expect(await readUntil(client, '}')).toMatch(
    /^HTTP\/1.1 502[\s\S]*certificate that is not its own/,
  )
  const seen = await Promise.all(server.sockets.map((socket) => readAll(socket)))
  expect(seen.join('')).toBe('')
})

test('an upstream that is not there is 503 with a Status', async () => {
  const server = await rawTlsServer(identity, ends, () => {})
  const upstream = upstreamAt(server.port)
  await ends.run()
  const gateway = openGateway(upstreamAt(server.port), ends)
  const client = await gateway.http1()
  client.write(GET)
  const answer = await readUntil(client, '}')
  expect(answer).toMatch(
    /^HTTP\/1.1 503[\s\S]*"kind":"Status"[\s\S]*the API server cannot be reached/,
  )
  await upstream.close()
})

test('an upstream that does not answer in time is 504', async () => {
  const server = await rawTlsServer(identity, ends, (socket) => socket.resume())
  const upstream = upstreamAt(server.port)
  const impatient: Upstream = {
    ...upstream,
    send: (request, events) => upstream.send({ ...request, answerTimeoutMs: 100 }, events),
  }
  const client = await openGateway(impatient, ends).http1()
  client.write(GET)
  expect(await readUntil(client, '}')).toMatch(/^HTTP\/1.1 504/)
})

test('an answer cut upstream is cut for the client: HTTP/1.1 sees no end', async () => {
  const gateway = await before((socket) => {
    socket.write(`${message('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}3\r\nabc\r\n`)
    setImmediate(() => socket.destroy())
  })
  const client = await gateway.http1()
  client.write(GET)
  const answer = await readAll(client)
  expect(answer).toContain('3\r\nabc\r\n')
  expect(answer).not.toContain('0\r\n\r\n')
})

test('an answer cut upstream is cut for the client: HTTP/2 sees a reset', async () => {
  const gateway = await before((socket) => {
    socket.write(`${message('HTTP/1.1 200 OK', 'Content-Length: 10')}abc`)
    setImmediate(() => socket.destroy())
  })
  const session = await gateway.http2()
  const stream = session.request({ ':path': '/x' })
  stream.resume()
  await expect(once(stream, 'end').then(() => once(stream, 'close'))).rejects.toThrow()
  expect(stream.rstCode).toBe(constants.NGHTTP2_INTERNAL_ERROR)
})

test('a client that goes away ends the request upstream at once', async () => {
  for (const kind of ['http1', 'http2'] as const) {
    const gateway = await before((socket) => {
      socket.write(`${message('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}3\r\nabc\r\n`)
    })
    if (kind === 'http1') {
      const client = await gateway.http1()
      client.write(GET)
      await readUntil(client, 'abc')
      client.destroy()
    } else {
      const stream = (await gateway.http2()).request({ ':path': '/x' })
      await once(stream, 'data')
      stream.close(constants.NGHTTP2_CANCEL)
    }
    await once(gateway.server.sockets[0]!, 'close')
    await gateway.exchanges[0]!.done
    expect(gateway.results[0]).toMatchObject({ status: 200, bytes: 3, ended: 'client' })
  }
})

test('a thousand watches ended by their clients leave no connection upstream', async () => {
  const gateway = await before((socket) => {
    socket.write(`${message('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}1\r\nx\r\n`)
  })
  for (let round = 0; round < 10; round += 1) {
    const session = await gateway.http2()
    const streams = Array.from({ length: 100 }, () => session.request({ ':path': '/w' }))
    await Promise.all(streams.map((stream) => once(stream, 'data')))
    for (const stream of streams) stream.on('error', () => {}).close(constants.NGHTTP2_CANCEL)
    await Promise.all(gateway.exchanges.splice(0).map(({ done }) => done))
    session.destroy()
  }
  expect(gateway.results).toHaveLength(1000)
  const open = gateway.server.sockets.filter((socket) => !socket.destroyed)
  await Promise.all(open.map((socket) => once(socket, 'close')))
})

test('a head is passed on before any body: a watch without events is open at once', async () => {
  const gateway = await before((socket) => {
    socket.write(message('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'))
  })
  const client = await gateway.http1()
  client.write(GET)
  expect(await readUntil(client, LF2)).toMatch(/^HTTP\/1.1 200/)
  const stream = (await gateway.http2()).request({ ':path': '/x' })
  const [headers] = await once(stream, 'response')
  expect(headers[':status']).toBe(200)
})

test('bodies go up whole, small ones in one piece and large ones as they come', async () => {
  const seen: { length: number; framing: string }[] = []
  const server = await httpsServer(identity, ends, async (request, response) => {
    let length = 0
    for await (const chunk of request) length += chunk.length
    const framing = request.headers['content-length'] ?? request.headers['transfer-encoding'] ?? ''
    seen.push({ length, framing })
    response.end('done')
  })
  const gateway = openGateway(upstreamAt(server.port), ends)
  const session = await gateway.http2()
  for (const size of [0, 1, 1000, 70_000, 3_000_000]) {
    const body = Buffer.alloc(size, 'x')
    for (const headers of [{ 'content-length': size }, {}]) {
      const stream = session.request({ ':path': '/x', ':method': 'PATCH', ...headers })
      stream.end(body)
      stream.resume()
      await once(stream, 'end')
      expect(seen.pop()!.length).toBe(size)
    }
  }
  const client = await gateway.http1()
  client.write(`${message('DELETE /x HTTP/1.1', 'Host: c', 'Content-Length: 5')}hello`)
  await readUntil(client, 'done')
  expect(seen.pop()).toEqual({ length: 5, framing: '5' })
  client.write(
    message('POST /x HTTP/1.1', 'Host: c', 'Transfer-Encoding: chunked') +
      '5;ext=1\r\nhello\r\n0\r\nImpersonate-User: admin' +
      LF2,
  )
  await readUntil(client, 'done')
  expect(seen.pop()).toEqual({ length: 5, framing: 'chunked' })
})

test('trailers of a request are not forwarded', async () => {
  const server = await httpsServer(identity, ends, (request, response) => {
    request.resume().on('end', () => response.end(JSON.stringify(request.rawTrailers)))
  })
  const client = await openGateway(upstreamAt(server.port), ends).http1()
  const chunks = `3\r\nabc\r\n0\r\nImpersonate-User: admin${LF2}`
  client.write(message('POST /x HTTP/1.1', 'Host: c', 'Transfer-Encoding: chunked') + chunks)
  expect(await readUntil(client, ']')).toMatch(/\r\n\[\]/)
})

test('a body that its client cuts never reaches the upstream as a whole one', async () => {
  const bodies: Promise<'whole' | 'cut'>[] = []
  const server = await httpsServer(identity, ends, (request) => {
    request.resume()
    bodies.push(
      new Promise((resolve) => {
        request.on('end', () => resolve('whole'))
        request.on('error', () => resolve('cut'))
        request.on('close', () => resolve('cut'))
      }),
    )
    server.server.emit('seen')
  })
  const gateway = openGateway(upstreamAt(server.port), ends)
  for (const code of [constants.NGHTTP2_CANCEL, constants.NGHTTP2_NO_ERROR]) {
    const seen = once(server.server, 'seen')
    const raw = await gateway.rawHttp2()
    raw.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]))
    raw.write(frame(FRAME.headers, END_HEADERS, 1, requestHead()))
    raw.write(frame(FRAME.data, 0, 1, Buffer.from('kind: Secret')))
    await seen
    raw.write(resetFrame(1, code))
    expect(await bodies.pop()).toBe('cut')
  }
  const seen = once(server.server, 'seen')
  const client = await gateway.http1()
  client.write(
    `${message('POST /x HTTP/1.1', 'Host: c', 'Transfer-Encoding: chunked')}3\r\nabc\r\n`,
  )
  await seen
  client.destroy()
  expect(await bodies.pop()).toBe('cut')
})

test('an answer is read no faster than its client takes it', async () => {
  let written = 0
  let isBlocked: () => void
  const blocked = new Promise<void>((resolve) => {
    isBlocked = resolve
  })
  const gateway = await before((socket) => {
    socket.write(message('HTTP/1.1 200 OK', 'Content-Length: 400000000'))
    const chunk = Buffer.alloc(64 * 1024)
    const pour = () => {
      while (written < 400_000_000) {
        written += chunk.length
        if (!socket.write(chunk)) break
      }
      const before = written
      setTimeout(() => (written === before ? isBlocked() : undefined), 300)
    }
    socket.on('drain', pour)
    pour()
  })
  const client = await gateway.http1()
  client.pause()
  client.write(GET)
  await blocked
  expect(written).toBeLessThan(40_000_000)
})

test('a body is read no faster than the upstream takes it', async () => {
  const server = await rawTlsServer(identity, ends, (socket) => socket.pause())
  const gateway = openGateway(upstreamAt(server.port), ends)
  const client = await gateway.http1()
  client.write(message('POST /x HTTP/1.1', 'Host: c', 'Content-Length: 400000000'))
  const chunk = Buffer.alloc(64 * 1024)
  let written = 0
  await new Promise<void>((resolve) => {
    const pour = () => {
      while (written < 400_000_000) {
        written += chunk.length
        if (!client.write(chunk)) break
      }
      const before = written
      setTimeout(() => (written === before ? resolve() : undefined), 300)
    }
    client.on('drain', pour)
    pour()
  })
  expect(written).toBeLessThan(40_000_000)
})

test('a body that stands still is given up, a slow one is not', async () => {
  const server = await httpsServer(identity, ends, (request, response) => {
    request.resume().on('end', () => response.end('done'))
  })
  const timeouts = { headMs: 10_000, bodyStallMs: 1_000, idleMs: 95_000 }
  const gateway = openGateway(upstreamAt(server.port), ends, timeouts)
  const stalled = await gateway.http1()
  stalled.write(`${message('POST /x HTTP/1.1', 'Host: c', 'Content-Length: 100000')}abc`)
  const slow = await gateway.http1()
  slow.write(message('POST /x HTTP/1.1', 'Host: c', 'Content-Length: 100000'))
  let left = 10
  const timer = setInterval(() => {
    slow.write(Buffer.alloc(10_000))
    left -= 1
    if (left === 0) clearInterval(timer)
  }, 150)
  expect(await readAll(stalled)).toBe('')
  expect(await readUntil(slow, 'done')).toMatch(/^HTTP\/1.1 200/)
  const stream = (await gateway.http2()).request({ ':path': '/x', ':method': 'POST' })
  stream.on('error', () => {})
  stream.write('abc')
  await new Promise((done) => stream.once('close', done))
  expect(stream.rstCode).toBe(constants.NGHTTP2_INTERNAL_ERROR)
})

test('a head that comes byte by byte is given up', async () => {
  const gateway = openGateway(upstreamAt(1), ends, { headMs: 100, bodyStallMs: 1000, idleMs: 1000 })
  const client = await gateway.http1()
  const timer = setInterval(() => client.write('G'), 20)
  ends.add(() => clearInterval(timer))
  await readAll(client)
  const silent = await gateway.http2()
  silent.destroy()
  const [, far] = await (async () => {
    const raw = await gateway.http1()
    return [0, raw] as const
  })()
  far.write('GET / HT')
  expect(await readAll(far)).toMatch(/^HTTP\/1.1 4/)
})

test.each(['GET', 'HEAD'])('a %s on a connection just closed is sent once more', async (method) => {
  let count = 0
  const gateway = await before((socket) => {
    count += 1
    if (count === 2) socket.destroy()
    else socket.write(message('HTTP/1.1 200 OK', 'Content-Length: 0'))
  })
  const client = await gateway.http1()
  for (let request = 0; request < 2; request += 1) {
    client.write(message(`${method} /x HTTP/1.1`, 'Host: c'))
    expect(await readUntil(client, LF2)).toMatch(/^HTTP\/1.1 200/)
  }
  expect(gateway.heads).toHaveLength(3)
})

test('a GET is sent at most twice, a POST exactly once', async () => {
  const gateway = await before((socket) => socket.destroy())
  const client = await gateway.http1()
  client.write(GET)
  expect(await readUntil(client, '}')).toMatch(/^HTTP\/1.1 503/)
  expect(gateway.heads).toHaveLength(2)
  client.write(message('POST /x HTTP/1.1', 'Host: c', 'Content-Length: 0'))
  expect(await readUntil(client, '}')).toMatch(/^HTTP\/1.1 503/)
  client.write(message('DELETE /x HTTP/1.1', 'Host: c'))
  expect(await readUntil(client, '}')).toMatch(/^HTTP\/1.1 503/)
  expect(gateway.heads).toHaveLength(4)
})

test('a compressed answer is passed on as it is', async () => {
  const gateway = await before(
    `${message('HTTP/1.1 200 OK', 'Content-Encoding: gzip', 'Content-Length: 4')}\x1f\x8b\x00\xff`,
  )
  const client = await gateway.http1()
  client.write(GET)
  const answer = await readUntil(client, LF2)
  expect(answer).toContain('Content-Encoding: gzip')
})

test('cut ends both sides, and the client sees no end', async () => {
  const gateway = await before((socket) => {
    socket.write(`${message('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}3\r\nabc\r\n`)
  })
  const client = await gateway.http1()
  client.write(GET)
  await readUntil(client, 'abc')
  gateway.exchanges[0]!.cut()
  client.resume()
  await Promise.all([once(client, 'close'), once(gateway.server.sockets[0]!, 'close')])
  expect(await gateway.exchanges[0]!.done).toMatchObject({ ended: 'cut', status: 200 })
})
