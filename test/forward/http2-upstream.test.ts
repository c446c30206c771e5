import { once } from 'node:events'
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { afterEach, expect, test } from 'vitest'
import { decoupleWrites } from '../../src/duplex.ts'
import { http2Upstream } from '../../src/forward/http2-upstream.ts'
import { openGateway } from './gateway.ts'
import { cleanup, message, readAll, readUntil, socketPair } from './stage.ts'

const ends = cleanup()
afterEach(() => ends.run())

type Handle = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: string[]) => void

/** A gateway before an HTTP/2 server at the other end of one connection, as between local proxy and agent. */
async function before(handle: Handle) {
  const [near, far] = await socketPair(ends)
  const server = createServer()
  let session: ServerHttp2Session | undefined
  server.on('session', (opened) => {
    session = opened
    opened.on('error', () => {})
  })
  server.on('stream', (stream, headers, _flags, raw) => {
    stream.on('error', () => {})
    handle(stream, headers, raw as unknown as string[])
  })
  server.emit('connection', near)
  const client: ClientHttp2Session = connect('https://agent.test', {
    createConnection: () => decoupleWrites(far),
  })
  client.on('error', () => {})
  ends.add(() => client.destroy())
  const upstream = http2Upstream(client, {
    name: 'the agent',
    authority: 'agent.test',
  })
  return { ...openGateway(upstream, ends), upstream, server: () => session! }
}

const GET = message(
  'GET /x?a=%2F HTTP/1.1',
  'Host: c.test',
  'X-A: 1',
  'x-a: 2',
  'Connection: keep-alive',
)

test('a request goes up with its lines, under the upstream’s own authority, and comes back', async () => {
  let seen: string[] = []
  const gateway = await before((stream, _headers, raw) => {
    seen = raw
    stream.respond({ ':status': 200, 'x-b': ['1', '2'], 'set-cookie': 'a=b' })
    stream.end('hello')
  })
  const client = await gateway.http1()
  client.write(GET)
  const answer = await readUntil(client, 'hello')
  expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\n/)
  expect(answer.match(/x-b: /g)).toHaveLength(2)
  expect(answer).not.toContain('cookie')
  expect(seen.slice(0, 8)).toEqual([
    ...[':method', 'GET', ':path', '/x?a=%2F'],
    ...[':scheme', 'https', ':authority', 'agent.test'],
  ])
  expect(seen.filter((text) => text === 'x-a')).toHaveLength(2)
  expect(seen).not.toContain('connection')
})

test('an answer whose head and body come in one piece keeps its status', async () => {
  const gateway = await before((stream) => {
    stream.respond({ ':status': 418 })
    stream.end('x')
  })
  for (let round = 0; round < 20; round += 1) {
    const client = await gateway.http1()
    client.write(GET)
    expect(await readUntil(client, '\r\n0\r\n')).toMatch(/^HTTP\/1.1 418 /)
  }
})

test('bodies of every size go up and come down whole', async () => {
  const gateway = await before(async (stream) => {
    let length = 0
    for await (const chunk of stream) length += chunk.length
    stream.respond({ ':status': 200 })
    stream.end(Buffer.alloc(length, 'y'))
  })
  const session = await gateway.http2()
  for (const size of [0, 1, 70_000, 3_000_000]) {
    const stream = session.request({ ':path': '/x', ':method': 'POST', 'content-length': size })
    stream.end(Buffer.alloc(size, 'x'))
    let length = 0
    for await (const chunk of stream) length += chunk.length
    expect(length).toBe(size)
  }
})

test.each([
  ['reset', (stream: ServerHttp2Stream) => stream.destroy(new Error('cut'))],
  ['ended with its session', (stream: ServerHttp2Stream) => stream.session!.destroy()],
])('an answer that is %s is cut for the client', async (_, cut) => {
  const gateway = await before((stream) => {
    stream.respond({ ':status': 200 })
    stream.write('abc', () => setImmediate(() => cut(stream)))
  })
  const client = await gateway.http1()
  client.write(GET)
  const text = await readAll(client)
  expect(text).toContain('abc')
  expect(text).not.toMatch(/\r\n0\r\n\r\n$/)
})

test('closing the upstream cuts what is open', async () => {
  const gateway = await before((stream) => {
    stream.respond({ ':status': 200 })
    stream.write('abc')
  })
  const client = await gateway.http1()
  client.write(GET)
  await readUntil(client, 'abc')
  await gateway.upstream.close()
  expect(await readAll(client)).not.toMatch(/\r\n0\r\n\r\n$/)
})

test('a client that goes away resets the stream, with a body under way too', async () => {
  const closed: Promise<unknown>[] = []
  const gateway = await before((stream) => {
    closed.push(new Promise((done) => stream.once('close', () => done(stream.rstCode))))
    stream.resume()
    if (closed.length === 1) stream.respond({ ':status': 200 })
    if (closed.length === 1) stream.write('abc')
  })
  const reader = await gateway.http1()
  reader.write(GET)
  await readUntil(reader, 'abc')
  reader.destroy()
  expect(await closed[0]).not.toBe(constants.NGHTTP2_NO_ERROR)
  const writer = await gateway.http1()
  writer.write(
    `${message('POST /x HTTP/1.1', 'Host: c', 'Transfer-Encoding: chunked')}3\r\nabc\r\n`,
  )
  while (closed.length < 2) await new Promise((done) => setImmediate(done))
  writer.destroy()
  expect(await closed[1]).not.toBe(constants.NGHTTP2_NO_ERROR)
})

test('an upstream that has gone is 503, one that is silent is 504', async () => {
  const gateway = await before(() => {})
  const silent = { ...gateway.upstream }
  const impatient = openGateway(
    {
      ...silent,
      send: (request, events) => gateway.upstream.send({ ...request, answerTimeoutMs: 50 }, events),
    },
    ends,
  )
  const waiting = await impatient.http1()
  waiting.write(GET)
  expect(await readUntil(waiting, '}')).toMatch(
    /^HTTP\/1.1 504 [\s\S]*the agent did not answer in time/,
  )
  gateway.server().destroy()
  await once(gateway.server(), 'close').catch(() => {})
  const client = await gateway.http1()
  client.write(GET)
  expect(await readUntil(client, '}')).toMatch(/^HTTP\/1.1 503 [\s\S]*the agent cannot be reached/)
})

test('an answer is read no faster than its client takes it', async () => {
  let written = 0
  const blocked = Promise.withResolvers<void>()
  const gateway = await before((stream) => {
    stream.respond({ ':status': 200, 'content-length': 400_000_000 })
    const pour = () => {
      while (written < 400_000_000) {
        written += 65_536
        if (!stream.write(Buffer.alloc(65_536))) break
      }
      const now = written
      setTimeout(() => written === now && blocked.resolve(), 300)
    }
    stream.on('drain', pour)
    pour()
  })
  const client = await gateway.http1()
  client.pause()
  client.write(GET)
  await blocked.promise
  expect(written).toBeLessThan(40_000_000)
})
