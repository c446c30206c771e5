import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { UnreachableError } from '../../src/errors.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { cleanup } from '../forward/stage.ts'
import {
  HOST,
  openStage,
  type Person,
  type PersonOptions,
  readAnswer,
  type TrafficStage,
} from './traffic-stage.ts'

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
const REQUEST = `${GET}\r\n${HOST_LINE}\r\n\r\n`

async function refusal(person = bob) {
  const answer = await stage.ask(person, GET, HOST_LINE)
  const body = JSON.parse(answer.body)
  expect(body).toMatchObject({ kind: 'Status', status: 'Failure', code: answer.status })
  return {
    status: answer.status,
    code: body.mcm?.code,
    message: body.message as string,
    text: answer.text,
  }
}

test('an expired certificate is 401 with a sentence, so that the plugin brings a new one', async () => {
  stage.facts.now = new Date(bob.notAfter.getTime() + 1000)
  const { status, code, message } = await refusal()
  expect([status, code]).toEqual([401, 'MCM_CERTIFICATE_EXPIRED'])
  expect(message).toContain('the certificate of bob expired at')
  expect(stage.seen).toEqual([])
})

test('a connection that outlives its certificate gets 401 on the next request, and ends', async () => {
  const socket = await stage.http1(bob)
  socket.write(REQUEST)
  expect((await readAnswer(socket)).status).toBe(200)
  stage.facts.now = new Date(bob.notAfter.getTime() + 1000)
  socket.write(REQUEST)
  const answer = await readAnswer(socket)
  expect(answer.status).toBe(401)
  expect(answer.text).toMatch(/connection: close/i)
  if (!socket.destroyed) await once(socket, 'close')
  const session = await stage.http2(bob)
  const stream = session.request({ ':path': '/api' })
  stream.resume()
  const [headers] = await once(stream, 'response')
  expect(headers[':status']).toBe(401)
  await once(session, 'close')
})

test('a certificate that is not valid yet is 401; our clock may be four minutes behind', async () => {
  const issued = bob.notAfter.getTime() - 3_600_000
  stage.facts.now = new Date(issued - 4 * 60_000)
  expect((await stage.ask(bob, GET, HOST_LINE)).status).toBe(200)
  stage.facts.now = new Date(issued - 6 * 60_000)
  expect((await refusal()).status).toBe(401)
})

test('a certificate that is not on the list is 401, although the CA has signed it', async () => {
  const stolen = await stage.person('bob', { isUnlisted: true })
  expect(await refusal(stolen)).toMatchObject({ status: 401, code: 'MCM_CERTIFICATE_UNKNOWN' })
  expect(stage.seen).toEqual([])
})

test('a certificate of a CA that was replaced is 401, also on a connection from before, which ends', async () => {
  const socket = await stage.http1(bob)
  socket.write(REQUEST)
  expect((await readAnswer(socket)).status).toBe(200)
  const der = stage.userAuthority.certificateDer
  stage.facts.replacedAuthorities.add(sha256(der))
  socket.write(REQUEST)
  const answer = await readAnswer(socket)
  expect(answer.status).toBe(401)
  expect(JSON.parse(answer.body).message).toContain('a CA that this cluster has replaced')
  if (!socket.destroyed) await once(socket, 'close')
})

test('a certificate taken off the list while its connection is open gets 401 on the next request, and the end', async () => {
  const socket = await stage.http1(bob)
  socket.write(REQUEST)
  expect((await readAnswer(socket)).status).toBe(200)
  stage.facts.listed.delete(bob.fingerprint)
  socket.write(REQUEST)
  const answer = await readAnswer(socket)
  expect(answer.status).toBe(401)
  expect(JSON.parse(answer.body).mcm.code).toBe('MCM_CERTIFICATE_UNKNOWN')
  if (!socket.destroyed) await once(socket, 'close')
  expect(stage.seen).toHaveLength(1)
})

test('a certificate that the other replica issued a moment ago is good', async () => {
  const fresh = await stage.person('bob', { isUnlisted: true })
  stage.facts.elsewhere.set(fresh.fingerprint, { user: 'bob', device: fresh.device })
  expect((await stage.ask(fresh, GET, HOST_LINE)).status).toBe(200)
})

test('a certificate listed for another user or device is 401', async () => {
  for (const listed of [
    { user: 'eve', device: bob.device },
    { user: 'bob', device: 'other' },
  ]) {
    stage.facts.listed.set(bob.fingerprint, listed)
    expect((await refusal()).status).toBe(401)
  }
})

describe('where the owner issues (local)', () => {
  const deviceKey = generateSigningKey()
  const other = generateSigningKey()
  const signed = (options: PersonOptions = {}) =>
    stage.person('bob', { isUnlisted: true, deviceKey, ...options })
  beforeEach(() => {
    stage.facts.issuer = 'local'
  })

  test('a certificate that its device consents to is good without any list, and is to be noted', async () => {
    const bobs = await signed()
    expect((await stage.ask(bobs, GET, HOST_LINE)).status).toBe(200)
    expect(stage.facts.admitted).toEqual([bobs.fingerprint])
    stage.facts.listed.set(bobs.fingerprint, { user: 'bob', device: bobs.device })
    expect((await stage.ask(bobs, GET, HOST_LINE)).status).toBe(200)
    expect(stage.facts.admitted).toHaveLength(1)
  })

  test.each<[string, PersonOptions]>([
    ['without a consent', { isWithoutConsent: true }],
    ['with the consent of another device', { consentBy: other }],
    [
      'with the consent to a certificate of another cluster',
      { consentFor: { cluster: 'c-bbbbbbbbbb' } },
    ],
    [
      'with the consent to another key',
      { consentFor: { publicKeyDer: generateKeyPair().publicKeyDer } },
    ],
  ])('a certificate %s is 403: whoever steals the CA speaks for nobody', async (_, options) => {
    const stolen = await signed(options)
    expect(await refusal(stolen)).toMatchObject({ status: 403, code: 'MCM_FORBIDDEN' })
    expect(stage.seen).toEqual([])
    expect(stage.facts.admitted).toEqual([])
  })

  test('a certificate of 30 days is good, a longer one is 403 whoever signed it', async () => {
    const month = await signed({ lifetimeSeconds: 30 * 86_400 })
    expect((await stage.ask(month, GET, HOST_LINE)).status).toBe(200)
    const longer = await signed({ lifetimeSeconds: 30 * 86_400 + 60 })
    expect((await refusal(longer)).message).toContain('more than 30 days')
  })

  test('expired is 401, revoked 403: by certificate, device and user', async () => {
    const bobs = await signed()
    const { facts } = stage
    facts.revokedBySecret.set('bob', new Date())
    expect((await refusal(bobs)).code).toBe('MCM_REVOKED')
    facts.revokedBySecret.clear()
    facts.devices.set(bobs.device, { user: 'bob', key: deviceKey.jwk, revoked: new Date() })
    expect((await refusal(bobs)).code).toBe('MCM_REVOKED')
    facts.devices.set(bobs.device, { user: 'bob', key: deviceKey.jwk })
    facts.listed.set(bobs.fingerprint, { user: 'bob', device: bobs.device, revoked: new Date() })
    expect((await refusal(bobs)).code).toBe('MCM_REVOKED')
    facts.listed.clear()
    facts.now = new Date(bobs.notAfter.getTime() + 1000)
    expect(await refusal(bobs)).toMatchObject({ status: 401, code: 'MCM_CERTIFICATE_EXPIRED' })
  })

  test('nobody is let in whose Secret is damaged: it may hold a revocation', async () => {
    const bobs = await signed()
    stage.facts.unreadable.add('bob')
    expect(await refusal(bobs)).toMatchObject({ status: 500, code: 'MCM_STATE_DAMAGED' })
    expect(stage.seen).toEqual([])
  })

  test('a revocation cuts what is open, and a stream outlives its certificate by a noted newer one', async () => {
    stage.answer = (_seen, response) => {
      response.writeHead(200).write('event\n')
    }
    const bobs = await signed()
    const session = await stage.http2(bobs)
    const watch = session.request({ ':path': '/api/v1/pods?watch=1' })
    watch.on('error', () => {})
    await once(watch, 'data')
    stage.facts.now = new Date(bobs.notAfter.getTime() + 1000)
    stage.facts.lastExpiry.set(`bob ${bobs.device}`, new Date(bobs.notAfter.getTime() + 5000))
    expect(stage.cutRevoked()).toBe(0)
    stage.facts.devices.set(bobs.device, { user: 'bob', key: deviceKey.jwk, revoked: new Date() })
    expect(stage.cutRevoked()).toBe(1)
    await new Promise((done) => watch.once('close', done))
  })
})

test.each<[string, () => void]>([
  [
    'the certificate',
    () =>
      stage.facts.listed.set(bob.fingerprint, {
        user: 'bob',
        device: bob.device,
        revoked: new Date(),
      }),
  ],
  [
    'the device in the directory',
    () => stage.facts.devices.set(bob.device, { user: 'bob', revoked: new Date() }),
  ],
  ['the device in its Secret', () => stage.facts.revokedBySecret.set(bob.device, new Date())],
  ['the user in its Secret', () => stage.facts.revokedBySecret.set('bob', new Date())],
])('after %s is revoked the next request is 403', async (_, revoke) => {
  const socket = await stage.http1(bob)
  socket.write(REQUEST)
  expect((await readAnswer(socket)).status).toBe(200)
  revoke()
  socket.write(REQUEST)
  const answer = await readAnswer(socket)
  expect(answer.status).toBe(403)
  expect(JSON.parse(answer.body).mcm.code).toBe('MCM_REVOKED')
  expect(stage.seen).toHaveLength(1)
})

test('a device that the directory does not know, or knows as another’s, is 403', async () => {
  stage.facts.devices.set(bob.device, { user: 'eve' })
  expect((await refusal()).status).toBe(403)
  stage.facts.devices.delete(bob.device)
  expect((await refusal()).status).toBe(403)
})

test('somebody who is no member is 403', async () => {
  stage.facts.members.delete('bob')
  expect((await refusal()).message).toContain('no member')
})

test('somebody without a grant is 403 and told so; a grant of a moment ago counts', async () => {
  const names = stage.facts.names
  stage.facts.names = { users: [], groups: [], isUnrestricted: false }
  expect(await refusal()).toMatchObject({ status: 403, code: 'MCM_NO_GRANT' })
  stage.facts.freshNames = names
  expect((await stage.ask(bob, GET, HOST_LINE)).status).toBe(200)
})

test('a name is listed with its prefix or not at all', async () => {
  stage.facts.names = {
    users: ['bob', 'mcm:bo', 'mcm:bobb', 'MCM:bob'],
    groups: [],
    isUnrestricted: false,
  }
  expect((await refusal()).code).toBe('MCM_NO_GRANT')
})

test('with the owner’s opt-out everybody and every group of the certificate is spoken for', async () => {
  stage.facts.names = { users: [], groups: [], isUnrestricted: true }
  expect((await stage.ask(bob, GET, HOST_LINE)).status).toBe(200)
  expect(stage.seen[0]!.values('impersonate-group')).toEqual(['mcm:dev'])
})

test('a group that the directory has taken away meanwhile is not sent any more', async () => {
  expect((await stage.ask(bob, GET, HOST_LINE)).status).toBe(200)
  stage.facts.groups.set('bob', ['ops'])
  expect((await stage.ask(bob, GET, HOST_LINE)).status).toBe(200)
  expect(stage.seen.map((seen) => seen.values('impersonate-group'))).toEqual([['mcm:dev'], []])
})

test('when the agent cannot see who was revoked, nobody is let in: 503', async () => {
  stage.facts.isFresh = false
  expect(await refusal()).toMatchObject({ status: 503 })
  expect(stage.seen).toEqual([])
})

test.each<[string, string, () => void]>([
  [
    'a revoked certificate',
    'revoked',
    () =>
      stage.facts.listed.set(bob.fingerprint, {
        user: 'bob',
        device: bob.device,
        revoked: new Date(),
      }),
  ],
  ['a certificate taken off the list', 'denied', () => stage.facts.listed.delete(bob.fingerprint)],
  [
    'a revoked device',
    'revoked',
    () => stage.facts.devices.set(bob.device, { user: 'bob', revoked: new Date() }),
  ],
  ['a revoked user', 'revoked', () => stage.facts.revokedBySecret.set('bob', new Date())],
  ['an ended membership', 'denied', () => stage.facts.members.delete('bob')],
  [
    'a grant taken away',
    'denied',
    () => {
      stage.facts.names = { users: [], groups: [], isUnrestricted: false }
    },
  ],
])(
  '%s ends what its owner has open, watch and upgrade, within a second; others stay',
  async (_, ended, revoke) => {
    stage.answer = (_seen, response) => {
      response.writeHead(200).write('event\n')
    }
    const carol = await stage.person('carol')
    const [bobs, carols] = await Promise.all([stage.http2(bob), stage.http2(carol)])
    const watches = [bobs, carols].map((session) =>
      session.request({ ':path': '/api/v1/pods?watch=1' }),
    )
    await Promise.all(watches.map((watch) => once(watch, 'data')))
    revoke()
    stage.facts.names = { ...stage.facts.names, users: [...stage.facts.names.users, 'mcm:carol'] }
    const started = performance.now()
    expect(stage.cutRevoked()).toBe(1)
    watches[0]!.on('error', () => {})
    await new Promise((done) => watches[0]!.once('close', done))
    expect(performance.now() - started).toBeLessThan(1_000)
    expect(watches[0]!.rstCode).not.toBe(0)
    expect(watches[1]!.destroyed).toBe(false)
    await expect.poll(() => stage.audit.filter(({ stage: at }) => at === 'ended').length).toBe(1)
    expect(stage.audit.find(({ stage: at }) => at === 'ended')).toMatchObject({
      user: 'bob',
      ended,
      code: 200,
    })
  },
)

test('a stream lives as long as the newest certificate of the same device, not as long as its own', async () => {
  stage.answer = (_seen, response) => {
    response.writeHead(200).write('event\n')
  }
  const session = await stage.http2(bob)
  const watch = session.request({ ':path': '/api/v1/pods?watch=1' })
  watch.on('error', () => {})
  await once(watch, 'data')
  stage.facts.now = new Date(bob.notAfter.getTime() + 1000)
  stage.facts.lastExpiry.set(`bob ${bob.device}`, new Date(bob.notAfter.getTime() + 5000))
  stage.facts.listed.delete(bob.fingerprint)
  expect(stage.cutRevoked()).toBe(0)
  stage.facts.now = new Date(bob.notAfter.getTime() + 6000)
  expect(stage.cutRevoked()).toBe(1)
  await new Promise((done) => watch.once('close', done))
})

test('sessions are forgotten when they end', async () => {
  const sockets = await Promise.all([stage.http1(bob), stage.http1(bob), stage.http2(bob)])
  await expect.poll(() => stage.sessions.countOf('bob')).toBe(3)
  for (const socket of sockets) socket.destroy()
  await expect.poll(() => stage.sessions.countOf('bob')).toBe(0)
  expect(stage.sessions.size).toBe(0)
})

describe('a timed group (PROTOCOL §3.5)', () => {
  const GROUP = 'grant:0123456789abcdef'
  const NAME = `mcm:${GROUP}`
  const asGroups = async () => {
    const { body } = await stage.ask(bob, GET, HOST_LINE)
    return (JSON.parse(body) as { groups: string[] }).groups
  }
  const grantTo = (kind: 'user' | 'group', name: string) => {
    const expires = new Date(stage.facts.now.getTime() + 60_000)
    stage.facts.timedGrants = [{ subject: { kind, name }, group: GROUP, expires }]
  }

  beforeEach(() => {
    stage.facts.names = { ...stage.facts.names, groups: ['mcm:dev', NAME] }
  })

  test('is sent while its time is not over, and not a moment longer', async () => {
    grantTo('user', 'bob')
    expect(await asGroups()).toEqual(['mcm:dev', NAME])
    stage.facts.now = new Date(stage.facts.now.getTime() + 60_000)
    expect(await asGroups()).toEqual(['mcm:dev'])
  })

  test('of an access request names the request in the audit, for as long as it gives anything', async () => {
    const audited = async () => {
      stage.audit.length = 0
      await asGroups()
      await expect.poll(() => stage.audit.filter((each) => each.stage === 'ended').length).toBe(1)
      return stage.audit.at(-1)!.requests
    }
    grantTo('user', 'bob')
    expect(await audited()).toBeUndefined()
    stage.facts.timedGrants = stage.facts.timedGrants.map((timed) => ({ ...timed, request: 17 }))
    expect(await audited()).toEqual([17])
    const { names } = stage.facts
    stage.facts.names = { ...names, groups: ['mcm:dev'] }
    expect(await audited()).toBeUndefined()
    stage.facts.names = names
    stage.facts.now = new Date(stage.facts.now.getTime() + 60_000)
    expect(await audited()).toBeUndefined()
  })

  test('of a group is sent for who is in it by certificate and directory, both', async () => {
    grantTo('group', 'dev')
    expect(await asGroups()).toEqual(['mcm:dev', NAME])
    stage.facts.groups.set('bob', [])
    expect(await asGroups()).toEqual([])
    grantTo('group', 'ops')
    stage.facts.groups.set('bob', ['dev', 'ops'])
    expect(await asGroups()).toEqual(['mcm:dev'])
  })

  test('of somebody else, or one that the list does not name, is not sent', async () => {
    grantTo('user', 'carol')
    expect(await asGroups()).toEqual(['mcm:dev'])
    grantTo('user', 'bob')
    stage.facts.names = { ...stage.facts.names, groups: ['mcm:dev'] }
    expect(await asGroups()).toEqual(['mcm:dev'])
  })

  test('ends with everything that ran under it: a watch goes on until then, and no longer', async () => {
    stage.answer = (_seen, response) => {
      response.writeHead(200).write('event\n')
    }
    grantTo('user', 'bob')
    const session = await stage.http2(bob)
    const watch = session.request({ ':path': '/api/v1/pods?watch=1' })
    watch.on('error', () => {})
    await once(watch, 'data')
    expect(stage.cutRevoked()).toBe(0)
    stage.facts.now = new Date(stage.facts.now.getTime() + 60_000)
    expect(stage.cutRevoked()).toBe(1)
    await new Promise((done) => watch.once('close', done))
  })

  test('a group that its user left ends what ran under it as well', async () => {
    stage.answer = (_seen, response) => {
      response.writeHead(200).write('event\n')
    }
    const session = await stage.http2(bob)
    const watch = session.request({ ':path': '/api/v1/pods?watch=1' })
    watch.on('error', () => {})
    await once(watch, 'data')
    stage.facts.groups.set('bob', [])
    expect(stage.cutRevoked()).toBe(1)
    await new Promise((done) => watch.once('close', done))
  })
})

/** A connection that the agent has let in. */
async function openSession() {
  const socket = await stage.http1(bob)
  socket.write(REQUEST)
  expect((await readAnswer(socket)).status).toBe(200)
  return socket
}

test('a replaced certificate serves for what is on its way, then is 401, while what runs goes on', async () => {
  const socket = await openSession()
  const { fingerprint, device } = bob
  const replacedFrom = new Date(stage.facts.now.getTime() + 60_000)
  stage.facts.listed.set(fingerprint, { user: 'bob', device, replacedFrom })
  expect((await stage.ask(bob, GET, HOST_LINE)).status).toBe(200)
  stage.facts.now = replacedFrom
  expect(await refusal()).toMatchObject({ status: 401, code: 'MCM_CERTIFICATE_UNKNOWN' })
  expect(stage.cutRevoked('bob')).toBe(0)
  expect(socket.destroyed).toBe(false)
})

test('a purged certificate is 401, and what runs on it is cut', async () => {
  await openSession()
  const { fingerprint, device } = bob
  stage.facts.listed.set(fingerprint, { user: 'bob', device, purged: new Date() })
  expect(stage.cutRevoked('bob')).toBe(1)
  expect(await refusal()).toMatchObject({ status: 401, code: 'MCM_CERTIFICATE_UNKNOWN' })
})

test('where the owner issues, a purged certificate is refused although there is no list', async () => {
  stage.facts.issuer = 'local'
  const { fingerprint, device } = bob
  stage.facts.listed.set(fingerprint, { user: 'bob', device, purged: new Date() })
  expect(await refusal()).toMatchObject({ status: 401, code: 'MCM_CERTIFICATE_UNKNOWN' })
})

test('with a directory that no administrator has confirmed for too long nobody is let in, and what runs goes on', async () => {
  await openSession()
  const old = new UnreachableError('MCM_DIRECTORY_OLD', 'too old')
  stage.facts.unconfirmed = old
  expect(await refusal()).toMatchObject({ status: 503, code: 'MCM_DIRECTORY_OLD' })
  expect(stage.cutRevoked('bob')).toBe(0)
  stage.facts.unconfirmed = undefined
  expect((await stage.ask(bob, GET, HOST_LINE)).status).toBe(200)
})
