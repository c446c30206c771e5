import { randomBytes } from 'node:crypto'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openInner } from '../../src/client/inner.ts'
import { type PipeAcceptor, pipeAcceptor } from '../../src/pipe/acceptor.ts'
import { PipeBudget } from '../../src/pipe/budget.ts'
import { type InitiatedPipe, openPipe } from '../../src/pipe/initiator.ts'
import { PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL } from '../../src/pipe/proof.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { Secret } from '../../src/secret.ts'
import { cleanup, world } from '../forward/stage.ts'
import { type Wire, wire } from '../pipe/wire.ts'
import { HOST, openStage, type Person, type TrafficStage } from './traffic-stage.ts'

/** Sessions on a pipe: the agent's real inner server, and a client as `mcm proxy` is one. */

const ends = cleanup()
const LIMITS = { retryMs: 20, lookMs: 10, ackDelayMs: 10, settledMs: 20 }
let stage: TrafficStage
let bob: Person
let acceptor: PipeAcceptor
let wires: Wire[]
let isDown: boolean
let budget: PipeBudget

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob', { groups: ['dev'] })
  wires = []
  isDown = false
  budget = new PipeBudget(64 << 20)
  acceptor = pipeAcceptor({
    world,
    log: silent,
    budget,
    replica: 'agent-a',
    limits: LIMITS,
    takePlace: () => () => {},
    onPipe: (pipe, from) => stage.servers.acceptPipe(pipe, from),
  })
  ends.add(() => acceptor.stop())
})
afterEach(() => ends.run())

const silent = { info: () => {}, warn: () => {}, error: () => {} }

interface PipedSession {
  readonly pipe: InitiatedPipe
  readonly socket: TLSSocket
  readonly http2: ClientHttp2Session
}

async function connect(person: Person): Promise<PipedSession> {
  const pipe = await openPipe({
    world,
    log: silent,
    budget: new PipeBudget(64 << 20),
    peerName: 'the agent',
    limits: LIMITS,
    dial: async () => {
      if (isDown) throw new Error('no way')
      const made = wire()
      wires.push(made)
      acceptor.accept(made.agent, '192.0.2.9')
      return made.client
    },
  })
  ends.add(() => pipe.abandon())
  const { certPem, keyPem } = person
  const identity = { certPem, keyPem: new Secret(keyPem) }
  const { serverCaPem } = stage
  const options = { host: HOST, serverCaPem, ...identity, alpn: ['h2'] }
  const socket = await openInner(pipe.stream, options)
  socket.on('error', () => {})
  pipe.arm(socket.exportKeyingMaterial(PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL, Buffer.alloc(0)))
  const http2 = connectHttp2(`https://${HOST}`, { createConnection: () => socket })
  http2.on('error', () => {})
  ends.add(() => http2.destroy())
  return { pipe, socket, http2 }
}

function get(session: ClientHttp2Session, path = '/api/v1/pods'): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': path })
    let text = ''
    stream.on('data', (chunk) => {
      text += String(chunk)
    })
    stream.once('end', () => resolve(text))
    stream.once('error', reject)
  })
}

const cutLast = () => wires.at(-1)!.cut()

test('a session outlives what carries it: the same connection, the same streams, as the same person', async () => {
  const { http2, pipe } = await connect(bob)
  expect(JSON.parse(await get(http2))).toMatchObject({ user: ['mcm:bob'] })
  let finish = () => {}
  stage.answer = (_request, response) => {
    response.writeHead(200)
    response.write('before')
    finish = () => response.end(' and after')
  }
  const slow = get(http2, '/api/v1/pods?watch=1')
  await expect.poll(() => stage.seen.length).toBe(2)
  cutLast()
  await expect.poll(() => wires.length).toBe(2)
  finish()
  expect(await slow).toBe('before and after')
  expect(pipe.isSuspended).toBe(false)
  expect(stage.sessions.size).toBe(1)
  expect(stage.seen.length).toBe(2)
})

test('no request is done twice, wherever the path breaks', async () => {
  const { http2 } = await connect(bob)
  // With its answer the client knows that the agent has its keys, too.
  await get(http2)
  const paths = Array.from({ length: 30 }, (_, index) => `/api/v1/pods?n=${index}`)
  const answers = paths.map((path) => get(http2, path))
  // Not before it has carried something: on a busy machine nothing would ever pass.
  const cuts = setInterval(() => {
    if (wires.at(-1)!.carriedBytes() > 3_000) cutLast()
  }, 15)
  await Promise.all(answers).finally(() => clearInterval(cuts))
  expect(wires.length).toBeGreaterThan(1)
  expect(
    stage.seen
      .slice(1)
      .map(({ url }) => url)
      .sort(),
  ).toEqual([...paths].sort())
})

test('a suspended session counts like any other', async () => {
  const { http2, pipe } = await connect(bob)
  await get(http2)
  isDown = true
  cutLast()
  await expect.poll(() => pipe.isSuspended).toBe(true)
  expect(acceptor.size).toBe(1)
  expect(stage.sessions.countOf('bob')).toBe(1)
})

test('what waits for somebody who is away counts against them', async () => {
  const { http2 } = await connect(bob)
  stage.answer = (_request, response) => {
    response.writeHead(200)
    response.write(randomBytes(200_000))
  }
  isDown = true
  const stream = http2.request({ ':path': '/api/v1/pods?watch=1' })
  stream.on('error', () => {})
  stream.on('data', () => {})
  stream.once('response', cutLast)
  await expect.poll(() => budget.heldBytes).toBeGreaterThan(30_000)
  const why = new Error('too full') as never
  expect(stage.sessions.cutOverBudget(1_000_000, why)).toBe(0)
  expect(stage.sessions.cutOverBudget(10_000, why)).toBe(1)
  await expect.poll(() => budget.heldBytes).toBe(0)
})

test('a session that is cut while nobody is there says so to whoever resumes it', async () => {
  const { pipe, socket, http2 } = await connect(bob)
  await get(http2)
  isDown = true
  cutLast()
  await expect.poll(() => pipe.isSuspended).toBe(true)
  stage.facts.revokedBySecret.set('bob', new Date())
  expect(stage.cutRevoked()).toBe(1)
  await expect.poll(() => stage.sessions.size).toBe(0)
  isDown = false
  await expect.poll(() => socket.destroyed).toBe(true)
  expect(pipe.stream.errored?.message).toBe(
    'the session with the agent has ended: its certificate or grant no longer stands',
  )
  await expect.poll(() => acceptor.size).toBe(0)
})

test('a certificate from elsewhere gets no pipe that could be resumed', async () => {
  const elsewhere = await createAuthority(world, { commonName: 'user CA' })
  const eve = await stage.person('eve', { authority: elsewhere })
  const { socket } = await connect(eve)
  await expect.poll(() => socket.destroyed).toBe(true)
  expect(stage.sessions.size).toBe(0)
  await expect.poll(() => acceptor.size).toBe(0)
  expect(wires.length).toBe(1)
})

test('a handshake whose carrier is lost is over, and leaves nothing', async () => {
  const made = wire((chunk, toward) => (toward === 'client' ? [] : [chunk]))
  acceptor.accept(made.agent, '192.0.2.9')
  const pipe = await openPipe({
    world,
    log: silent,
    budget: new PipeBudget(1 << 20),
    peerName: 'the agent',
    limits: LIMITS,
    dial: async () => made.client,
  })
  const { serverCaPem } = stage
  const opening = openInner(pipe.stream, { host: HOST, serverCaPem, alpn: ['h2'] })
  await expect.poll(() => acceptor.size).toBe(1)
  made.cut()
  await expect(opening).rejects.toMatchObject({ code: 'MCM_AGENT_UNREACHABLE' })
  await expect.poll(() => acceptor.size).toBe(0)
})
