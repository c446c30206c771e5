import { afterEach, beforeEach, expect, test } from 'vitest'
import { cleanup } from '../forward/stage.ts'
import { HOST, openStage, type Person, readAnswer, type TrafficStage } from './traffic-stage.ts'

const ends = cleanup()
let stage: TrafficStage
let bob: Person
let eve: Person
let isAllowed = false

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob', { groups: ['dev'] })
  eve = await stage.person('eve')
  isAllowed = false
  stage.answer = (_seen, response) => {
    const text = JSON.stringify({ status: { allowed: isAllowed } })
    response.writeHead(201, { 'content-length': text.length }).end(text)
  }
})
afterEach(() => ends.run())

function post(person: Person, path: string, body: unknown) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const lines = [`Host: ${HOST}`, `Content-Length: ${Buffer.byteLength(text)}`, '', text]
  return stage.ask(person, `POST /.mcm/v1/${path} HTTP/1.1`, ...lines.slice(0, -1), lines.at(-1)!)
}

function revoked() {
  return stage.log.filter((line) => line.startsWith('revoked '))
}

test('one’s own device is revoked without asking anybody', async () => {
  expect((await post(bob, 'revocations', { device: bob.device })).status).toBe(200)
  expect(revoked()).toEqual([`revoked ${JSON.stringify({ device: bob.device, user: 'bob' })}`])
  expect(stage.seen).toEqual([])
})

test('another’s device or a user is revoked by whoever may delete that user’s Secret, asked as the caller', async () => {
  for (const order of [{ device: eve.device }, { user: 'eve' }]) {
    isAllowed = false
    expect((await post(bob, 'revocations', order)).status).toBe(403)
    expect(revoked()).toEqual([])
  }
  isAllowed = true
  expect((await post(bob, 'revocations', { user: 'eve' })).status).toBe(200)
  expect(revoked()).toEqual(['revoked {"user":"eve"}'])
  const last = stage.seen.at(-1)!
  expect(last.values('impersonate-user')).toEqual(['mcm:bob'])
  expect(JSON.parse(last.body).spec.resourceAttributes).toEqual({
    verb: 'delete',
    group: '',
    resource: 'secrets',
    namespace: 'mcm-system',
    name: 'mcm-principal-eve',
  })
})

test('revoking oneself as a user needs the same right: it ends every device', async () => {
  expect((await post(bob, 'revocations', { user: 'bob' })).status).toBe(403)
})

test('what nobody owns is not told to somebody without the right', async () => {
  const order = { device: 'A'.repeat(43) }
  expect((await post(bob, 'revocations', order)).status).toBe(403)
  isAllowed = true
  expect((await post(bob, 'revocations', order)).status).toBe(404)
})

test('whom a token let in ends a lost device before it ever comes here', async () => {
  const lost = 'A'.repeat(43)
  stage.facts.devices.set(bob.device, { user: 'bob', until: bob.notAfter })
  expect((await post(bob, 'revocations', { device: lost })).status).toBe(200)
  expect(revoked()).toEqual([`revoked ${JSON.stringify({ device: lost, user: 'bob' })}`])
  expect((await post(bob, 'revocations', { device: eve.device })).status).toBe(403)
  expect((await post(bob, 'revocations', { serial: '0' })).status).toBe(403)
})

test('a renewal is for the certificate’s user and device; whatever else it asks for is not read', async () => {
  const answer = await post(bob, 'certificates', {
    csr: 'x',
    user: 'admin',
    groups: ['system:masters'],
  })
  const { who } = JSON.parse(JSON.parse(answer.body).certificate)
  expect(who).toMatchObject({ user: 'bob', device: bob.device })
})

test.each([
  ['no JSON', 'hello'],
  ['nothing', ''],
  ['a list', []],
  ['another member', { all: true }],
  ['40 KB', 'x'.repeat(40_000)],
])('a revocation with %s is 400', async (_, body) => {
  expect((await post(bob, 'revocations', body)).status).toBe(400)
  expect(revoked()).toEqual([])
})

test.each(['GET /.mcm/v1/revocations', 'DELETE /.mcm/v1/certificates', 'PUT /.mcm/v1/whoami'])(
  '%s is 404',
  async (line) => {
    expect((await stage.ask(bob, `${line} HTTP/1.1`, `Host: ${HOST}`)).status).toBe(404)
    expect(stage.seen).toEqual([])
  },
)

test('an expired or unlisted certificate reaches none of them', async () => {
  const unlisted = await stage.person('bob', { isUnlisted: true })
  expect((await post(unlisted, 'certificates', { csr: 'x' })).status).toBe(401)
  stage.facts.now = new Date(bob.notAfter.getTime() + 1000)
  expect((await post(bob, 'certificates', { csr: 'x' })).status).toBe(401)
})

test('an upgrade to the agent’s own path is 400', async () => {
  const lines = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: x']
  const answer = await stage.ask(bob, 'GET /.mcm/v1/whoami HTTP/1.1', `Host: ${HOST}`, ...lines)
  expect(answer.status).toBe(400)
})

test('whoever revokes the device in use hears that it is done, and then the connection ends', async () => {
  const socket = await stage.http1(bob)
  const { principals } = stage.sources.own as {
    principals: { revoke(order: unknown): Promise<unknown> }
  }
  principals.revoke = async () => {
    stage.facts.revokedBySecret.set('bob', new Date())
    expect(stage.cutRevoked('bob')).toBe(1)
  }
  const body = JSON.stringify({ device: bob.device })
  const head = [`Host: ${HOST}`, `Content-Length: ${body.length}`, '', body]
  socket.write(`POST /.mcm/v1/revocations HTTP/1.1\r\n${head.join('\r\n')}`)
  expect((await readAnswer(socket)).status).toBe(200)
  if (!socket.destroyed) await new Promise((done) => socket.once('close', done))
})

test('the next CAs are made for whoever may update the Secret of the agent’s keys, asked as the caller', async () => {
  expect((await post(bob, 'authorities', {})).status).toBe(403)
  const asked = stage.log.filter((line) => line.startsWith('authorities_asked'))
  expect(asked).toEqual([])
  isAllowed = true
  const answer = await post(bob, 'authorities', {})
  expect([answer.status, JSON.parse(answer.body)]).toEqual([
    200,
    { serverCa: 'AAAA', userCa: 'AAAA' },
  ])
  const last = stage.seen.at(-1)!
  expect(last.values('impersonate-user')).toEqual(['mcm:bob'])
  const { resourceAttributes } = JSON.parse(last.body).spec
  expect(resourceAttributes).toMatchObject({ verb: 'update', resource: 'secrets' })
  expect(resourceAttributes.name).toMatch(/^mcm-identity-c-/)
  expect((await post(bob, 'authorities', { userCa: 7 })).status).toBe(400)
})
