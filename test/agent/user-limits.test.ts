import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { userLimits } from '../../src/agent/user-limits.ts'
import { UnreachableError } from '../../src/errors.ts'
import { cleanup, rawTlsServer, testIdentity } from '../forward/stage.ts'
import { HOST, openStage } from './traffic-stage.ts'

const ends = cleanup()
afterEach(() => ends.run())

test('one user’s requests are bounded, another’s are not touched by it, and room comes back once', () => {
  const limits = userLimits({ requests: 2 })
  const leave = limits.enter('bob')
  limits.enter('bob')
  expect(() => limits.enter('bob')).toThrow(
    expect.objectContaining({ status: expect.objectContaining({ code: 429 }) }),
  )
  expect(() => limits.enter('carol')).not.toThrow()
  leave()
  leave()
  limits.enter('bob')
  expect(() => limits.enter('bob')).toThrow()
})

test('names of object members are users like any other', () => {
  const limits = userLimits({ requests: 1 })
  for (const user of ['__proto__', 'constructor', 'toString']) {
    const leave = limits.enter(user)
    expect(() => limits.enter(user)).toThrow()
    leave()
  }
})

test('too many requests are 429 with Retry-After, and others go on', async () => {
  const stage = await openStage(ends, { limits: { requests: 1 } })
  const [bob, carol] = await Promise.all([stage.person('bob'), stage.person('carol')])
  stage.answer = (seen, response) => {
    if (!seen.url.includes('slow')) response.end('ok')
  }
  const session = await stage.http2(bob)
  session.request({ ':path': '/slow' }).on('error', () => {})
  await expect.poll(() => stage.seen.length).toBe(1)
  const refused = await stage.ask(bob, 'GET /api HTTP/1.1', `Host: ${HOST}`)
  expect(refused.status).toBe(429)
  expect(refused.text).toMatch(/retry-after: 1/i)
  expect(
    (await stage.ask(carol, 'GET /api HTTP/1.1', `Host: ${HOST}`, 'Connection: close')).status,
  ).toBe(200)
  session.destroy()
  await expect
    .poll(
      async () =>
        (await stage.ask(bob, 'GET /api HTTP/1.1', `Host: ${HOST}`, 'Connection: close')).status,
    )
    .toBe(200)
})

test('uploads that are passed on as they come are bounded for each user; small bodies are not', async () => {
  const stage = await openStage(ends, { limits: { uploads: 1 } })
  const bob = await stage.person('bob')
  const session = await stage.http2(bob)
  const first = session.request({ ':path': '/x', ':method': 'POST' })
  first.on('error', () => {})
  first.write('hello')
  const post = ['POST /x HTTP/1.1', `Host: ${HOST}`]
  const upload = [...post, 'Transfer-Encoding: chunked', '', '5\r\nhello\r\n0'] as const
  const ask = (lines: readonly string[]) => stage.ask(bob, lines[0]!, ...lines.slice(1))
  await expect.poll(async () => (await ask(upload)).status).toBe(429)
  expect((await ask([...post, 'Content-Length: 5', '', 'hello'])).status).toBe(200)
  first.end()
  await expect.poll(async () => (await ask(upload)).status).toBe(200)
})

test('whoever gives up too many requests is asked to slow down, and is let in again as time goes by', () => {
  let now = 0
  const limits = userLimits({ abortBurst: 3, abortsPerSecond: 2, elapsedMs: () => now })
  for (let count = 0; count < 3; count += 1) limits.noteAbort('bob')
  expect(() => limits.enter('bob')).toThrow('given up too many')
  expect(() => limits.enter('carol')).not.toThrow()
  now = 600
  limits.enter('bob')()
  limits.noteAbort('bob')
  expect(() => limits.enter('bob')).toThrow()
  now = 60_000
  limits.enter('bob')
  for (let count = 0; count < 2; count += 1) limits.noteAbort('bob')
  expect(() => limits.enter('bob')).not.toThrow()
})

test.each(['GET', 'HEAD'])(
  'a %s with a body is refused, and what comes unasked is not kept',
  async (method) => {
    const stage = await openStage(ends)
    const bob = await stage.person('bob')
    const lines = [`Host: ${HOST}`, 'Content-Length: 5', '', 'hello']
    expect((await stage.ask(bob, `${method} /api HTTP/1.1`, ...lines)).status).toBe(400)
    const session = await stage.http2(bob)
    const quiet = session.request({ ':path': '/api', ':method': method }, { endStream: false })
    quiet.end()
    quiet.resume()
    const [headers] = await once(quiet, 'response')
    expect(headers[':status']).toBe(200)
    stage.answer = (_seen, response) => {
      response.writeHead(200).write('event')
    }
    const loud = session.request({ ':path': '/w?watch=1', ':method': method }, { endStream: false })
    loud.on('error', () => {})
    loud.write(Buffer.alloc(100_000))
    await new Promise((done) => loud.once('close', done))
    expect(loud.rstCode).not.toBe(0)
  },
)

test('a GET to a workload may have a body', async () => {
  const stage = await openStage(ends)
  const bob = await stage.person('bob')
  const lines = [`Host: ${HOST}`, 'Content-Length: 5', '', 'hello']
  const target = 'GET /api/v1/namespaces/a/services/b/proxy/search HTTP/1.1'
  expect((await stage.ask(bob, target, ...lines)).status).toBe(200)
  expect(stage.seen[0]!.body).toBe('hello')
})

test('the fullest sessions of a user whose bytes nobody takes are cut, another’s are not', async () => {
  const identity = await testIdentity()
  const deaf = await rawTlsServer(identity, ends, (socket) => socket.pause())
  const stage = await openStage(ends, { apiServer: { port: deaf.port, caPem: identity.caPem } })
  const [bob, carol] = await Promise.all([stage.person('bob'), stage.person('carol')])
  const [full, small] = [await stage.http2(bob), await stage.http2(carol)]
  for (const session of [full, small]) {
    const stream = session.request({ ':path': '/x', ':method': 'POST' })
    stream.on('error', () => {})
    stream.write(Buffer.alloc(session === full ? 8_000_000 : 100))
  }
  const why = new UnreachableError('MCM_TIMEOUT', 'full')
  await expect.poll(() => stage.sessions.cutOverBudget(200_000, why)).toBe(1)
  await new Promise((done) => full.once('close', done))
  expect(small.destroyed).toBe(false)
  expect(stage.sessions.cutOverBudget(200_000, why)).toBe(0)
})
