import { once } from 'node:events'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { cleanup, readAll, readUntil } from '../forward/stage.ts'
import { HOST, openStage, type Person, readAnswer, type TrafficStage } from './traffic-stage.ts'

/** What stands behind a refused request, and bodies that do not keep their word, on the agent's real inner servers. */

const ends = cleanup()
let stage: TrafficStage
let bob: Person

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob')
})
afterEach(() => ends.run())

const GET = 'GET /api/v1/pods HTTP/1.1'
const POST = 'POST /api/v1/namespaces/a/configmaps HTTP/1.1'
const HOST_LINE = `Host: ${HOST}`

function message(lines: readonly string[], rest = ''): string {
  return `${lines.join('\r\n')}\r\n\r\n${rest}`
}

/** The pipelined request that must never be processed. */
const SECOND = message(['GET /api/v1/secrets HTTP/1.1', HOST_LINE])

test('behind a good request a second one is answered too, so a silence below means something', async () => {
  const socket = await stage.http1(bob)
  socket.write(message([GET, HOST_LINE]) + SECOND)
  await readUntil(socket, '{"user":["mcm:bob"],"groups":[]}')
  while (stage.seen.length < 2) await new Promise((done) => setImmediate(done))
  expect(stage.seen.map(({ url }) => url)).toEqual(['/api/v1/pods', '/api/v1/secrets'])
})

test.each([
  ['no host', [GET], 400],
  ['two hosts', [GET, HOST_LINE, HOST_LINE], 400],
  ['another host', [GET, 'Host: evil'], 421],
  ['user information in its host', [GET, `Host: x@${HOST}`], 421],
  ['a list of hosts', [GET, `Host: ${HOST}, evil`], 421],
  ['another place as target', ['GET //evil/api HTTP/1.1', HOST_LINE], 400],
  ['a URL as target', ['GET http://evil/api HTTP/1.1', HOST_LINE], 400],
  ['a fragment', ['GET /api#x HTTP/1.1', HOST_LINE], 400],
  ['method TRACE', ['TRACE /api HTTP/1.1', HOST_LINE], 400],
  ['method PRI', ['PRI * HTTP/2.0', HOST_LINE], 400],
  ['HTTP/1.0', ['GET /api HTTP/1.0', HOST_LINE], 400],
  ['HTTP/0.9', ['GET /api', HOST_LINE], 400],
  ['HTTP/2.0 in words', ['GET /api HTTP/2.0', HOST_LINE], 400],
  [
    'a coding that is not chunked alone',
    [POST, HOST_LINE, 'Transfer-Encoding: gzip, chunked'],
    400,
  ],
  ['a folded line', [GET, HOST_LINE, 'X: a', ' b'], 400],
  ['a name with a space', [GET, HOST_LINE, 'A B: c'], 400],
] as const)(
  'behind a request with %s nothing is read, and one answer is all',
  async (_, lines, code) => {
    const socket = await stage.http1(bob)
    const body = code === 400 && lines[0] === POST ? '5\r\nhello\r\n0\r\n\r\n' : ''
    socket.write(message(lines, body) + SECOND)
    const text = await readAll(socket)
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${code} `))
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1)
    expect(stage.seen).toEqual([])
  },
)

test('a length in another spelling reaches no workload, whatever else may', async () => {
  const lines = ['POST /api/v1/namespaces/a/services/b/proxy/x HTTP/1.1', HOST_LINE, 'X-Own: 1']
  const socket = await stage.http1(bob)
  socket.write(message([...lines, 'Content-Length: 5', 'Content_Length: 99'], 'hello'))
  expect((await readAnswer(socket)).status).toBe(200)
  expect(stage.seen[0]!.values('x-own')).toEqual(['1'])
  expect(stage.seen[0]!.values('content_length')).toEqual([])
  expect(stage.seen[0]!.body).toBe('hello')
})

test('an HTTP/2 body shorter than its length never arrives as a whole one', async () => {
  const session = await stage.http2(bob)
  const path = '/api/v1/namespaces/a/configmaps'
  for (const [length, expected] of [
    ['5', 1],
    ['99', 1],
  ] as const) {
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-length': length })
    stream.on('error', () => {})
    stream.resume()
    stream.end('hello')
    await once(stream, 'close').catch(() => {})
    expect(stage.seen.filter(({ body }) => body === 'hello')).toHaveLength(expected)
  }
})

test('a body that stands still is given up over both protocols, and nobody takes it for whole', async () => {
  const impatient = await openStage(ends, { timeouts: { bodyStallMs: 400 } })
  const carol = await impatient.person('carol')
  const socket = await impatient.http1(carol)
  socket.write(message([POST, HOST_LINE, 'Content-Length: 5'], 'he'))
  const stream = (await impatient.http2(carol)).request({
    ':method': 'POST',
    ':path': '/api/v1/namespaces/a/configmaps',
    'content-length': '5',
  })
  stream.on('error', () => {})
  stream.write('he')
  expect((await impatient.ask(carol, GET, HOST_LINE)).status).toBe(200)
  await Promise.all([readAll(socket), once(stream, 'close').catch(() => {})])
  expect(impatient.seen.map(({ method }) => method)).toEqual(['GET'])
})
