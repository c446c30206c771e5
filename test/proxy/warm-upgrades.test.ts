import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { buffer } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LF2, readUntil } from '../forward/stage.ts'
import { connectLocally, get } from './local-client.ts'
import { CLUSTER_ID, type Stage, startStage } from './stage.ts'

let stage: Stage
beforeEach(async () => {
  stage = await startStage(() => ({}), true)
  stage.agent.connect = echo
})
afterEach(() => stage.stop())

const PODS = `/${CLUSTER_ID}/api/v1/pods`
const EXEC = `${PODS}/p/exec?command=sh`
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = createHash('sha1')
  .update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
  .digest('base64')
const HOUR_MS = 3_600_000

function echo(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const isWebSocket = headers[':protocol'] === 'websocket'
  const name = isWebSocket ? 'sec-websocket-protocol' : 'x-stream-protocol-version'
  stream.respond({ ':status': 200, [name]: 'v5.channel.k8s.io' })
  stream.pipe(stream)
}

/** An exec over SPDY, whose bytes are anything. */
async function exec(method = 'POST'): Promise<TLSSocket> {
  const socket = await connectLocally(stage, [])
  const head = [
    `${method} ${EXEC} HTTP/1.1`,
    `Host: 127.0.0.1:${stage.proxy.address.port}`,
    'Connection: Upgrade',
    'Upgrade: SPDY/3.1',
    'X-Stream-Protocol-Version: v5.channel.k8s.io',
    'X-Stream-Protocol-Version: v4.channel.k8s.io',
  ]
  socket.write(`${head.join('\r\n')}${LF2}`)
  return socket
}

function openConnections(): number {
  return stage.ways.connections.length
}

/** One session for requests and one kept ready. */
async function warm(): Promise<void> {
  await get(stage, PODS)
  await expect.poll(openConnections).toBe(2)
}

test('a warm proxy begins an exec on a session that is there, as the certificate’s user', async () => {
  await warm()
  const asked = stage.ways.asked.length
  const socket = await exec()
  const head = await readUntil(socket, LF2)
  expect(head).toMatch(/^HTTP\/1\.1 101 /)
  expect(head.toLowerCase()).toContain('connection: upgrade\r\nupgrade: spdy/3.1\r\n')
  expect(head).toContain('x-stream-protocol-version: v5.channel.k8s.io')
  socket.end('typed')
  expect((await buffer(socket)).toString()).toBe('typed')
  const seen = stage.agent.seen.at(-1)!
  expect(seen).toMatchObject({ httpVersion: '2.0', method: 'CONNECT', certificateUser: 'bob' })
  expect(seen.headers).toContainEqual(['impersonate-user', 'bob'])
  const versions = seen.headers.filter(([name]) => name === 'x-stream-protocol-version')
  expect(versions).toHaveLength(2)
  expect(stage.ways.asked).toHaveLength(asked)
})

test('a WebSocket is answered for its own key, which stays on this machine', async () => {
  const socket = await connectLocally(stage, [])
  const head = [
    `GET ${EXEC} HTTP/1.1`,
    `Host: 127.0.0.1:${stage.proxy.address.port}`,
    ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
    ...[`Sec-WebSocket-Key: ${KEY}`, 'Sec-WebSocket-Protocol: v5.channel.k8s.io'],
  ]
  socket.write(`${head.join('\r\n')}${LF2}`)
  const answer = await readUntil(socket, LF2)
  expect(answer).toMatch(/^HTTP\/1\.1 101 /)
  expect(answer).toContain(`Sec-WebSocket-Accept: ${ACCEPT}`)
  expect(answer).toContain('sec-websocket-protocol: v5.channel.k8s.io')
  const seen = stage.agent.seen.at(-1)!
  expect(seen.headers.map(([name]) => name)).not.toContain('sec-websocket-key')
  socket.destroy()
})

test('each of two has a session to itself, a third is kept ready, and one that ended is used again', async () => {
  await warm()
  const first = await exec()
  await readUntil(first, LF2)
  await expect.poll(openConnections).toBe(3)
  const second = await exec()
  await readUntil(second, LF2)
  await expect.poll(openConnections).toBe(4)
  first.destroy()
  await once(first, 'close')
  for (let count = 0; count < 5; count += 1) {
    const next = await exec()
    await readUntil(next, LF2)
    next.end()
    await buffer(next)
  }
  expect(openConnections()).toBe(4)
  second.destroy()
})

test('twenty at once share eight sessions, and every one has its own bytes', async () => {
  await warm()
  const all = await Promise.all(Array.from({ length: 20 }, () => exec()))
  const echoed = await Promise.all(
    all.map(async (socket, index) => {
      await readUntil(socket, LF2)
      socket.end(`mine ${index}`)
      return (await buffer(socket)).toString()
    }),
  )
  expect(echoed).toEqual(all.map((_, index) => `mine ${index}`))
  expect(openConnections()).toBeLessThanOrEqual(1 + 8)
})

test('a refusal gets through with its status and body, and a 200 stands for nothing else', async () => {
  stage.agent.connect = (stream) => {
    stream.respond({ ':status': 403, 'content-type': 'application/json' })
    stream.end('{"kind":"Status"}')
  }
  const refused = (await buffer(await exec())).toString()
  expect(refused).toMatch(/^HTTP\/1\.1 403 /)
  expect(refused.endsWith('{"kind":"Status"}')).toBe(true)
  for (const status of [204, 302]) {
    stage.agent.connect = (stream) => {
      stream.respond({ ':status': status, location: 'https://evil.test' }, { endStream: true })
    }
    const answer = (await buffer(await exec())).toString()
    expect(answer).toMatch(/^HTTP\/1\.1 502 /)
    expect(answer).not.toContain('evil.test')
  }
})

test('one the agent does not know any more is not asked again, but the next is with another certificate', async () => {
  await warm()
  stage.agent.connect = (stream) => stream.respond({ ':status': 401 }, { endStream: true })
  expect((await buffer(await exec())).toString()).toMatch(/^HTTP\/1\.1 401 /)
  const count = stage.agent.seen.length
  stage.agent.connect = echo
  const socket = await exec()
  expect(await readUntil(socket, LF2)).toMatch(/^HTTP\/1\.1 101 /)
  expect(stage.agent.seen).toHaveLength(count + 1)
  expect(stage.ways.asked).toEqual([undefined, expect.stringContaining('CERTIFICATE')])
  socket.destroy()
})

test('SPDY by GET has a connection of its own: no extended CONNECT stands for that', async () => {
  stage.agent.upgrade = (_request, socket) => {
    socket.end(`HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1${LF2}bytes`)
  }
  expect((await buffer(await exec('GET'))).toString()).toMatch(/^HTTP\/1\.1 101 [\s\S]*bytes$/)
  expect(stage.agent.seen.at(-1)).toMatchObject({ httpVersion: '1.1', method: 'GET' })
})

test('a client that is killed resets its stream at the agent within a second', async () => {
  const { promise: ended, resolve } = Promise.withResolvers<number>()
  stage.agent.connect = (stream, headers) => {
    echo(stream, headers)
    stream.once('close', () => resolve(stream.rstCode))
  }
  const socket = await exec()
  await readUntil(socket, LF2)
  const began = performance.now()
  socket.destroy()
  await ended
  expect(performance.now() - began).toBeLessThan(1_000)
})

test('a stream that the agent resets ends its client within a second', async () => {
  let reset = () => {}
  stage.agent.connect = (stream, headers) => {
    echo(stream, headers)
    reset = () => stream.destroy(new Error('gone'))
  }
  const socket = await exec()
  await readUntil(socket, LF2)
  socket.resume()
  const began = performance.now()
  reset()
  await once(socket, 'close')
  expect(performance.now() - began).toBeLessThan(1_000)
})

test('three megabytes arrive whole after the client has said its last word', async () => {
  stage.agent.connect = (stream) => {
    stream.respond({ ':status': 200 })
    stream.once('end', () => stream.end(Buffer.alloc(3_000_000, 'x'))).resume()
  }
  const socket = await exec()
  await readUntil(socket, LF2)
  socket.end('last word')
  expect((await buffer(socket)).length).toBe(3_000_000)
})

test('a certificate that is renewed takes over, and an exec on the old session lives on', async () => {
  await warm()
  const socket = await exec()
  await readUntil(socket, LF2)
  stage.world.forward(13 * HOUR_MS)
  stage.ways.user = 'bob-again'
  expect((await get(stage, PODS)).status).toBe(200)
  expect(stage.agent.seen.at(-1)?.certificateUser).toBe('bob-again')
  socket.write('still here')
  expect(await readUntil(socket, 'here')).toBe('still here')
  socket.destroy()
})
