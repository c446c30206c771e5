import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type DirectListener, listenDirect } from '../../src/agent/direct-listener.ts'
import { MAX_HANDSHAKES } from '../../src/agent/handshake-places.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { cleanup, world } from '../forward/stage.ts'
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
let direct: DirectListener
let bob: Person
let isReady: boolean

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob', { groups: ['dev'] })
  isReady = true
  direct = await listenOn(stage)
})
afterEach(() => ends.run())

async function listenOn(
  { servers }: TrafficStage,
  options: { maxEnrolments?: number } = {},
): Promise<DirectListener> {
  const write = (event: string, fields?: object) =>
    void stage.log.push(`${event} ${JSON.stringify(fields ?? {})}`)
  const listener = await listenDirect({
    host: '127.0.0.1',
    ports: { session: 0, enrolment: 0 },
    isReady: () => isReady,
    accept: servers.acceptDirect,
    log: { info: write, warn: write, error: write },
    ...options,
  })
  ends.add(() => listener.stop(0))
  return listener
}

function tcp(port: number, localAddress = '127.0.0.1'): Socket {
  const socket = connectTcp({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  ends.add(() => socket.destroy())
  return socket
}

/** An inner handshake straight on TCP; resolves when it is done or the connection is gone. */
async function tls(
  port: number,
  options: ConnectionOptions = {},
  transport = tcp(port),
): Promise<TLSSocket> {
  const socket = connectTls({
    socket: transport,
    ca: stage.serverCaPem,
    servername: HOST,
    ALPNProtocols: ['http/1.1'],
    ...options,
  })
  socket.on('error', () => {})
  await new Promise<void>((done) => {
    socket.once('secureConnect', done)
    socket.once('close', () => done())
  })
  return socket
}

function asPerson({ certPem, keyPem }: Person): ConnectionOptions {
  return { cert: certPem, key: keyPem }
}

const GET = `GET /api/v1/pods HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

async function ask(socket: TLSSocket) {
  socket.write(GET)
  return readAnswer(socket)
}

/** All that a raw connection ever gets, until its end. */
function everything(socket: Socket): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.once('close', () => resolve(Buffer.concat(chunks)))
  })
}

describe('the port for sessions', () => {
  test('serves a person over HTTP/1.1 and HTTP/2 as a tunnel does', async () => {
    const { status, body } = await ask(await tls(direct.ports.session, asPerson(bob)))
    expect(status).toBe(200)
    expect(JSON.parse(body)).toEqual({ user: ['mcm:bob'], groups: ['mcm:dev'] })
    const socket = await tls(direct.ports.session, { ...asPerson(bob), ALPNProtocols: ['h2'] })
    const session = connectHttp2(`https://${HOST}`, { createConnection: () => socket })
    ends.add(() => session.destroy())
    const stream = session.request({ ':path': '/api/v1/pods' })
    const [headers] = await once(stream, 'response')
    expect(headers[':status']).toBe(200)
  })

  test('notes the address as seen, not as told by a hub', async () => {
    await ask(await tls(direct.ports.session, asPerson(bob)))
    await ask(await stage.http1(bob))
    await expect.poll(() => stage.audit.length).toBe(2)
    const [seen, told] = stage.audit
    expect(seen).toMatchObject({ address: '127.0.0.1' })
    expect(seen).not.toHaveProperty('addressByHub')
    expect(told).toMatchObject({ addressByHub: '192.0.2.7' })
    expect(told).not.toHaveProperty('address')
  })

  test('carries megabytes both ways', async () => {
    stage.answer = (_request, response) => response.end(Buffer.alloc(8 << 20, 'x'))
    const socket = await tls(direct.ports.session, asPerson(bob))
    socket.write(
      `POST /api/v1/pods HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${4 << 20}\r\n\r\n`,
    )
    socket.write(Buffer.alloc(4 << 20, 'y'))
    let bytes = 0
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    await expect.poll(() => bytes, { timeout: 10_000 }).toBeGreaterThan(8 << 20)
    expect(stage.seen[0]!.body).toHaveLength(4 << 20)
  })

  test('holds the API server up while its client does not read, and loses nothing', {
    timeout: 60_000,
  }, async () => {
    const total = 64 << 20
    const chunk = Buffer.alloc(1 << 20, 'x')
    let sent = 0
    stage.answer = (_request, response) => {
      const pump = (): void => {
        while (sent < total) {
          sent += chunk.length
          if (!response.write(chunk)) return void response.once('drain', pump)
        }
        response.end()
      }
      response.writeHead(200, { 'content-length': total })
      pump()
    }
    const socket = await tls(direct.ports.session, asPerson(bob))
    socket.pause()
    socket.write(GET)
    let before = 0
    const standsStill = () => {
      const isSame = sent > 0 && sent === before
      before = sent
      return isSame
    }
    await expect.poll(standsStill, { interval: 500 }).toBe(true)
    expect(sent).toBeLessThan(total)
    let bytes = 0
    socket.on('data', (data: Buffer) => {
      bytes += data.length
    })
    socket.resume()
    await expect.poll(() => bytes, { timeout: 30_000 }).toBeGreaterThanOrEqual(total)
  })

  test('cuts somebody who is revoked', async () => {
    const socket = await tls(direct.ports.session, asPerson(bob))
    expect((await ask(socket)).status).toBe(200)
    stage.facts.revokedBySecret.set('bob', new Date())
    expect(stage.cutRevoked()).toBe(1)
    await expect.poll(() => socket.destroyed).toBe(true)
    expect((await ask(await tls(direct.ports.session, asPerson(bob)))).status).toBe(403)
  })
})

describe('the port for enrolment', () => {
  test('serves enrolment without a certificate, bound to the connection', async () => {
    const socket = await tls(direct.ports.enrolment, { servername: ENROLMENT_HOST })
    const exporter = socket.exportKeyingMaterial(32, 'EXPORTER-mcm-enrol-v1', Buffer.alloc(0))
    const lines = [`Host: ${ENROLMENT_HOST}`, 'Content-Length: 2']
    socket.write(`POST /.mcm/v1/certificates HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n{}`)
    const { status, body } = await readAnswer(socket)
    expect(status).toBe(200)
    expect(body).toContain(exporter.toString('hex'))
  })

  test('does nothing else', async () => {
    const socket = await tls(direct.ports.enrolment, { servername: ENROLMENT_HOST })
    socket.write(GET.replace(HOST, ENROLMENT_HOST))
    expect((await readAnswer(socket)).status).toBe(404)
    expect(stage.seen).toEqual([])
  })
})

describe('a stranger', () => {
  test.each<[string, string]>([
    ['plain HTTP', `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`],
    ['an SSH banner', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['half a ClientHello and the end', '\x16\x03\x01\x02'],
    ['100 KB that begin like a handshake', `\x16\x03\x01\x40\x00\x01${'\0'.repeat(100_000)}`],
  ])('who sends %s is told nothing', async (_title, bytes) => {
    const impatient = await listenOn(await openStage(ends, { handshakeTimeoutMs: 300 }))
    for (const port of [impatient.ports.session, impatient.ports.enrolment]) {
      const socket = tcp(port)
      const all = everything(socket)
      socket.end(bytes, 'latin1')
      // At most one TLS alert (RFC 8446 §6): seven bytes of which two say anything.
      expect((await all).length).toBeLessThanOrEqual(7)
    }
  })

  test.each<[string, ConnectionOptions]>([
    ['without a name', { servername: '' }],
    ['who asks for the hub', { servername: 'hub.example.com' }],
    ['who asks for another cluster', { servername: HOST.replace(CLUSTER, 'c-zzzzzzzzzz') }],
    ['of TLS 1.2', { maxVersion: 'TLSv1.2' }],
  ])('%s sees no certificate', async (_title, options) => {
    for (const port of [direct.ports.session, direct.ports.enrolment]) {
      const transport = tcp(port)
      const all = everything(transport)
      const socket = await tls(port, { ...options, rejectUnauthorized: false }, transport)
      expect(socket.getPeerX509Certificate()).toBeUndefined()
      await all
    }
  })

  test('finds sessions only on their port and enrolment only on its own', async () => {
    const crossed = [
      await tls(direct.ports.enrolment, asPerson(bob)),
      await tls(direct.ports.session, { ...asPerson(bob), servername: ENROLMENT_HOST }),
    ]
    for (const socket of crossed) expect((await ask(socket)).text).toBe('')
    expect(stage.seen).toEqual([])
  })

  test('without a certificate, or with one from elsewhere, gets no HTTP answer', async () => {
    const foreign = await createAuthority(world, { commonName: 'user CA' })
    const eve = await stage.person('eve', { authority: foreign })
    for (const options of [{}, asPerson(eve)])
      expect((await ask(await tls(direct.ports.session, options))).text).toBe('')
    expect(stage.seen).toEqual([])
  })

  test('who says nothing is ended in time, and others go on', async () => {
    const impatient = await listenOn(await openStage(ends, { handshakeTimeoutMs: 100 }))
    for (const port of [impatient.ports.session, impatient.ports.enrolment])
      expect(await everything(tcp(port))).toEqual(Buffer.alloc(0))
    expect((await ask(await tls(direct.ports.session, asPerson(bob)))).status).toBe(200)
  })

  test('who opens more than there are places keeps nobody out, here or on the tunnels', {
    timeout: 60_000,
  }, async () => {
    const held = Array.from({ length: MAX_HANDSHAKES + 20 }, () => tcp(direct.ports.session))
    await Promise.all(held.map((socket) => once(socket, 'connect')))
    const other = tcp(direct.ports.session, '127.0.0.2')
    const socket = await tls(direct.ports.session, asPerson(bob), other)
    expect((await ask(socket)).status).toBe(200)
    expect((await ask(await stage.http1(bob))).status).toBe(200)
  })

  test('who holds enrolments that are through their handshake gives way to another address', async () => {
    const { ports } = await listenOn(stage, { maxEnrolments: 4 })
    const enrolment = { servername: ENROLMENT_HOST }
    const held: TLSSocket[] = []
    for (let count = 0; count < 4; count++) held.push(await tls(ports.enrolment, enrolment))
    expect(held.every(({ authorized }) => authorized)).toBe(true)
    const sameAddress = await tls(ports.enrolment, enrolment)
    expect(sameAddress.getPeerX509Certificate()).toBeUndefined()
    const other = await tls(ports.enrolment, enrolment, tcp(ports.enrolment, '127.0.0.2'))
    expect(other.authorized).toBe(true)
    await expect
      .poll(() => held.map(({ destroyed }) => destroyed))
      .toEqual([true, false, false, false])
  })

  test('who only looks whether the port is open, as load balancers do, is not noted at all', async () => {
    const socket = tcp(direct.ports.session)
    await once(socket, 'connect')
    const all = everything(socket)
    socket.destroy()
    await all
    expect((await ask(await tls(direct.ports.session, asPerson(bob)))).status).toBe(200)
    expect(stage.log.filter((line) => line.startsWith('inner_'))).toEqual([])
  })

  test('who knocks often does not fill the log', async () => {
    for (let count = 0; count < 60; count++) {
      const socket = tcp(direct.ports.session)
      const all = everything(socket)
      socket.end('GET / HTTP/1.1\r\n\r\n')
      await all
    }
    const lines = stage.log.filter((line) => line.startsWith('inner_handshake_failed'))
    expect(lines.length).toBeGreaterThan(0)
    expect(lines.length).toBeLessThan(30)
  })
})

test('before the agent may serve, every connection is ended at once', async () => {
  isReady = false
  for (const port of [direct.ports.session, direct.ports.enrolment])
    expect(await everything(tcp(port))).toEqual(Buffer.alloc(0))
  isReady = true
  expect((await ask(await tls(direct.ports.session, asPerson(bob)))).status).toBe(200)
})

test('stopping takes no new connections and ends those there are after the grace', async () => {
  const socket = await tls(direct.ports.session, asPerson(bob))
  await direct.stop(20)
  await expect.poll(() => socket.destroyed).toBe(true)
  expect(await everything(tcp(direct.ports.session))).toEqual(Buffer.alloc(0))
})

test('a port that is taken is said', async () => {
  const { session } = direct.ports
  const accept = stage.servers.acceptDirect
  const log = { info: () => {}, warn: () => {}, error: () => {} }
  const options = { host: '127.0.0.1', isReady: () => true, accept, log }
  await expect(
    listenDirect({ ...options, ports: { session: 0, enrolment: session } }),
  ).rejects.toMatchObject({ code: 'MCM_PORT_TAKEN', exitCode: 6 })
})
