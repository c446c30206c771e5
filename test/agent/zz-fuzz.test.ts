import { connect as connectTls } from 'node:tls'
import { test, expect } from 'vitest'
import { Duplex } from 'node:stream'
import { openTunnel } from '../../src/tunnel/hub-end.ts'
import { serveTunnel } from '../../src/tunnel/agent-end.ts'
import { cleanup, socketPair } from '../forward/stage.ts'
import { openStage, HOST, ENROLMENT_HOST } from './traffic-stage.ts'

/** Passes bytes until told to misbehave. */
class Meddler extends Duplex {
  inner: Duplex
  hold = false
  constructor(inner: Duplex) {
    super({ allowHalfOpen: true })
    this.inner = inner
    inner.on('data', (c) => { if (!this.hold) this.push(c) })
    inner.on('end', () => this.push(null))
    inner.on('close', () => this.destroy())
    inner.on('error', () => this.destroy())
  }
  override _read() {}
  override _write(c: Buffer, _e: string, d: () => void) { this.inner.write(c); d() }
  override _final(d: () => void) { this.inner.end(); d() }
}
test('fuzz', async () => {
  const ends = cleanup()
  const stage = await openStage(ends)
  const bob = await stage.person('bob')
  const log = { info() {}, warn() {}, error() {} }
  const [near, far] = await socketPair(ends)
  serveTunnel(near, { request: async () => ({ status: 200, body: {} }), connect: (a, _h, stream) => stage.servers.accept(a.startsWith('enrol') ? 'enrolment' : 'session', stream, '1.2.3.4') }, { log })
  const hub = openTunnel(far, { log })
  const crashes: unknown[] = []
  process.on('uncaughtException', (e) => crashes.push(e))
  let done = 0
  const rounds = Number(process.env['ROUNDS'] ?? 2000)
  const one = async (i: number) => {
    const enrol = i % 3 === 0
    const h2 = i % 2 === 0
    const stream = await hub.connect(`${enrol ? ENROLMENT_HOST : HOST}:443`)
    stream.on('error', () => {})
    const m = new Meddler(stream)
    const s = connectTls({ socket: m, ca: stage.serverCaPem, servername: enrol ? ENROLMENT_HOST : HOST, ...(enrol ? {} : { cert: bob.certPem, key: bob.keyPem }), ...(h2 ? { ALPNProtocols: ['h2'] } : {}) })
    s.on('error', () => {})
    await new Promise((r) => { s.once('secureConnect', r); s.once('close', r) })
    if (!h2) s.write(`GET /api HTTP/1.1\r\nHost: ${enrol ? ENROLMENT_HOST : HOST}\r\n${i % 5 === 0 ? 'Connection: close\r\n' : ''}\r\n`)
    else s.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + (i % 5 ? '\0\0\0\x04\0\0\0\0\0' : 'garbage'.repeat(10)))
    const act = (i * 7919) % 11
    const garbage = Buffer.concat([Buffer.from([0x17, 3, 3, 0, 40]), Buffer.alloc(40, i)])
    const go = () => {
      if (act === 0) stream.write(garbage)
      else if (act === 1) { stream.end(); setTimeout(() => stream.write(garbage), 1) }
      else if (act === 2) stream.end(garbage)
      else if (act === 3) stream.destroy()
      else if (act === 4) { stream.write(garbage); stream.end() }
      else if (act === 5) { s.end(); setImmediate(() => stream.destroyed || stream.write(garbage)) }
      else if (act === 6) { m.hold = true; stream.pause(); setImmediate(() => stream.write(garbage)) }
      else if (act === 7) { s.end(); stream.writable && process.nextTick(() => stream.destroyed || stream.writableEnded || stream.write(garbage)) }
      else if (act === 8) { for (let k = 0; k < 5; k++) setImmediate(() => stream.destroyed || stream.writableEnded || stream.write(garbage)) }
      else if (act === 9) { stream.end() }
      else s.destroy()
    }
    const delay = i % 4
    if (delay === 0) go(); else if (delay === 1) setImmediate(go); else if (delay === 2) setTimeout(go, 1); else setTimeout(go, 3)
    await new Promise((r) => setTimeout(r, 8))
    s.destroy(); stream.destroy()
    done++
  }
  for (let i = 0; i < rounds; i += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => one(i + k).catch((e) => { if (!/closed|destroyed/.test(String(e))) console.log(String(e)) })))
  console.log(done, crashes.length, crashes[0])
  const s = await hub.connect(`${HOST}:443`)
  const t = connectTls({ socket: s, ca: stage.serverCaPem, servername: HOST, cert: bob.certPem, key: bob.keyPem })
  await new Promise((r, j) => { t.once('secureConnect', r); t.once('error', j) })
  expect(crashes).toEqual([])
  await hub.stop()
  await ends.run()
}, 200000)
