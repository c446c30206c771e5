import { afterEach, beforeEach, expect, test } from 'vitest'
import { assertEgress, impersonatorUpstream, upgradeHeadWithToken } from '../../src/agent/egress.ts'
import { UnreachableError } from '../../src/errors.ts'
import type { Upstream, UpstreamEvents, UpstreamRequest } from '../../src/forward/upstream.ts'
import { Secret } from '../../src/secret.ts'
import { cleanup } from '../forward/stage.ts'
import { HOST, openStage, type Person, TOKEN, type TrafficStage } from './traffic-stage.ts'

const ends = cleanup()
let stage: TrafficStage
let bob: Person

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob', { groups: ['dev'] })
})
afterEach(() => ends.run())

const GET = 'GET /api/v1/pods HTTP/1.1'
const HOST_LINE = `Host: ${HOST}`
const GOOD = [
  'Impersonate-User',
  'mcm:bob',
  'Impersonate-Group',
  'mcm:dev',
  'Authorization',
  'Bearer t',
]

test('lines with exactly one user, groups and one token pass', () => {
  expect(() => assertEgress(GOOD)).not.toThrow()
  expect(() => assertEgress([...GOOD, 'Impersonate-Extra-mcm.dev%2Fsession', 'x'])).not.toThrow()
  expect(() => assertEgress([...GOOD, 'Impersonate-Uid', '1'])).not.toThrow()
})

test.each([
  ['no user', GOOD.slice(2)],
  ['an empty user', ['Impersonate-User', '', ...GOOD.slice(2)]],
  ['a blank user', ['Impersonate-User', '  ', ...GOOD.slice(2)]],
  ['a padded user', ['Impersonate-User', ' mcm:bob', ...GOOD.slice(2)]],
  ['two users', ['Impersonate-User', 'mcm:bob', ...GOOD]],
  ['two users in two spellings', ['impersonate-user', 'mcm:eve', ...GOOD]],
  ['a user with an underscore', ['Impersonate_User', 'mcm:eve', ...GOOD]],
  ['a system user', ['Impersonate-User', 'system:admin', ...GOOD.slice(2)]],
  ['a System user', ['Impersonate-User', 'System:admin', ...GOOD.slice(2)]],
  ['a system group', [...GOOD, 'Impersonate-Group', 'system:masters']],
  ['an empty group', [...GOOD, 'Impersonate-Group', '']],
  ['an empty uid', [...GOOD, 'Impersonate-Uid', '']],
  ['a system uid', [...GOOD, 'Impersonate-Uid', 'system:1']],
  ['a uid with an underscore', [...GOOD, 'Impersonate_Uid', '1']],
  ['an unknown impersonation', [...GOOD, 'Impersonate-Future', 'x']],
  ['no token', GOOD.slice(0, 4)],
  ['an empty token', [...GOOD.slice(0, 4), 'Authorization', 'Bearer ']],
  ['another credential', [...GOOD.slice(0, 4), 'Authorization', 'Basic eA==']],
  ['two tokens', [...GOOD, 'Authorization', 'Bearer u']],
  ['two tokens in two spellings', [...GOOD, 'authorization', 'Bearer u']],
  ['a front proxy’s user', [...GOOD, 'X-Remote-User', 'admin']],
  ['a cookie', [...GOOD, 'Cookie', 'a=b']],
  ['a proxy credential', [...GOOD, 'Proxy-Authorization', 'Basic x']],
])('lines with %s are not written', (_, lines) => {
  expect(() => assertEgress(lines)).toThrow(/^egress: /)
})

test('without a token it is 503, and nothing is tried without one', async () => {
  stage.facts.tokenError = new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'no token')
  const answer = await stage.ask(bob, GET, HOST_LINE)
  expect(answer.status).toBe(503)
  expect(JSON.parse(answer.body)).toMatchObject({ reason: 'ServiceUnavailable' })
  const upgrade = ['Connection: Upgrade', 'Upgrade: SPDY/3.1', 'Content-Length: 0']
  expect((await stage.ask(bob, 'POST /exec HTTP/1.1', HOST_LINE, ...upgrade)).status).toBe(503)
  expect(stage.seen).toEqual([])
})

test('a token that the API server does not accept is replaced once, and the client sees none of it', async () => {
  stage.facts.tokens = ['stale', TOKEN]
  stage.answer = (seen, response) => {
    const isGood = seen.values('authorization')[0] === `Bearer ${TOKEN}`
    response.writeHead(isGood ? 200 : 401, { 'content-length': '2' }).end('ok')
  }
  const lines = [HOST_LINE, 'Content-Length: 5', 'Content-Type: text/plain']
  expect((await stage.ask(bob, 'POST /api HTTP/1.1', ...lines, '', 'hello')).status).toBe(200)
  expect(stage.seen.map(({ body }) => body.slice(0, 5))).toEqual(['hello', 'hello'])
})

test('a token that is never accepted is 503 after two tries; no 401 makes a plugin loop', async () => {
  stage.answer = (_, response) =>
    response.writeHead(401, { 'content-length': '0', 'www-authenticate': 'x' }).end()
  const answer = await stage.ask(bob, GET, HOST_LINE)
  expect(answer.status).toBe(503)
  expect(answer.text).not.toMatch(/www-authenticate/i)
  expect(stage.seen).toHaveLength(2)
  for (const seen of stage.seen) expect(seen.values('impersonate-user')).toEqual(['mcm:bob'])
})

test('a 401 of a workload behind a proxy subresource is the workload’s own', async () => {
  stage.answer = (_, response) => response.writeHead(401, { 'content-length': '0' }).end()
  const target = 'GET /api/v1/namespaces/a/services/b/proxy/ HTTP/1.1'
  expect((await stage.ask(bob, target, HOST_LINE)).status).toBe(401)
  expect(stage.seen).toHaveLength(1)
})

test('a body that was streamed is not sent twice: 503, and the next request has the new token', async () => {
  const sent: UpstreamRequest[] = []
  let reloads = 0
  const upstream = answering(401, sent)
  const token = {
    current: async () => new Secret(`t${reloads}`),
    reload: async () => {
      reloads += 1
      return new Secret(`t${reloads}`)
    },
  }
  const quiet = { info: () => {}, warn: () => {}, error: () => {} }
  const { Readable } = await import('node:stream')
  const egress = impersonatorUpstream(upstream, token, quiet, false)
  const error = await new Promise<Error>((resolve) => {
    const events = { onResponse: () => {}, onData: () => true, onEnd: () => {}, onError: resolve }
    const headers = ['Impersonate-User', 'mcm:bob']
    egress.send(
      { method: 'POST', target: '/x', headers, body: Readable.from(['x']), answerTimeoutMs: 0 },
      events,
    )
  })
  expect(error).toMatchObject({ status: { code: 503 } })
  expect(sent).toHaveLength(1)
  expect(reloads).toBe(1)
})

test('a switch of protocols has the token and passes the same check', async () => {
  const head = { method: 'POST', target: '/exec', protocol: 'SPDY/3.1', headers: [] } as const
  const obtain = async () => new Secret('t')
  await expect(upgradeHeadWithToken({ ...head, headers: [] }, obtain)).rejects.toThrow(/^egress/)
  const good = await upgradeHeadWithToken(
    { ...head, headers: ['Impersonate-User', 'mcm:bob'] },
    obtain,
  )
  expect(good.headers).toEqual(['Impersonate-User', 'mcm:bob', 'Authorization', 'Bearer t'])
})

test('tokens are in no log and no audit line', async () => {
  await stage.ask(bob, GET, HOST_LINE)
  await expect.poll(() => stage.audit.length).toBe(1)
  expect(JSON.stringify([stage.log, stage.audit])).not.toContain(TOKEN)
})

function answering(status: number, sent: UpstreamRequest[]): Upstream {
  return {
    name: 'the API server',
    authority: 'x',
    send: (request: UpstreamRequest, events: UpstreamEvents) => {
      sent.push(request)
      queueMicrotask(() => events.onResponse(status, []))
      return { resume: () => {}, abort: () => {} }
    },
    upgrade: async () => {
      throw new Error('unused')
    },
    close: async () => {},
  }
}
