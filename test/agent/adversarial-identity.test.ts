import { once } from 'node:events'
import type { ClientHttp2Session } from 'node:http2'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { serveTunnel } from '../../src/tunnel/agent-end.ts'
import { openTunnel } from '../../src/tunnel/hub-end.ts'
import { cleanup, socketPair } from '../forward/stage.ts'
import { HOST, openStage, type Person, readAnswer, type TrafficStage } from './traffic-stage.ts'

/** One person taken for another: by what is shared upstream, by what is shared below, by time. */

const ends = cleanup()
let stage: TrafficStage

beforeEach(async () => {
  stage = await openStage(ends)
})
afterEach(() => ends.run())

const log = { info() {}, warn() {}, error() {} }

/** The hub's end of a real tunnel into the agent's servers: its streams are HTTP/2, as in a cluster. */
async function tunnel() {
  const [near, far] = await socketPair(ends)
  const connect = (_authority: string, _headers: unknown, stream: Duplex) =>
    stage.servers.accept('session', stream, '192.0.2.9')
  serveTunnel(near, { request: async () => ({ status: 200, body: {} }), connect }, { log })
  const hub = openTunnel(far, { log })
  ends.add(() => hub.stop())
  return hub
}

async function sessionThrough(stream: Duplex, { certPem, keyPem }: Person) {
  const socket = connectTls({
    socket: stream,
    ca: stage.serverCaPem,
    servername: HOST,
    cert: certPem,
    key: keyPem,
  })
  socket.on('error', () => {})
  ends.add(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

async function whoAmI(session: ClientHttp2Session, headers: Record<string, string>) {
  const stream = session.request({ ':path': '/whoami', ...headers })
  let body = ''
  stream.on('data', (chunk) => {
    body += chunk
  })
  await once(stream, 'end')
  return JSON.parse(body) as { user: string[]; groups: string[] }
}

test('ten thousand requests of fifty people, all at once over shared connections, are each their own', async () => {
  const people = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      stage.person(`user${index}`, { groups: [`g${index}`] }),
    ),
  )
  const sessions = await Promise.all(people.map((person) => stage.http2(person)))
  const wrong: unknown[] = []
  let answers = 0
  await Promise.all(
    people.map(async ({ user, groups }, index) => {
      const own = { 'impersonate-user': user, 'impersonate-group': groups[0]! }
      for (let round = 0; round < 10; round += 1)
        await Promise.all(
          Array.from({ length: 20 }, async (_, turn) => {
            const said = await whoAmI(sessions[index]!, turn % 2 ? own : {})
            answers += 1
            const expected = { user: [`mcm:${user}`], groups: [`mcm:g${index}`] }
            if (JSON.stringify(said) !== JSON.stringify(expected)) wrong.push([user, said])
          }),
        )
    }),
  )
  expect(answers).toBe(10_000)
  expect(wrong).toEqual([])
  const ids = stage.seen.map((seen) => seen.values('audit-id')[0])
  expect(new Set(ids).size).toBe(10_000)
  for (const seen of stage.seen) expect(seen.values('impersonate-user')).toHaveLength(1)
}, 240_000)

describe('through a real tunnel', () => {
  test('two people’s streams side by side are each their own', async () => {
    const hub = await tunnel()
    const people = await Promise.all([stage.person('bob'), stage.person('carol')])
    const sockets = await Promise.all(
      people.map(async (person) => sessionThrough(await hub.connect(`${HOST}:443`), person)),
    )
    for (const [index, socket] of sockets.entries()) {
      socket.write(`GET /whoami HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
      const { body } = await readAnswer(socket)
      expect(JSON.parse(body).user).toEqual([`mcm:${people[index]!.user}`])
    }
  })

  test('a relay that hands the bytes of one to the other ends both, and nothing more is asked', async () => {
    const hub = await tunnel()
    const [bob, carol] = await Promise.all([stage.person('bob'), stage.person('carol')])
    const [left, right] = await Promise.all([
      hub.connect(`${HOST}:443`),
      hub.connect(`${HOST}:443`),
    ])
    const crossing = crossable(left, right)
    const [ofBob, ofCarol] = await Promise.all([
      sessionThrough(crossing.left, bob),
      sessionThrough(crossing.right, carol),
    ])
    const request = `GET /whoami HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
    ofBob.write(request)
    expect(JSON.parse((await readAnswer(ofBob)).body).user).toEqual(['mcm:bob'])
    const before = stage.seen.length
    crossing.cross()
    const closed = Promise.all(
      [ofBob, ofCarol].map((socket) => new Promise((done) => socket.once('close', done))),
    )
    ofBob.write(request)
    ofCarol.write(request)
    await closed
    expect(stage.seen).toHaveLength(before)
  })

  test('a revocation ends a watch within a second, and only its owner’s', async () => {
    const hub = await tunnel()
    const [bob, carol] = await Promise.all([stage.person('bob'), stage.person('carol')])
    stage.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write('{"type":"ADDED"}\n')
    }
    const watch = async (person: Person) => {
      const socket = await sessionThrough(await hub.connect(`${HOST}:443`), person)
      socket.write(`GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
      await once(socket, 'data')
      return socket
    }
    const [ofBob, ofCarol] = [await watch(bob), await watch(carol)]
    stage.facts.devices.set(bob.device, { user: 'bob', revoked: new Date() })
    const started = performance.now()
    const ended = once(ofBob, 'close')
    expect(stage.cutRevoked()).toBe(1)
    await ended
    expect(performance.now() - started).toBeLessThan(1_000)
    expect(ofCarol.destroyed).toBe(false)
    expect(hub.isOpen()).toBe(true)
    expect(hub.openStreams()).toBe(1)
  })
})

/** Two streams whose bytes towards the far side change places when told. */
function crossable(left: Duplex, right: Duplex) {
  let isCrossed = false
  const between = (own: Duplex, other: Duplex) => {
    const stream = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => {
        const to = isCrossed ? other : own
        if (!to.destroyed) to.write(chunk)
        done()
      },
    })
    own.on('data', (chunk: Buffer) => stream.push(chunk))
    own.on('close', () => stream.destroy())
    return stream
  }
  const cross = () => {
    isCrossed = true
  }
  return { left: between(left, right), right: between(right, left), cross }
}
