import { afterEach, beforeEach, expect, test } from 'vitest'
import type { IssuedCertificate } from '../../src/protocol/messages.ts'
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
  const order = { user: 'eve', devices: [eve.device] }
  expect(revoked()).toEqual([`revoked ${JSON.stringify(order)}`])
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

test('a key that somebody else had before is ended as one’s own alone, and by an administrator under every name', async () => {
  stage.facts.formerOwners.set(bob.device, ['mallory'])
  stage.facts.formerOwners.set(eve.device, ['mallory'])
  expect((await post(bob, 'revocations', { device: bob.device })).status).toBe(200)
  expect(revoked()).toEqual([`revoked ${JSON.stringify({ device: bob.device, user: 'bob' })}`])
  isAllowed = true
  expect((await post(bob, 'revocations', { device: eve.device })).status).toBe(200)
  expect(revoked().slice(1)).toEqual(
    ['eve', 'mallory'].map((user) => `revoked ${JSON.stringify({ device: eve.device, user })}`),
  )
})

test('a device that has not enrolled here ends here nonetheless, under the name that the directory gives it', async () => {
  const stolen = 'C'.repeat(43)
  stage.facts.devices.set(stolen, { user: 'carol' })
  expect((await post(bob, 'revocations', { device: stolen })).status).toBe(403)
  isAllowed = true
  expect((await post(bob, 'revocations', { device: stolen })).status).toBe(200)
  expect(revoked()).toEqual([`revoked ${JSON.stringify({ device: stolen, user: 'carol' })}`])
})

test('whom a token let in does not take the device of another for their own by ending it', async () => {
  stage.facts.devices.set(bob.device, { user: 'bob', until: bob.notAfter })
  const stolen = 'C'.repeat(43)
  stage.facts.devices.set(stolen, { user: 'carol' })
  expect((await post(bob, 'revocations', { device: stolen })).status).toBe(403)
  expect(revoked()).toEqual([])
})

test('the log says who ended what, and who ordered new CAs', async () => {
  isAllowed = true
  stage.facts.serials.set('02', 'eve')
  await post(bob, 'revocations', { user: 'eve' })
  await post(bob, 'revocations', { device: eve.device })
  await post(bob, 'purges', { serial: '02' })
  stage.facts.purgedBy.set('02', 'bob')
  await post(bob, 'restorations', { serial: '02' })
  await post(bob, 'authorities', {})
  const lines = stage.log.filter((line) => /^(certificate_ended|authorities_ordered) /.test(line))
  const said = lines.map((line) => JSON.parse(line.slice(line.indexOf(' '))))
  const by = { by: 'bob', byDevice: bob.device, byCertificate: expect.any(String) }
  expect(said).toEqual([
    { how: 'revoked', user: 'eve', ...by },
    { how: 'revoked', user: 'eve', device: eve.device, ...by },
    { how: 'purged', user: 'eve', serial: '02', ...by },
    { how: 'restored', user: 'eve', serial: '02', ...by },
    by,
  ])
})

test('a thief of a certificate and its key gets no further one on a session: that takes the device key', async () => {
  for (const path of ['certificates', 'renew', 'renewals'])
    expect((await post(bob, path, { csr: 'x', proof: 'a.b.c' })).status).toBe(404)
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
  expect((await get(unlisted, 'certificates')).status).toBe(401)
  stage.facts.now = new Date(bob.notAfter.getTime() + 1000)
  expect((await get(bob, 'certificates')).status).toBe(401)
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

function get(person: Person, path: string) {
  return stage.ask(person, `GET /.mcm/v1/${path} HTTP/1.1`, `Host: ${HOST}`)
}

function issuedTo(user: string, serial: string): IssuedCertificate {
  const times = { notBefore: '2026-01-01T00:00:00Z', notAfter: '2026-01-01T12:00:00Z' }
  return { fingerprint: serial.padEnd(43, 'x'), serial, user, device: 'D'.repeat(43), ...times }
}

test('one’s own certificates are listed without asking anybody, with when each was used last', async () => {
  stage.facts.issued = (user, where) => (where === 'list' ? [issuedTo(user ?? 'all', '01')] : [])
  const used = { time: '2026-01-01T01:00:00Z', addressByHub: '192.0.2.7' }
  stage.facts.uses.set('01'.padEnd(43, 'x'), used)
  const listed = JSON.parse((await get(bob, 'certificates')).body)
  expect(listed).toEqual([{ ...issuedTo('bob', '01'), lastUsed: used }])
  expect(JSON.parse((await get(bob, 'certificates?in=bin')).body)).toEqual([])
  expect(stage.seen).toEqual([])
})

test('everybody’s certificates are for whoever may list the agent’s Secrets, asked as the caller', async () => {
  stage.facts.issued = (user) => [issuedTo(user ?? 'everybody', '01')]
  expect((await get(bob, 'certificates?of=all')).status).toBe(403)
  isAllowed = true
  expect(JSON.parse((await get(bob, 'certificates?of=all')).body)[0].user).toBe('everybody')
  const last = stage.seen.at(-1)!
  expect(last.values('impersonate-user')).toEqual(['mcm:bob'])
  expect(JSON.parse(last.body).spec.resourceAttributes).toMatchObject({
    verb: 'list',
    resource: 'secrets',
    namespace: 'mcm-system',
  })
})

test.each(['of=eve', 'of=all&of=self&in=x', 'in=attic'])(
  'certificates?%s is 400',
  async (query) => {
    isAllowed = true
    expect((await get(bob, `certificates?${query}`)).status).toBe(400)
  },
)

test('one’s own certificate goes into the bin and out again without asking anybody', async () => {
  stage.facts.serials.set('01', 'bob')
  expect((await post(bob, 'purges', { serial: '01' })).status).toBe(200)
  stage.facts.purgedBy.set('01', 'bob')
  expect((await post(bob, 'restorations', { serial: '01' })).status).toBe(200)
  expect(stage.log.filter((line) => /^(purged|restored) /.test(line))).toEqual([
    'purged {"user":"bob","serial":"01","by":"bob"}',
    'restored {"user":"bob","serial":"01"}',
  ])
  expect(stage.seen).toEqual([])
})

test('what an administrator has put into the bin its owner does not take out', async () => {
  stage.facts.serials.set('01', 'bob')
  stage.facts.purgedBy.set('01', 'alice')
  expect((await post(bob, 'restorations', { serial: '01' })).status).toBe(403)
  isAllowed = true
  expect((await post(bob, 'restorations', { serial: '01' })).status).toBe(200)
})

test('another’s certificate goes into the bin by whoever may delete that user’s Secret', async () => {
  stage.facts.serials.set('02', 'eve')
  expect((await post(bob, 'purges', { serial: '02' })).status).toBe(403)
  isAllowed = true
  expect((await post(bob, 'purges', { serial: '02' })).status).toBe(200)
  expect(JSON.parse(stage.seen.at(-1)!.body).spec.resourceAttributes.name).toBe('mcm-principal-eve')
})

test('what is not in the bin does not come out of it, and no stranger hears what is', async () => {
  stage.facts.serials.set('01', 'bob')
  expect((await post(bob, 'restorations', { serial: '01' })).status).toBe(403)
  isAllowed = true
  expect((await post(bob, 'restorations', { serial: '01' })).status).toBe(404)
})

test('a head is taken under the name of whoever stands, and statements may be longer than other bodies', async () => {
  const head = { seq: 7, hash: 'H'.repeat(43) }
  expect(JSON.parse((await post(bob, 'head', head)).body)).toEqual({ head: null, lacks: '' })
  expect(stage.log).toContain(`heard ${JSON.stringify({ user: 'bob', ...head })}`)
  const statements = Array.from({ length: 4 }, () => 'x'.repeat(60_000))
  expect((await post(bob, 'directory', { statements, details: [] })).status).toBe(200)
  expect(stage.log.at(-1)).toMatch(/^brought \{"user":"bob","device":"[\w-]{43}"/)
  expect((await post(bob, 'head', { seq: -1, hash: 'short' })).status).toBe(400)
  expect((await post(bob, 'directory', { statements: 'x' })).status).toBe(400)
})
