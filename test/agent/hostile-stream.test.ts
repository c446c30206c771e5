import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { afterEach, expect, test } from 'vitest'
import { cleanup } from '../forward/stage.ts'
import { ENROLMENT_HOST, HOST, openStage, readAnswer, type TrafficStage } from './traffic-stage.ts'

/** A hub that breaks what it carries, at every moment of a connection's life. */

const ends = cleanup()
afterEach(() => ends.run())

const GARBAGE = Buffer.concat([Buffer.from([0x17, 3, 3, 0, 40]), Buffer.alloc(40, 7)])

/** Carries bytes for an honest client until the test breaks the stream below it. */
class Carrier extends Duplex {
  readonly #below: Duplex

  constructor(below: Duplex) {
    super({ allowHalfOpen: true })
    this.#below = below
    below.on('data', (chunk: Buffer) => this.push(chunk))
    below.once('end', () => this.push(null))
    below.once('close', () => this.destroy())
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#below.writable) this.#below.write(chunk)
    done()
  }
}

const DEEDS: readonly ((stream: Duplex) => void)[] = [
  (stream) => stream.write(GARBAGE),
  (stream) => stream.end(GARBAGE),
  (stream) => stream.end(),
  (stream) => stream.destroy(),
  (stream) => stream.destroy(new Error('cut')),
  (stream) => {
    stream.pause()
    stream.write(GARBAGE)
  },
  (stream) => {
    for (let count = 0; count < 5; count += 1)
      setImmediate(() => stream.writable && stream.write(GARBAGE))
  },
]

async function breakOne(
  stage: TrafficStage,
  index: number,
  certificate: { cert: string; key: string },
): Promise<void> {
  const kind = index % 3 === 0 ? 'enrolment' : 'session'
  const host = kind === 'session' ? HOST : ENROLMENT_HOST
  const stream = await stage.stream(kind)
  const socket = connectTls({
    socket: new Carrier(stream),
    ca: stage.serverCaPem,
    servername: host,
    ...(kind === 'session' ? certificate : {}),
    ...(index % 2 ? { ALPNProtocols: ['h2'] } : {}),
  })
  socket.on('error', () => {})
  const isEarly = index % 5 === 0
  if (!isEarly)
    await new Promise<void>((done) => {
      socket.once('secureConnect', done)
      socket.once('close', () => done())
    })
  const close = index % 7 === 0 ? 'Connection: close\r\n' : ''
  const http1 = `GET /api HTTP/1.1\r\nHost: ${host}\r\n${close}\r\n`
  socket.write(index % 2 ? 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' : http1)
  const closed = new Promise((done) => stream.once('close', done))
  await new Promise((done) => (index % 4 ? setTimeout(done, index % 4) : setImmediate(done)))
  DEEDS[index % DEEDS.length]!(stream)
  await new Promise((done) => setTimeout(done, 5))
  socket.destroy()
  stream.destroy()
  await closed
}

test('streams that are cut, half closed, stalled and filled with garbage harm nobody else', async () => {
  const stage = await openStage(ends)
  const bob = await stage.person('bob')
  const certificate = { cert: bob.certPem, key: bob.keyPem }
  for (let start = 0; start < 420; start += 20) {
    const batch = Array.from({ length: 20 }, (_, index) => start + index)
    await Promise.all(batch.map((index) => breakOne(stage, index, certificate)))
  }
  const socket = await stage.http1(bob)
  socket.write(`GET /api HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  expect((await readAnswer(socket)).status).toBe(200)
  await expect.poll(() => stage.sessions.countOf('bob')).toBe(1)
})
