import { createPrivateKey } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair, readPrivateKey } from '../../src/pki/key-pair.ts'
import { issueServerCertificate } from '../../src/pki/profiles.ts'
import { cleanup, world } from '../forward/stage.ts'
import {
  attribute,
  type CertificateParts,
  DEVICE,
  extension,
  forgeUser,
  nameOf,
  usages,
  userExtensions,
} from '../pki/forge.ts'
import {
  CLUSTER,
  ENROLMENT_HOST,
  HOST,
  openStage,
  type Person,
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

const GET = `GET /api/v1/pods HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

/** What a client gets that writes a request as soon as its handshake is done. */
async function answerOn(
  socket: TLSSocket,
): Promise<{ status: number; text: string; body: string }> {
  socket.write(GET)
  return readAnswer(socket)
}

/** A certificate forged in the test's name, with its key. */
function forged(changes: (person: Partial<CertificateParts>) => Partial<CertificateParts>): Person {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const now = Date.now()
  const parts = changes({
    publicKeyDer,
    notBefore: utc(now - 300_000),
    notAfter: utc(now + 3_600_000),
  })
  const der = forgeUser(stage.userAuthority, parts)
  stage.facts.devices.set(DEVICE, { user: 'bob' })
  return { ...bob, certPem: pemOf(der), keyPem: privateKeyPem.reveal() }
}

function utc(time: number): string {
  return `${new Date(time).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`
}

function pemOf(der: Buffer): string {
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`
}

/** Neither an HTTP answer nor a request upstream. */
async function expectStranger(socket: TLSSocket): Promise<void> {
  expect((await answerOn(socket)).text).toBe('')
  expect(stage.seen).toEqual([])
}

test('without a certificate the connection ends before any request', async () => {
  await expectStranger(await stage.connect(undefined))
})

test('a certificate of another cluster’s user CA ends the connection', async () => {
  const foreign = await createAuthority(world, { commonName: 'user CA' })
  await expectStranger(await stage.connect(await stage.person('bob', { authority: foreign })))
})

test('a certificate of the server CA ends the connection', async () => {
  await expectStranger(
    await stage.connect(await stage.person('bob', { authority: stage.serverAuthority })),
  )
})

test('the agent’s own kind of server certificate ends the connection, also by the user CA', async () => {
  for (const authority of [stage.serverAuthority, stage.userAuthority]) {
    const { privateKeyPem, publicKeyDer } = generateKeyPair()
    const subject = { publicKeyDer, host: HOST }
    const { pem } = await issueServerCertificate(world, authority, subject, 3600)
    await expectStranger(
      await stage.connect({ ...bob, certPem: pem, keyPem: privateKeyPem.reveal() }),
    )
  }
})

test('the CA certificate itself, shown as one’s own, ends the connection', async () => {
  const { certificatePem, privateKeyPem } = stage.userAuthority
  const ca = { ...bob, certPem: certificatePem, keyPem: privateKeyPem.reveal() }
  await expectStranger(await stage.connect(ca))
})

test.each<[string, (parts: Partial<CertificateParts>) => Partial<CertificateParts>]>([
  [
    'signed by itself',
    (parts) => ({ ...parts, signingKey: readPrivateKey(generateKeyPair().privateKeyPem) }),
  ],
  ['with SHA-1', (parts) => ({ ...parts, hash: 'sha1' })],
  [
    'for servers only',
    (parts) => withExtensions(parts, { extendedKeyUsage: usages('serverAuth') }),
  ],
  [
    'for anything',
    (parts) => withExtensions(parts, { extendedKeyUsage: usages('anyExtendedKeyUsage') }),
  ],
  [
    'that is a CA',
    (parts) =>
      withExtensions(parts, {
        basicConstraints: extension('basicConstraints', '30030101ff', true),
      }),
  ],
  ['without a device', (parts) => withExtensions(parts, { alternatives: Buffer.alloc(0) })],
])('a certificate %s ends the connection', async (_, changes) => {
  await expectStranger(await stage.connect(forged(changes)))
})

function withExtensions(parts: Partial<CertificateParts>, changes: Record<string, Buffer>) {
  const all = { ...userExtensions(stage.userAuthority), ...changes }
  return { ...parts, extensions: Object.values(all).filter(({ length }) => length > 0) }
}

test('a leaf under an intermediate that the client brings along ends the connection', async () => {
  const intermediate = await createAuthority(world, { commonName: 'user CA' })
  const person = await stage.person('bob', { authority: intermediate })
  const chain = { ...person, certPem: person.certPem + intermediate.certificatePem }
  await expectStranger(await stage.connect(chain))
})

test('a chain of a hundred certificates is refused quickly', async () => {
  const chain = bob.certPem + stage.userAuthority.certificatePem.repeat(100)
  const started = performance.now()
  const socket = await stage.connect({ ...bob, certPem: chain })
  await expectStranger(socket)
  expect(performance.now() - started).toBeLessThan(2_000)
  expect((await answerOn(await stage.connect(bob))).status).toBe(200)
})

test.each<[string, Buffer]>([
  ['no CN', nameOf([attribute('organization', 'dev')])],
  ['an empty CN', nameOf([attribute('commonName', '')])],
  ['two CNs', nameOf([attribute('commonName', 'bob')], [attribute('commonName', 'admin')])],
  [
    'CN and O in one part',
    nameOf([attribute('commonName', 'bob'), attribute('organization', 'ops')]),
  ],
  ['a NUL in its CN', nameOf([attribute('commonName', 'bob\0admin')])],
  ['a newline in its CN', nameOf([attribute('commonName', 'bob\nO=system:masters')])],
  ['a right-to-left override', nameOf([attribute('commonName', 'bob\u202e')])],
  ['a trailing space', nameOf([attribute('commonName', 'bob ')])],
  ['300 bytes', nameOf([attribute('commonName', 'b'.repeat(300))])],
  ['CN system:admin', nameOf([attribute('commonName', 'system:admin')])],
  ['CN System:Masters', nameOf([attribute('commonName', 'System:Masters')])],
  [
    'CN of a service account',
    nameOf([attribute('commonName', 'system:serviceaccount:kube-system:x')]),
  ],
  ['CN of a node', nameOf([attribute('commonName', 'system:node:n')])],
  [
    'O system:masters',
    nameOf([attribute('commonName', 'bob')], [attribute('organization', 'system:masters')]),
  ],
  [
    'O system:nodes',
    nameOf([attribute('commonName', 'bob')], [attribute('organization', 'system:nodes')]),
  ],
  [
    'O system:unauthenticated',
    nameOf([attribute('commonName', 'bob')], [attribute('organization', 'system:unauthenticated')]),
  ],
  [
    'O SYSTEM:masters',
    nameOf([attribute('commonName', 'bob')], [attribute('organization', 'SYSTEM:masters')]),
  ],
  ['an empty O', nameOf([attribute('commonName', 'bob')], [attribute('organization', '')])],
  ['a UID', nameOf([attribute('commonName', 'bob')], [attribute('kubernetesUid', '1')])],
])('a certificate of ours with %s names nobody: 403', async (_, subject) => {
  const socket = await stage.connect(forged((parts) => ({ ...parts, subject })))
  const answer = await answerOn(socket)
  expect(answer.status).toBe(403)
  expect(JSON.parse(answer.body)).toMatchObject({ kind: 'Status', reason: 'Forbidden' })
  expect(stage.seen).toEqual([])
})

test('a certificate that names nobody gets its 403 over HTTP/2 and for upgrades too', async () => {
  const nobody = forged((parts) => ({
    ...parts,
    subject: nameOf([attribute('commonName', 'system:admin')]),
  }))
  const stream = (await stage.http2(nobody)).request({ ':path': '/api' })
  stream.resume()
  const [headers] = await once(stream, 'response')
  expect(headers[':status']).toBe(403)
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: x']
  expect((await stage.ask(nobody, 'GET /exec HTTP/1.1', `Host: ${HOST}`, ...upgrade)).status).toBe(
    403,
  )
})

test.each([
  ['another name', { servername: ENROLMENT_HOST }],
  ['the name of another cluster', { servername: 'c-bbbbbbbbbb.clusters.mcm.internal' }],
  ['no name', { servername: '' }],
  ['a trailing dot', { servername: `${HOST}.` }],
  ['TLS 1.2', { maxVersion: 'TLSv1.2' as const }],
  ['an unknown protocol', { ALPNProtocols: ['mcm-tunnel/1'] }],
])('a handshake with %s ends', async (_, options) => {
  const socket = await stage.connect(bob, { ...options, checkServerIdentity: () => undefined })
  expect(socket.destroyed).toBe(true)
  expect(stage.seen).toEqual([])
})

test('the name may be written in capitals, and ALPN may be absent', async () => {
  const socket = await stage.connect(bob, {
    servername: HOST.toUpperCase(),
    checkServerIdentity: () => undefined,
  })
  expect((await answerOn(socket)).status).toBe(200)
})

test('the agent shows one name only, by the server CA, in TLS 1.3', async () => {
  const socket = await stage.connect(bob)
  expect(socket.authorized).toBe(true)
  expect(socket.getProtocol()).toBe('TLSv1.3')
  expect(socket.getPeerX509Certificate()!.subjectAltName).toBe(`DNS:${HOST}`)
})

test('no ticket that works is given: a session is never resumed, with or without a certificate', async () => {
  for (const first of [bob, undefined]) {
    const sessions: Buffer[] = []
    const socket = await stage.connect(first, { session: undefined })
    socket.on('session', (session) => sessions.push(session))
    await answerOn(socket)
    sessions.push(socket.getSession()!)
    socket.destroy()
    for (const session of sessions) {
      const again = await stage.connect(undefined, { session })
      expect((await answerOn(again)).text).toBe('')
      expect(again.isSessionReused()).not.toBe(true)
      const withCertificate = await stage.connect(bob, { session })
      expect(withCertificate.isSessionReused()).toBe(false)
    }
  }
})

function closed(stream: Duplex): Promise<unknown> {
  stream.resume()
  return stream.closed ? Promise.resolve() : new Promise((done) => stream.once('close', done))
}

test('a handshake that stands still is ended, and others go on', async () => {
  const impatient = await openStage(ends, { handshakeTimeoutMs: 100 })
  const carol = await impatient.person('carol')
  const silent = await impatient.stream()
  const dribbling = await impatient.stream()
  const timer = setInterval(() => dribbling.write(Buffer.of(0x16)), 20)
  ends.add(() => clearInterval(timer))
  const ended = Promise.all([closed(silent), closed(dribbling)])
  expect((await impatient.ask(carol, 'GET /api HTTP/1.1', `Host: ${HOST}`)).status).toBe(200)
  await ended
})

test('more handshakes at once than anybody needs are refused, and room comes back', async () => {
  const streams = await Promise.all(Array.from({ length: 256 }, () => stage.stream()))
  await expect(stage.stream()).rejects.toThrow()
  streams[0]!.destroy(new Error('gone'))
  const deadline = Date.now() + 5_000
  for (;;) {
    const stream = await stage.stream().catch(() => undefined)
    if (stream) break
    if (Date.now() > deadline) throw new Error('no room came back')
    await new Promise((done) => setImmediate(done))
  }
})

test.each([
  ['an HTTP request', 'GET / HTTP/1.1\r\n\r\n'],
  ['an SSH banner', 'SSH-2.0-OpenSSH\r\n'],
  ['a TLS alert', '\x15\x03\x01\x00\x02\x02\x28'],
  ['zeroes', '\0'.repeat(1000)],
  ['100 KB of handshake', `\x16\x03\x01\x40\x00\x01\x00\xff\xff${'\0'.repeat(100_000)}`],
])('%s instead of a handshake ends the stream and nothing else', async (_, bytes) => {
  const stream = await stage.stream()
  stream.write(bytes, 'latin1')
  await closed(stream)
  expect((await answerOn(await stage.connect(bob))).status).toBe(200)
})

test('a stream that ends or breaks in the middle of a handshake harms nobody', async () => {
  for (let round = 0; round < 20; round += 1) {
    const stream = await stage.stream()
    stream.write('\x16\x03\x01\x02\x00\x01', 'latin1')
    if (round % 2) stream.end()
    else stream.destroy(new Error('gone'))
  }
  expect((await answerOn(await stage.connect(bob))).status).toBe(200)
})

test('enrolment wants no certificate and answers one path only, bound to its own connection', async () => {
  const post = 'POST /.mcm/v1/certificates HTTP/1.1'
  const lines = [`Host: ${ENROLMENT_HOST}`, 'Content-Length: 2', '', '{}'].join('\r\n')
  const socket = await stage.connect(undefined, {}, 'enrolment')
  socket.write(`${post}\r\n${lines}`)
  const answer = await readAnswer(socket)
  const { exporter } = JSON.parse(JSON.parse(answer.body).certificate)
  const own = socket.exportKeyingMaterial(32, 'EXPORTER-mcm-enrol-v1', Buffer.alloc(0))
  expect(exporter).toBe(own.toString('hex'))
  for (const line of [
    'GET /api HTTP/1.1',
    'GET /.mcm/v1/whoami HTTP/1.1',
    'GET /.mcm/v1/certificates HTTP/1.1',
  ]) {
    const other = await stage.connect(undefined, {}, 'enrolment')
    other.write(`${line}\r\nHost: ${ENROLMENT_HOST}\r\n\r\n`)
    expect((await readAnswer(other)).status).toBe(404)
  }
  expect(stage.seen).toEqual([])
})

test('a user certificate on the enrolment host gives no session', async () => {
  const socket = await stage.connect(bob, {}, 'enrolment')
  socket.write(`GET /api/v1/pods HTTP/1.1\r\nHost: ${ENROLMENT_HOST}\r\n\r\n`)
  expect((await readAnswer(socket)).status).toBe(404)
  expect(stage.seen).toEqual([])
})

test('an enrolment for the session host is 421', async () => {
  const socket = await stage.connect(undefined, {}, 'enrolment')
  socket.write(
    `POST /.mcm/v1/certificates HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 2\r\n\r\n{}`,
  )
  expect((await readAnswer(socket)).status).toBe(421)
})

test('the address that the hub tells is used only when it is an address', async () => {
  for (const [claimed, expected] of [
    ['203.0.113.9', ['203.0.113.9']],
    ['2001:db8::1', ['2001:db8::1']],
    ['evil, 10.0.0.1', []],
    ['10.0.0.1 Impersonate-User: admin', []],
    ['', []],
  ] as const) {
    const stream = await stage.stream('session', claimed)
    const { connect } = await import('node:tls')
    const socket = connect({
      socket: stream,
      ca: stage.serverCaPem,
      servername: HOST,
      cert: bob.certPem,
      key: bob.keyPem,
    })
    await once(socket, 'secureConnect')
    expect((await answerOn(socket)).status).toBe(200)
    expect(stage.seen.pop()!.values('x-forwarded-for')).toEqual(expected)
  }
})

test('private keys of the cluster are never shown', () => {
  const everything = JSON.stringify([stage.log, stage.audit])
  expect(everything).not.toContain('PRIVATE KEY')
  expect(createPrivateKey(bob.keyPem).type).toBe('private')
  expect(CLUSTER).toBe('c-abcdefghij')
})

test('idle connections of somebody who has many end by GOAWAY; busy and new ones are left alone', async () => {
  stage.answer = (seen, response) => {
    if (seen.url !== '/slow') response.end('ok')
  }
  const opened = async (path: string | undefined) => {
    const session = await stage.http2(bob)
    const codes: number[] = []
    session.on('goaway', (code) => codes.push(code))
    const stream = path === undefined ? undefined : session.request({ ':path': path })
    stream?.on('error', () => {}).resume()
    if (path === '/ok') await once(stream!, 'close')
    return { session, codes }
  }
  const [busy, fresh] = [await opened('/slow'), await opened(undefined)]
  const idle: Awaited<ReturnType<typeof opened>>[] = []
  for (let count = 0; count < 140; count += 1) idle.push(await opened('/ok'))
  const openSessions = async () => {
    idle.push(await opened('/ok'))
    return stage.sessions.countOf('bob')
  }
  await expect.poll(openSessions, { interval: 200 }).toBeLessThanOrEqual(129)
  expect(idle[0]!.codes).toEqual([0])
  for (const { session, codes } of [busy, fresh, idle.at(-1)!])
    expect([session.closed, session.destroyed, codes]).toEqual([false, false, []])
})
