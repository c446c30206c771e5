import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ControlFrame, FRAME, FrameReader, frame, offsetBytes } from '../../src/pipe/frame.ts'
import { closed, hashAll, hashOf, PipeStage, readAll, type StageOptions, until } from './stage.ts'
import { startVirtualClock, type VirtualClock } from './virtual-clock.ts'
import { wire } from './wire.ts'

/** Whoever carries a pipe: it sees ids and frames, and may do with them what it likes. */

const QUICK = { retryMs: 20, ackDelayMs: 10, lookMs: 10, settledMs: 50 }
let stage: PipeStage
let clock: VirtualClock

beforeEach(() => {
  clock = startVirtualClock()
})
afterEach(() => {
  stage.close()
  clock.stop()
})

function staged(options: StageOptions = {}): PipeStage {
  stage = new PipeStage({ ...options, limits: { ...QUICK, ...options.limits } })
  return stage
}

/** What an end says on a connection, as frames. DATA counts as one frame a piece. */
function framesOf(stream: Duplex): ControlFrame[] {
  const frames: ControlFrame[] = []
  const reader = new FrameReader()
  const sink = {
    onData: (offset: number, payload: Buffer) => frames.push({ type: FRAME.data, offset, payload }),
    onFrame: (each: ControlFrame) => frames.push(each),
  }
  stream.on('error', () => {})
  stream.on('data', (chunk: Buffer) => reader.push(chunk, sink))
  return frames
}

/** Everything that passes toward one side, kept as it is said. */
function recorder() {
  const said: Buffer[] = []
  return {
    said,
    meddle: (chunk: Buffer, toward: string) => {
      if (toward === 'agent') said.push(Buffer.from(chunk))
      return [chunk]
    },
  }
}

function ended(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.readableEnded || stream.closed) resolve()
    stream.once('end', resolve)
    stream.once('close', resolve)
  })
}

const typesOf = (frames: readonly ControlFrame[]) => frames.map(({ type }) => type)

describe('a hub that wants to take a session over', () => {
  it('gets nowhere with an id it has seen: no key, no bytes, and the session goes on', async () => {
    const seen = recorder()
    const { client, agent } = await staged().open()
    stage.meddle = seen.meddle
    stage.lastWire.cut()
    await until(() => stage.wires.length === 2 && !client.isSuspended)
    const id = seen.said[0]!.subarray(9, 25)
    agent.stream.write('secret')
    const forged = stage.connect((chunk) => [chunk])
    const answers = framesOf(forged)
    const generation = Buffer.from([0, 0, 0, 9])
    forged.write(frame(FRAME.resume, 0, Buffer.concat([id, generation, randomBytes(16)])))
    await until(() => answers.length === 1)
    expect(typesOf(answers)).toEqual([FRAME.challenge])
    forged.write(frame(FRAME.proof, 0, randomBytes(32)))
    await closed(forged)
    expect(answers.length).toBe(1)
    expect(stage.logged.map(({ event }) => event)).toContain('resume_not_proved')
    const said = readAll(client.stream)
    agent.stream.end()
    expect((await said).toString()).toBe('secret')
  })

  it('gets nowhere by saying an old resume again, on one carrier or another', async () => {
    const seen = recorder()
    const { client, agent } = await staged().open()
    stage.meddle = seen.meddle
    stage.lastWire.cut()
    await until(() => stage.wires.length === 2 && !client.isSuspended)
    const [resume, proof] = seen.said.slice(0, 2)
    const again = stage.connect((chunk) => [chunk])
    const answers = framesOf(again)
    again.write(resume!)
    await ended(again)
    expect(answers).toMatchObject([{ type: FRAME.refused, payload: Buffer.from([2]) }])
    // With a later generation it is another attempt, for which the recorded proof is none.
    const later = Buffer.from(resume!)
    later.writeUInt32BE(77, 9 + 16)
    const other = stage.connect((chunk) => [chunk])
    const others = framesOf(other)
    other.write(Buffer.concat([later, proof!]))
    await closed(other)
    expect(typesOf(others)).toEqual([FRAME.challenge])
    const hash = hashAll(agent.stream)
    client.stream.end('still mine')
    expect(await hash).toBe(hashOf(Buffer.from('still mine')))
  })

  it('cannot answer for the agent', async () => {
    const { client, agent } = await staged().open()
    let impostors = 0
    const said: ControlFrame[][] = []
    stage.onDial = () => {
      if (impostors === 3) return undefined
      impostors += 1
      const played = wire()
      said.push(framesOf(played.agent))
      played.agent.write(frame(FRAME.challenge, 0, randomBytes(48)))
      return played.client
    }
    stage.lastWire.cut()
    client.stream.write('for the agent’s ears')
    await until(() => impostors === 3)
    await until(() => !client.isSuspended)
    const hash = hashAll(agent.stream)
    client.stream.end()
    expect(await hash).toBe(hashOf(Buffer.from('for the agent’s ears')))
    for (const frames of said) expect(typesOf(frames)).toEqual([FRAME.resume])
  })

  it('cannot pass the old path off as the new one: the later generation fences it', async () => {
    const { client, agent } = await staged().open()
    // The attempt of generation 1 gets through to its proof, which is held up with all that follows.
    let late: { readonly proof: Buffer; readonly to: Duplex } | undefined
    stage.meddle = (chunk, toward) => {
      if (late || toward === 'client' || chunk[0] !== FRAME.proof) return [chunk]
      late = { proof: Buffer.from(chunk), to: stage.lastWire.agent }
      stage.lastWire.freeze()
      return []
    }
    stage.lastWire.cut()
    await until(() => late !== undefined && !client.isSuspended)
    // The client takes it for good until it is lost; then generation 2 succeeds.
    stage.lastWire.client.destroy(new Error('lost'))
    await until(() => stage.wires.length === 3 && !client.isSuspended && !agent.isSuspended)
    late!.to.push(late!.proof)
    await until(() => late!.to.writableEnded)
    expect(stage.lastWire.client.destroyed).toBe(false)
    const hash = hashAll(agent.stream)
    client.stream.end('on the new path')
    expect(await hash).toBe(hashOf(Buffer.from('on the new path')))
  })
})

describe('a hub that wants a session to end', () => {
  it('does not end it by refusing, however often: another way is tried', async () => {
    const { client, agent } = await staged().open()
    let refusals = 0
    stage.meddle = (chunk, toward) => {
      if (toward === 'agent' && chunk[0] === FRAME.resume && refusals < 4) {
        refusals += 1
        const { agent: end } = stage.lastWire
        setImmediate(() => end.write(frame(FRAME.refused, 0, Buffer.from([(refusals % 4) + 1]))))
        return []
      }
      return [chunk]
    }
    stage.lastWire.cut()
    const hash = hashAll(agent.stream)
    client.stream.end('patience')
    expect(await hash).toBe(hashOf(Buffer.from('patience')))
    expect(refusals).toBe(4)
  })

  it('breaks it, and no more, by acknowledging what never arrived', async () => {
    staged({ limits: { suspendedMs: 500 } })
    const { client, agent } = await stage.open()
    const read: Buffer[] = []
    agent.stream.on('data', (chunk: Buffer) => read.push(chunk))
    const { agent: end } = stage.lastWire
    stage.meddle = (chunk, toward) => {
      if (toward === 'client') return [chunk]
      end.write(frame(FRAME.ack, 5, offsetBytes(1 << 20)))
      return []
    }
    client.stream.write('never arrives')
    await until(() => stage.budgets.client.heldBytes < 13)
    stage.meddle = (chunk) => [chunk]
    stage.lastWire.cut()
    client.stream.write(' nor this')
    await Promise.all([closed(client.stream), closed(agent.stream)])
    expect(Buffer.concat(read).length).toBe(0)
  })

  it('costs one carrier by acknowledging what was never sent, or sending what was not allowed', async () => {
    const { client, agent } = await staged().open()
    stage.lastWire.agent.write(frame(FRAME.ack, 1 << 40, offsetBytes(1 << 41)))
    await until(() => stage.wires.length === 2 && !client.isSuspended)
    stage.lastWire.client.write(frame(FRAME.data, 70_000, Buffer.from('from the future')))
    await until(() => stage.wires.length === 3 && !client.isSuspended)
    stage.lastWire.client.write(frame(99))
    await until(() => stage.wires.length === 4 && !client.isSuspended)
    stage.lastWire.client.write(frame(FRAME.fin, 12))
    await until(() => stage.wires.length === 5 && !client.isSuspended)
    stage.lastWire.client.write(frame(FRAME.open, 0, Buffer.from([1])))
    await until(() => stage.wires.length === 6 && !client.isSuspended)
    const hash = hashAll(agent.stream)
    client.stream.end('unharmed')
    expect(await hash).toBe(hashOf(Buffer.from('unharmed')))
  })

  it('cannot make an end hold more by promising limits that nobody gave', async () => {
    const { client } = await staged().open()
    stage.meddle = (chunk, toward) => (toward === 'agent' ? [] : [chunk])
    stage.lastWire.agent.write(frame(FRAME.ack, 0, offsetBytes(1 << 40)))
    for (let count = 0; count < 200; count++) client.stream.write(Buffer.alloc(64 << 10))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(stage.budgets.client.heldBytes).toBeLessThanOrEqual(4 << 20)
  })

  it('cannot make a reader keep more than it allowed by sending the same again', async () => {
    const { client, agent } = await staged().open()
    client.stream.write(Buffer.alloc(60_000))
    await until(() => agent.stream.readableLength + agent.heldBytes === 60_000)
    for (let count = 0; count < 50; count++)
      stage.lastWire.client.write(frame(FRAME.data, 0, Buffer.alloc(60_000)))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(agent.stream.readableLength + agent.heldBytes).toBe(60_000)
    expect(stage.wires.length).toBe(1)
  })
})

describe('a stranger on a carrier', () => {
  it.each([
    ['bytes that are no frame', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['DATA first', frame(FRAME.data, 0, Buffer.from('x'))],
    ['a proof first', frame(FRAME.proof, 0, randomBytes(32))],
    ['a RESUME too short', frame(FRAME.resume, 0, randomBytes(20))],
    [
      'DATA without data',
      Buffer.concat([frame(FRAME.open, 0, Buffer.from([1])), frame(FRAME.data)]),
    ],
    [
      'a frame of control that is too long',
      Buffer.concat([
        frame(FRAME.open, 0, Buffer.from([1])),
        frame(FRAME.ack, 0, Buffer.alloc(300)),
      ]),
    ],
  ])('is sent away for %s', async (_what, bytes) => {
    staged()
    const connection = stage.connect()
    framesOf(connection)
    connection.write(bytes)
    await closed(connection)
    await until(() => stage.acceptor.size === 0)
  })

  it('is told of another version, and of an id that nobody has', async () => {
    staged()
    const old = stage.connect()
    const answers = framesOf(old)
    old.write(frame(FRAME.open, 0, Buffer.from([2])))
    await ended(old)
    expect(answers).toMatchObject([{ type: FRAME.refused, payload: Buffer.from([3]) }])
    const lost = stage.connect()
    const others = framesOf(lost)
    lost.write(frame(FRAME.resume, 0, randomBytes(36)))
    await ended(lost)
    expect(others).toMatchObject([{ type: FRAME.refused, payload: Buffer.from([1]) }])
  })

  it('does not keep a place by saying nothing, nor by asking and not proving', async () => {
    staged({ limits: { attemptMs: 30 } })
    const silent = stage.connect()
    framesOf(silent)
    await closed(silent)
    const seen = recorder()
    const { client } = await stage.open()
    stage.meddle = seen.meddle
    stage.lastWire.cut()
    await until(() => stage.wires.length === 3 && !client.isSuspended)
    const asking = stage.connect((chunk) => [chunk])
    const answers = framesOf(asking)
    const later = Buffer.from(seen.said[0]!)
    later.writeUInt32BE(9, 9 + 16)
    asking.write(later)
    await closed(asking)
    expect(typesOf(answers)).toEqual([FRAME.challenge])
    expect(client.isSuspended).toBe(false)
  })

  it('cannot pile up sessions that have ended and wait for somebody to hear of it', async () => {
    staged()
    for (let count = 0; count < 300; count++) {
      const { client, agent } = await stage.open()
      stage.lastWire.freeze()
      agent.stream.destroy()
      client.abandon()
    }
    await until(() => stage.acceptor.size === 256)
  })

  it('makes the agent hold no memory with tiny frames by the ten thousand that nobody reads', async () => {
    const { client, agent } = await staged().open()
    stage.meddle = (chunk, toward) => (toward === 'agent' ? [chunk] : [])
    const before = process.memoryUsage().arrayBuffers
    for (let batch = 0; batch < 600; batch++) {
      const frames = Array.from({ length: 100 }, (_, index) =>
        frame(FRAME.data, batch * 100 + index, Buffer.from('x')),
      )
      stage.lastWire.client.write(Buffer.concat(frames))
    }
    await until(() => agent.stream.readableLength + agent.heldBytes === 60_000)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(60 << 20)
    expect(client.isSuspended).toBe(false)
  })
})
