import { afterEach, expect, test } from 'vitest'
import { userLimits } from '../../src/agent/user-limits.ts'
import { cleanup } from '../forward/stage.ts'
import { HOST, openStage } from './traffic-stage.ts'

const ends = cleanup()
afterEach(() => ends.run())

test('one user’s requests are bounded, another’s are not touched by it, and room comes back once', () => {
  const limits = userLimits(2)
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
  const limits = userLimits(1)
  for (const user of ['__proto__', 'constructor', 'toString']) {
    const leave = limits.enter(user)
    expect(() => limits.enter(user)).toThrow()
    leave()
  }
})

test('too many requests are 429 with Retry-After, and others go on', async () => {
  const stage = await openStage(ends, { maximumRequests: 1 })
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
