import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { PassThrough } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { enrolmentHandlers } from '../../src/agent/enrolment.ts'
import { MAX_HANDSHAKES } from '../../src/agent/handshake-places.ts'
import { HANDSHAKE_TIMEOUT_MS } from '../../src/agent/inner-server.ts'
import { readJson } from '../../src/agent/read-json.ts'
import { openListener } from '../../src/forward/listener.ts'
import { DEFAULT_TIMEOUTS } from '../../src/forward/listener-handlers.ts'
import { cleanup, readAll, socketPair } from '../forward/stage.ts'
import {
  ENROLMENT_HOST,
  HOST,
  openStage,
  type Person,
  readAnswer,
  type TrafficStage,
} from './traffic-stage.ts'

/** What one person, or somebody who has shown nothing yet, can take of an agent that others share. */

const ends = cleanup()
let stage: TrafficStage
let bob: Person

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob')
})
afterEach(() => ends.run())

const CERTIFICATES = 'POST /.mcm/v1/certificates HTTP/1.1'
const HOST_LINE = `Host: ${HOST}`

test('whoever is slow has 10 s for a handshake, 10 s for a head, and 60 s of silence in a body', () => {
  // How each is kept is tested with shorter ones: servers, forward, adversarial-framing.
  expect(HANDSHAKE_TIMEOUT_MS).toBe(10_000)
  expect(DEFAULT_TIMEOUTS).toMatchObject({ headMs: 10_000, bodyStallMs: 60_000 })
})

describe('a body for the agent itself', () => {
  test('of a small size is read', async () => {
    const body = new PassThrough()
    body.end('{"a":1}')
    expect(await readJson(body)).toEqual({ a: 1 })
  })

  test('that never ends is refused at its limit, and nothing more of it is kept', async () => {
    const body = new PassThrough()
    const refused = expect(readJson(body)).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
    body.write(Buffer.alloc(40 * 1024))
    await refused
    expect(body.listenerCount('data')).toBe(0)
  })
})

describe('handshakes under way', () => {
  const shakeHands = async (stream: Awaited<ReturnType<TrafficStage['stream']>>) => {
    const { certPem: cert, keyPem: key } = bob
    const socket = connectTls({
      socket: stream,
      ca: stage.serverCaPem,
      servername: HOST,
      cert,
      key,
    })
    await once(socket, 'secureConnect')
    socket.write(`GET /api HTTP/1.1\r\n${HOST_LINE}\r\n\r\n`)
    return readAnswer(socket)
  }

  test('of one address take all places, but keep nobody else out', async () => {
    const held = await Promise.all(
      Array.from({ length: MAX_HANDSHAKES }, () => stage.stream('session', '192.0.2.66')),
    )
    const gone = once(held[0]!.resume(), 'close')
    expect((await shakeHands(await stage.stream('session', '192.0.2.7'))).status).toBe(200)
    await gone
    expect(held[1]!.destroyed).toBe(false)
  })

  test('of the address that has the most do not push out others', async () => {
    const honest = await stage.stream('session', '192.0.2.7')
    const count = MAX_HANDSHAKES - 1
    await Promise.all(Array.from({ length: count }, () => stage.stream('session', '192.0.2.66')))
    await expect(stage.stream('session', '192.0.2.66')).rejects.toMatchObject({
      code: 'MCM_AGENT_UNREACHABLE',
    })
    expect((await shakeHands(honest)).status).toBe(200)
  })
})

describe('enrolments', () => {
  test('whose bodies dribble take nobody’s place', async () => {
    const slow = await Promise.all(
      Array.from({ length: 32 }, () => stage.connect(undefined, {}, 'enrolment')),
    )
    const head = `${CERTIFICATES}\r\nHost: ${ENROLMENT_HOST}\r\nContent-Length: 2\r\n\r\n`
    for (const socket of slow) socket.write(`${head}{`)
    const quick = await stage.connect(undefined, {}, 'enrolment')
    quick.write(`${head}{}`)
    expect((await readAnswer(quick)).status).toBe(200)
    slow[0]!.write('}')
    expect((await readAnswer(slow[0]!)).status).toBe(200)
  })

  test('are worked on sixteen at a time, one on each connection', async () => {
    let underWay = 0
    let most = 0
    const waiting: (() => void)[] = []
    const handlers = enrolmentHandlers({
      host: ENROLMENT_HOST,
      log: { info() {}, warn() {}, error() {} },
      issuance: {
        enrol: async () => {
          underWay += 1
          most = Math.max(most, underWay)
          await new Promise<void>((done) => waiting.push(done))
          underWay -= 1
          return { certificate: 'x', user: 'x', device: 'x', fingerprint: 'x' }
        },
      },
    })
    const listener = openListener(handlers)
    ends.add(() => listener.stop())
    const ask = async () => {
      const [near, far] = await socketPair(ends)
      listener.accept(near, 'http/1.1', {
        exporter: Buffer.alloc(32),
        clientAddress: undefined,
        isDirect: false,
      })
      const lines = [`Host: ${ENROLMENT_HOST}`, 'Content-Length: 2', 'Connection: close']
      far.write(`${CERTIFICATES}\r\n${lines.join('\r\n')}\r\n\r\n{}`)
      return readAll(far)
    }
    const first = Array.from({ length: 16 }, ask)
    while (waiting.length < 16) await new Promise((done) => setImmediate(done))
    expect(await ask()).toMatch(/^HTTP\/1\.1 503 /)
    for (const done of waiting) done()
    for (const answer of await Promise.all(first)) expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(most).toBe(16)
  })
})

describe('the agent’s own endpoints', () => {
  test.each(['GET /.mcm/v1/whoami', 'GET /.mcm/v1/certificates', 'POST /.mcm/v1/revocations'])(
    '%s as somebody else is refused: a dropped header would give more power than was asked for',
    async (call) => {
      const line = `${call} HTTP/1.1`
      const body = ['Content-Length: 0']
      const own = await stage.ask(bob, line, HOST_LINE, 'Impersonate-User: bob', ...body)
      expect(own.status).not.toBe(403)
      const other = await stage.ask(bob, line, HOST_LINE, 'Impersonate-User: carol', ...body)
      expect(other.status).toBe(403)
      expect(JSON.parse(other.body).message).toContain('Impersonate-User')
      const group = await stage.ask(bob, line, HOST_LINE, 'Impersonate-Group: dev', ...body)
      expect(group.status).toBe(403)
    },
  )
})

describe('uploads that an API server which is away never takes', () => {
  const UPLOADS = 40
  const uploading = async () => {
    const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
    ends.add(() => server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const away = await openStage(ends, { apiServer: { port, caPem: '' } })
    return { away, person: await away.person('bob') }
  }
  const writtenDown = ({ audit }: TrafficStage) => audit.filter(({ stage }) => stage === 'ended')

  test.each([
    ['of unknown length', 10, {}],
    ['of a hundred kilobytes', 100_000, { 'content-length': 100_000 }],
  ])('%s give their places back, over HTTP/2, and are written down', async (_, size, length) => {
    const { away, person } = await uploading()
    const session = await away.http2(person)
    for (let count = 0; count < UPLOADS; count += 1) {
      const stream = session.request({ ':path': '/api/v1/pods', ':method': 'POST', ...length })
      stream.on('error', () => {}).end(Buffer.alloc(size))
      const [headers] = await once(stream, 'response')
      expect(headers[':status']).toBe(503)
      stream.resume()
    }
    await expect.poll(() => writtenDown(away).length).toBe(UPLOADS)
  })

  test('give their places back, over HTTP/1.1, and are written down', async () => {
    const { away, person } = await uploading()
    for (let count = 0; count < UPLOADS; count += 1) {
      const socket = await away.http1(person)
      const head = `POST /api/v1/pods HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 100000\r\n\r\n`
      socket.write(head)
      socket.write(Buffer.alloc(100_000))
      expect((await readAnswer(socket)).status).toBe(503)
    }
    await expect.poll(() => writtenDown(away).length).toBe(UPLOADS)
  })
})
