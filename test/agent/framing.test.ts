import { once } from 'node:events'
import { constants } from 'node:http2'
import { createServer } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  headerBlock,
  PREFACE,
} from '../forward/raw-http2.ts'
import { cleanup, listen } from '../forward/stage.ts'
import { HOST, openStage, type Person, readAnswer, type TrafficStage } from './traffic-stage.ts'

const ends = cleanup()
let stage: TrafficStage
let bob: Person

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob')
})
afterEach(() => ends.run())

/** Everything that comes back for these bytes, until the agent ends the connection. */
async function send(bytes: string): Promise<string> {
  const socket = await stage.http1(bob)
  socket.write(bytes, 'latin1')
  return readToEnd(socket)
}

async function readToEnd(socket: TLSSocket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  if (!socket.destroyed) await new Promise((done) => socket.once('close', done))
  return text
}

function request(line: string, ...lines: string[]): string {
  return [line, `Host: ${HOST}`, ...lines, '', ''].join('\r\n')
}

/** A listener that must never be reached, with its address. */
async function canary(): Promise<{ port: number; connections: () => number }> {
  let count = 0
  const server = createServer((socket) => {
    count += 1
    socket.destroy()
  })
  const port = await listen(server)
  ends.add(() => new Promise((done) => server.close(done)))
  return { port, connections: () => count }
}

test.each([
  '//CANARY/api',
  '/\\CANARY/api',
  '\\\\CANARY/x',
  'http://CANARY/api',
  'https://CANARY/api',
  '@CANARY/x',
  ':80@CANARY/',
  'api',
  '*',
  '/api#frag',
  '/a b',
  '/\xe9',
  '/a\x01b',
  '/a\tb',
])('HTTP/1.1 target %j is 400, nobody is called and no token leaves', async (target) => {
  const { port, connections } = await canary()
  const text = await send(request(`GET ${target.replace('CANARY', `127.0.0.1:${port}`)} HTTP/1.1`))
  expect(text).toMatch(/^HTTP\/1.1 400/)
  expect(connections()).toBe(0)
  expect(stage.seen).toEqual([])
})

test.each([
  '//CANARY/api',
  '/\\CANARY/api',
  '\\\\CANARY/x',
  'http://CANARY/api',
  '@CANARY/x',
  ':80@CANARY/',
  '.CANARY/x',
  'https:CANARY',
  'api',
  '*',
  '/api#frag',
  '/a b',
  '/\xe9',
])('HTTP/2 path %j is 400, nobody is called and no token leaves', async (target) => {
  const { port, connections } = await canary()
  const path = target.replace('CANARY', `127.0.0.1:${port}`)
  const stream = (await stage.http2(bob)).request({ ':path': path })
  stream.resume()
  const outcome = await new Promise((done) => {
    stream.once('response', (headers) => done(headers[':status']))
    stream.once('error', () => done('reset'))
  })
  expect([400, 'reset']).toContain(outcome)
  expect(connections()).toBe(0)
  expect(stage.seen).toEqual([])
})

test.each([
  ['CONNECT 10.0.0.1:443 HTTP/1.1', /^HTTP\/1.1 405/],
  ['OPTIONS * HTTP/1.1', /^HTTP\/1.1 400/],
  ['TRACE / HTTP/1.1', /^HTTP\/1.1 400/],
  ['get /api HTTP/1.1', /^HTTP\/1.1 400/],
  ['GET /api HTTP/1.0', /^HTTP\/1.1 400/],
  ['GET /api HTTP/2.0', /^HTTP\/1.1 400/],
  ['GET /api', /^HTTP\/1.1 400/],
])('%j is refused', async (line, expected) => {
  expect(await send(request(line))).toMatch(expected)
  expect(stage.seen).toEqual([])
})

test('CONNECT over HTTP/2, also the extended one, is refused', async () => {
  const session = await stage.http2(bob)
  const stream = session.request({ ':method': 'CONNECT', ':authority': '10.0.0.1:443' })
  stream.resume()
  const [headers] = await once(stream, 'response')
  expect(headers[':status']).toBe(400)
  expect(stage.seen).toEqual([])
})

test.each([
  ['another host', ['Host: evil'], 421],
  ['the enrolment host', [`Host: enrol.${HOST}`], 421],
  ['another port', [`Host: ${HOST}:8443`], 421],
  ['two hosts', [`Host: ${HOST}`, `Host: ${HOST}`], 400],
  ['two different hosts', [`Host: ${HOST}`, 'Host: evil'], 400],
  ['no host', ['X: y'], 400],
  ['an empty host', ['Host: '], 421],
])('%s is refused', async (_, lines, code) => {
  const text = await send(['GET /api HTTP/1.1', ...(lines as string[]), '', ''].join('\r\n'))
  expect(text).toMatch(new RegExp(`^HTTP/1.1 ${code} `))
  expect(stage.seen).toEqual([])
})

test('the host with its port, and in capitals, is the host', async () => {
  for (const host of [`${HOST}:443`, HOST.toUpperCase()]) {
    const socket = await stage.http1(bob)
    socket.write(`GET /api HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    expect((await readAnswer(socket)).status).toBe(200)
  }
})

test.each([
  ['another :authority', { ':authority': 'evil' }, 421],
  ['another host beside it', { host: 'evil' }, 421],
])('HTTP/2 with %s is refused', async (_, headers, code) => {
  const stream = (await stage.http2(bob)).request({ ':path': '/api', ...headers })
  stream.resume()
  const [answer] = await once(stream, 'response')
  expect(answer[':status']).toBe(code)
  expect(stage.seen).toEqual([])
})

const CHUNKS = '5\r\nhello\r\n0\r\n\r\n'

test.each([
  ['a length and a coding', ['Content-Length: 5', 'Transfer-Encoding: chunked'], CHUNKS],
  ['a coding and a length', ['Transfer-Encoding: chunked', 'Content-Length: 5'], CHUNKS],
  ['two lengths', ['Content-Length: 5', 'Content-Length: 6'], 'hello!'],
  ['two equal lengths', ['Content-Length: 5', 'Content-Length: 5'], 'hello'],
  ['a list of lengths', ['Content-Length: 5, 5'], 'hello'],
  ['a signed length', ['Content-Length: +5'], 'hello'],
  ['a negative length', ['Content-Length: -5'], 'hello'],
  ['a length with an underscore', ['Content_Length: 5', 'Transfer-Encoding: xchunked'], 'hello'],
  ['two codings', ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], CHUNKS],
  ['a list of codings', ['Transfer-Encoding: gzip, chunked'], CHUNKS],
  ['chunked before identity', ['Transfer-Encoding: chunked, identity'], CHUNKS],
  ['an unknown coding', ['Transfer-Encoding: xchunked'], CHUNKS],
  ['identity', ['Transfer-Encoding: identity'], CHUNKS],
  ['a coding with a parameter', ['Transfer-Encoding: chunked;q=1'], CHUNKS],
  ['a coding in quotes', ['Transfer-Encoding: "chunked"'], CHUNKS],
  ['a space before the colon', ['Transfer-Encoding : chunked'], CHUNKS],
  ['an underscore', ['Transfer_Encoding: chunked'], ''],
  ['a folded coding', ['Transfer-Encoding:', ' chunked'], CHUNKS],
  ['chunk size 0x5', ['Transfer-Encoding: chunked'], '0x5\r\nhello\r\n0\r\n\r\n'],
  ['chunk size -1', ['Transfer-Encoding: chunked'], '-1\r\nhello\r\n0\r\n\r\n'],
  [
    'a chunk size that overflows',
    ['Transfer-Encoding: chunked'],
    'fffffffffffffffff\r\nhello\r\n0\r\n\r\n',
  ],
  ['a chunk longer than it says', ['Transfer-Encoding: chunked'], '3\r\nhello\r\n0\r\n\r\n'],
])('a body with %s ends the connection; what follows is no request', async (_, lines, body) => {
  const smuggled = request('GET /api/v1/secrets HTTP/1.1')
  const text = await send(
    request('POST /api/v1/pods HTTP/1.1', ...(lines as string[])) + body + smuggled,
  )
  expect(text).toMatch(/^(HTTP\/1.1 400|$)/)
  expect(stage.seen.filter(({ url }) => url.includes('secrets'))).toEqual([])
})

test('a tab before chunked is legal white space: the body is framed anew and nothing is smuggled', async () => {
  const socket = await stage.http1(bob)
  const smuggled = request('GET /api/v1/secrets HTTP/1.1')
  const body = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`
  socket.write(request('POST /api/v1/pods HTTP/1.1', 'Transfer-Encoding:\tchunked') + body)
  expect((await readAnswer(socket)).status).toBe(200)
  expect(stage.seen.map(({ url, body: text }) => [url, text])).toEqual([['/api/v1/pods', smuggled]])
})

test.each([
  ['a bare LF', `GET /api HTTP/1.1\nHost: ${HOST}\n\n`],
  ['a bare CR in a line', `GET /api HTTP/1.1\r\nHost: ${HOST}\rX: y\r\n\r\n`],
  ['a NUL in a value', `GET /api HTTP/1.1\r\nHost: ${HOST}\r\nX: a\0b\r\n\r\n`],
  ['a NUL in a name', `GET /api HTTP/1.1\r\nHost: ${HOST}\r\nX\0: a\r\n\r\n`],
  ['an end that is none', `GET /api HTTP/1.1\r\nHost: ${HOST}\r\n\rX`],
  ['no name', `GET /api HTTP/1.1\r\nHost: ${HOST}\r\n: x\r\n\r\n`],
  ['a line without colon', `GET /api HTTP/1.1\r\nHost: ${HOST}\r\nhello\r\n\r\n`],
])('%s is 400 and ends the connection; a request behind it is never read', async (_, bytes) => {
  const text = await send(bytes + request('GET /api/v1/secrets HTTP/1.1'))
  expect(text).toMatch(/^HTTP\/1.1 400/)
  expect(text.match(/HTTP\/1.1/g)).toHaveLength(1)
  expect(stage.seen.filter(({ url }) => url.includes('secrets'))).toEqual([])
})

test('after a refused form nothing that was pipelined behind it is answered', async () => {
  const text = await send(
    request('GET //evil/api HTTP/1.1') + request('GET /api/v1/secrets HTTP/1.1'),
  )
  expect(text).toMatch(/^HTTP\/1.1 400/)
  expect(stage.seen).toEqual([])
})

test('pipelined requests are answered in order', async () => {
  stage.answer = (seen, response) => {
    setTimeout(() => response.end(seen.url), seen.url === '/first' ? 30 : 0)
  }
  const both = request('GET /first HTTP/1.1') + request('GET /second HTTP/1.1', 'Connection: close')
  const text = await send(both)
  expect(text.indexOf('/first')).toBeGreaterThan(0)
  expect(text.indexOf('/second')).toBeGreaterThan(text.indexOf('/first'))
})

test('Expect: 100-continue is answered here and goes no further, another expectation is 417', async () => {
  const socket = await stage.http1(bob)
  socket.write(request('POST /api HTTP/1.1', 'Content-Length: 5', 'Expect: 100-continue'))
  const [first] = await once(socket, 'data')
  expect(String(first)).toBe('HTTP/1.1 100 Continue\r\n\r\n')
  socket.write('hello')
  expect((await readAnswer(socket)).status).toBe(200)
  expect(stage.seen[0]!.values('expect')).toEqual([])
  expect(
    await send(
      request('POST /api HTTP/1.1', 'Content-Length: 0', 'Expect: bogus', 'Connection: close'),
    ),
  ).toMatch(/^HTTP\/1.1 417/)
  const session = await stage.http2(bob)
  const good = session.request({ ':path': '/api', ':method': 'POST', expect: '100-continue' })
  await once(good, 'continue')
  good.end('hello')
  good.resume()
  const [answer] = await once(good, 'response')
  expect(answer[':status']).toBe(200)
  const bad = session.request({ ':path': '/api', ':method': 'POST', expect: 'bogus' })
  bad.resume()
  const [refusal] = await once(bad, 'response')
  expect(refusal[':status']).toBe(417)
})

test.each([
  [
    'uppercase name',
    headerBlock(
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/api'],
      [':authority', HOST],
      ['X-Upper', 'x'],
    ),
  ],
  [
    'connection',
    headerBlock(
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/api'],
      [':authority', HOST],
      ['connection', 'x'],
    ),
  ],
  [
    'transfer-encoding',
    headerBlock(
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/api'],
      [':authority', HOST],
      ['transfer-encoding', 'chunked'],
    ),
  ],
  [
    'te: gzip',
    headerBlock(
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/api'],
      [':authority', HOST],
      ['te', 'gzip'],
    ),
  ],
  [
    'an unknown pseudo-header',
    headerBlock(
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/api'],
      [':authority', HOST],
      [':impersonate-user', 'x'],
    ),
  ],
  [
    'a late pseudo-header',
    headerBlock(
      [':method', 'GET'],
      [':scheme', 'https'],
      ['a', 'b'],
      [':path', '/api'],
      [':authority', HOST],
    ),
  ],
  [
    'two paths',
    headerBlock(
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/api'],
      [':path', '/x'],
      [':authority', HOST],
    ),
  ],
  [
    'a line break in its path',
    headerBlock(
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/api HTTP/1.1\r\nx: y'],
      [':authority', HOST],
    ),
  ],
  [
    ':protocol on a GET',
    headerBlock(
      [':method', 'GET'],
      [':protocol', 'websocket'],
      [':scheme', 'https'],
      [':path', '/api'],
      [':authority', HOST],
    ),
  ],
])('HTTP/2 with %s never reaches the API server', async (_, block) => {
  const socket = await stage.connect(bob, { ALPNProtocols: ['h2'] })
  socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]))
  socket.write(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, block))
  socket.write(
    frame(
      FRAME.headers,
      END_HEADERS | END_STREAM,
      3,
      headerBlock(
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/marker'],
        [':authority', HOST],
      ),
    ),
  )
  socket.resume()
  await Promise.race([
    new Promise((done) => socket.once('close', done)),
    (async () => {
      while (!stage.seen.some(({ url }) => url === '/marker'))
        await new Promise((done) => setTimeout(done, 5))
    })(),
  ])
  expect(stage.seen.filter(({ url }) => url !== '/marker')).toEqual([])
})

test('a line break in a value of HTTP/2 becomes no line of its own', async () => {
  const session = await stage.connect(bob, { ALPNProtocols: ['h2'] })
  const block = headerBlock(
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/api'],
    [':authority', HOST],
    ['accept', 'b\r\nimpersonate-user: admin\r\nx: y'],
  )
  session.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]))
  session.write(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, block))
  session.resume()
  await expect.poll(() => stage.seen.length + Number(session.destroyed)).toBe(1)
  for (const seen of stage.seen) expect(seen.values('impersonate-user')).toEqual(['mcm:bob'])
})

test('three thousand requests aborted at once leave the session and everybody else alive', async () => {
  stage.answer = (seen, response) => {
    if (seen.url === '/ok') response.end('ok')
  }
  const carol = await stage.person('carol')
  const others = await stage.http2(carol)
  const session = await stage.http2(bob)
  for (let round = 0; round < 15; round += 1) {
    const streams = Array.from({ length: 200 }, () => session.request({ ':path': '/slow' }))
    for (const stream of streams) stream.on('error', () => {}).close(constants.NGHTTP2_CANCEL)
    await Promise.all(
      streams.map((stream) =>
        stream.closed && stream.destroyed ? undefined : once(stream, 'close').catch(() => {}),
      ),
    )
  }
  for (const each of [session, others]) {
    const stream = each.request({ ':path': '/ok' })
    stream.resume()
    const [headers] = await once(stream, 'response')
    expect(headers[':status']).toBe(200)
  }
})

test('a chunk extension of a megabyte and a million tiny chunks stay in bounds', async () => {
  const extension = await send(
    `${request('POST /x HTTP/1.1', 'Transfer-Encoding: chunked')}5;${'a'.repeat(1_000_000)}\r\nhello\r\n0\r\n\r\n`,
  )
  expect(extension).toMatch(/^(HTTP\/1.1 (400|413|431)|$)/)
  const before = process.memoryUsage().heapUsed
  const socket = await stage.http1(bob)
  socket.write(request('POST /x HTTP/1.1', 'Transfer-Encoding: chunked'))
  const batch = '1\r\nx\r\n'.repeat(10_000)
  for (let round = 0; round < 20; round += 1) if (!socket.write(batch)) await once(socket, 'drain')
  socket.write('0\r\n\r\n')
  expect((await readAnswer(socket)).status).toBe(200)
  expect(stage.seen.at(-1)!.body).toHaveLength(200_000)
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(300 * 1024 * 1024)
})
