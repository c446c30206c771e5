import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import { afterEach, beforeAll, expect, it } from 'vitest'
import {
  type LocalTls,
  type LoopbackListener,
  listenOnLoopback,
} from '../../src/proxy/loopback-listener.ts'
import { localTls, TestWorld } from './stage.ts'

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
)

let tls: LocalTls
const running: LoopbackListener[] = []
const squatters: Server[] = []

beforeAll(async () => {
  tls = (await localTls(new TestWorld())).tls
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((listener) => listener.stop()))
  for (const server of squatters.splice(0)) server.close()
})

async function listen(port: number): Promise<LoopbackListener> {
  const listener = await listenOnLoopback(tls, port, (socket) => socket.destroy())
  running.push(listener)
  return listener
}

async function squat(host: string, port: number): Promise<void> {
  const server = createServer()
  squatters.push(server)
  server.listen({ host, port })
  await once(server, 'listening')
}

it('a port that another program has is an error that names it, not another port', async () => {
  const { port } = await listen(0)
  await expect(listen(port)).rejects.toMatchObject({
    code: 'MCM_PORT_TAKEN',
    message: expect.stringContaining(`cannot listen on port ${port}`),
  })
})

it.runIf(hasIpv6)('a port that somebody has on ::1 alone is not taken either', async () => {
  const { port, stop } = await listen(0)
  await stop()
  await squat('::1', port)
  await expect(listen(port)).rejects.toMatchObject({ code: 'MCM_PORT_TAKEN' })
  const free = connect(port, '127.0.0.1')
  expect((await once(free, 'error'))[0]).toMatchObject({ code: 'ECONNREFUSED' })
})

it('the same port can be had again after a stop', async () => {
  const first = await listen(0)
  await first.stop()
  expect((await listen(first.port)).port).toBe(first.port)
})

it('stopping does not wait for a client that never finishes its handshake', async () => {
  const listener = await listen(0)
  const silent = connect(listener.port, '127.0.0.1')
  await once(silent, 'connect')
  silent.write(Buffer.from([22, 3, 1]))
  silent.on('error', () => {})
  const closed = new Promise((resolve) => silent.once('close', resolve))
  silent.resume()
  await listener.stop()
  await closed
})
