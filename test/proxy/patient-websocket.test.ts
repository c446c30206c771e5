import { type Duplex, duplexPair } from 'node:stream'
import { expect, it, vi } from 'vitest'
import { UnreachableError } from '../../src/errors.ts'
import { type ControlFrameOfSocket, FrameTracker } from '../../src/forward/websocket-frames.ts'
import { PipePath, PLAIN_PATH } from '../../src/proxy/inner-path.ts'
import { patientWebSocket } from '../../src/proxy/patient-websocket.ts'
import { socketFrame } from '../forward/socket-frame.ts'

const KEY = Buffer.from([9, 8, 7, 6])
const ping = (text: string) => socketFrame(9, Buffer.from(text), KEY)

function joined(early: Buffer = Buffer.alloc(0)) {
  const path = new PipePath()
  const [far, server] = duplexPair()
  for (const end of [far, server]) end.on('error', () => {})
  const answer = { isSwitched: true, headers: [], socket: far, early } as const
  const { socket } = patientWebSocket(answer, path)
  socket.on('error', () => {})
  return { path, far, server, socket, client: collect(socket), upstream: collect(server) }
}

function collect(stream: Duplex) {
  const chunks: Buffer[] = []
  const controls: ControlFrameOfSocket[] = []
  const tracker = new FrameTracker((frame) => controls.push(frame))
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    tracker.push(chunk)
  })
  return { bytes: () => Buffer.concat(chunks), controls, isWhole: () => tracker.isAtBoundary }
}

it('passes everything as it is, pings included, while the path is good', async () => {
  const early = socketFrame(2, Buffer.from('early'))
  const { socket, server, client, upstream } = joined(early)
  socket.write(ping('one'))
  await expect.poll(() => upstream.bytes()).toEqual(ping('one'))
  const big = socketFrame(2, Buffer.alloc(300_000, 'x'))
  server.write(big)
  await expect.poll(() => client.bytes().length).toBe(early.length + big.length)
  expect(client.bytes()).toEqual(Buffer.concat([early, big]))
})

it('answers pings while the path is suspended, and passes them on as well', async () => {
  const { path, socket, client, upstream } = joined()
  path.isSuspended = true
  socket.write(Buffer.concat([ping('one'), socketFrame(2, Buffer.from('stdin'), KEY)]))
  socket.write(ping('two'))
  await expect
    .poll(() => client.controls)
    .toEqual([
      { opcode: 10, payload: Buffer.from('one') },
      { opcode: 10, payload: Buffer.from('two') },
    ])
  await expect.poll(() => upstream.controls.length).toBe(2)
  path.isSuspended = false
  socket.write(ping('three'))
  await expect.poll(() => upstream.controls.length).toBe(3)
  expect(client.controls.length).toBe(2)
})

it('never answers in the middle of a frame: what is not whole is held back', async () => {
  const { path, socket, server, client } = joined()
  const frame = socketFrame(2, Buffer.alloc(30_000, 'x'))
  server.write(frame.subarray(0, 20_000))
  await new Promise((resolve) => setTimeout(resolve, 20))
  path.isSuspended = true
  socket.write(ping('now'))
  await expect.poll(() => client.controls.length).toBe(1)
  expect(client.isWhole()).toBe(true)
  server.write(frame.subarray(20_000))
  await expect.poll(() => client.bytes().length).toBe(5 + frame.length)
  expect(client.bytes().subarray(5)).toEqual(frame)
})

it('answers behind a frame that is too large to be held back', async () => {
  const { path, socket, server, client } = joined()
  const frame = socketFrame(2, Buffer.alloc(200_000, 'x'))
  server.write(frame.subarray(0, 100_000))
  await expect.poll(() => client.bytes().length).toBe(100_000)
  path.isSuspended = true
  socket.write(ping('old'))
  socket.write(ping('new'))
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(client.bytes().length).toBe(100_000)
  server.write(frame.subarray(100_000))
  await expect.poll(() => client.controls).toEqual([{ opcode: 10, payload: Buffer.from('new') }])
  expect(client.isWhole()).toBe(true)
})

it('tells the client why the path has ended', async () => {
  const { path, far, socket, client } = joined()
  const message = 'the session with the agent of c has ended: its certificate no longer stands'
  path.end = new UnreachableError('MCM_AGENT_UNREACHABLE', message)
  far.destroy(new Error('the session was ended'))
  await expect.poll(() => client.controls.length).toBe(1)
  const [{ opcode, payload } = { opcode: 0, payload: Buffer.alloc(0) }] = client.controls
  expect([opcode, payload.subarray(2).toString()]).toEqual([8, `mcm: ${message}`])
  await expect.poll(() => socket.destroyed).toBe(true)
})

it.each(['far', 'socket'] as const)('breaks off when %s is destroyed', async (which) => {
  const ends = joined()
  ends[which].destroy(new Error('gone'))
  await expect.poll(() => [ends.far.destroyed, ends.socket.destroyed]).toEqual([true, true])
  expect(ends.client.bytes().length).toBe(0)
})

it('carries the end of each direction by itself', async () => {
  const { socket, server, client, upstream } = joined()
  socket.end(socketFrame(2, Buffer.from('last'), KEY))
  await expect.poll(() => server.readableEnded).toBe(true)
  server.end(socketFrame(2, Buffer.from('answer')))
  await expect.poll(() => socket.readableEnded).toBe(true)
  expect(upstream.bytes().length).toBe(10)
  expect(client.bytes().subarray(2).toString()).toBe('answer')
})

it('makes the far end wait for a client that does not read, and the client for the far end', async () => {
  const path = new PipePath()
  const [far, server] = duplexPair()
  const answer = { isSwitched: true, headers: [], socket: far, early: Buffer.alloc(0) } as const
  const { socket } = patientWebSocket(answer, path)
  let sent = 0
  while (server.write(socketFrame(2, Buffer.alloc(16_000)))) sent += 16_000
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(server.writableNeedDrain).toBe(true)
  expect(sent).toBeLessThan(1 << 20)
  let written = 0
  while (socket.write(socketFrame(2, Buffer.alloc(16_000), KEY)) && written < 4 << 20)
    written += 16_000
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(socket.writableNeedDrain).toBe(true)
  expect(written).toBeLessThan(1 << 20)
  socket.destroy()
})

it('is not put in where there is no pipe', () => {
  const [far] = duplexPair()
  const answer = { isSwitched: true, headers: [], socket: far, early: Buffer.alloc(0) } as const
  expect(patientWebSocket(answer, PLAIN_PATH)).toBe(answer)
})

it('passes on together, in order, what came together, and answers the ping among it', async () => {
  const { path, far, socket, client, upstream } = joined()
  const writes = vi.spyOn(far, '_write')
  path.isSuspended = true
  const pieces = [socketFrame(2, Buffer.alloc(20_000, 'a'), KEY), ping('in the middle')]
  pieces.push(socketFrame(2, Buffer.alloc(20_000, 'b'), KEY))
  socket.cork()
  for (const piece of pieces) socket.write(piece)
  expect(writes).not.toHaveBeenCalled()
  socket.uncork()
  await expect.poll(() => upstream.bytes().length).toBe(Buffer.concat(pieces).length)
  expect(upstream.bytes()).toEqual(Buffer.concat(pieces))
  expect(client.controls).toEqual([{ opcode: 10, payload: Buffer.from('in the middle') }])
})

it('takes no more than it may hold while the far end reads nothing, and all of it in the end', async () => {
  const path = new PipePath()
  const [far, server] = duplexPair()
  const answer = { isSwitched: true, headers: [], socket: far, early: Buffer.alloc(0) } as const
  const { socket } = patientWebSocket(answer, path)
  const frame = socketFrame(2, Buffer.alloc(32_768, 'x'), KEY)
  let count = 0
  while (socket.write(frame)) count += 1
  socket.cork()
  socket.write(frame)
  socket.uncork()
  expect(count * frame.length).toBeLessThanOrEqual(1 << 19)
  await new Promise((resolve) => setImmediate(resolve))
  expect(socket.writableLength).toBeGreaterThan(0)
  const { bytes } = collect(server)
  await expect.poll(() => bytes().length).toBe((count + 2) * frame.length)
})
