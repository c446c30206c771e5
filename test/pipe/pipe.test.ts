import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FRAME } from '../../src/pipe/frame.ts'
import { RESET } from '../../src/pipe/pipe-end.ts'
import { closed, hashAll, hashOf, PipeStage, readAll, type StageOptions, until } from './stage.ts'
import { startVirtualClock, type VirtualClock } from './virtual-clock.ts'

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

describe('a pipe that is never suspended', () => {
  it('carries both directions, and the end of each by itself', async () => {
    const { client, agent } = await staged().open()
    client.stream.end('a question')
    expect((await readAll(agent.stream)).toString()).toBe('a question')
    const answer = randomBytes(3 << 20)
    agent.stream.end(answer)
    expect(await hashAll(client.stream)).toBe(hashOf(answer))
    await until(() => stage.acceptor.size === 0)
    await until(() => stage.budgets.client.heldBytes + stage.budgets.agent.heldBytes === 0)
  })

  it('carries bulk both ways at once, with neither end reading before it has written', async () => {
    const { client, agent } = await staged().open()
    const bulk = randomBytes(24 << 20)
    const [atAgent, atClient] = [hashAll(agent.stream), hashAll(client.stream)]
    client.stream.end(bulk)
    agent.stream.end(bulk)
    expect(await Promise.all([atAgent, atClient])).toEqual([hashOf(bulk), hashOf(bulk)])
  })

  it('adds nine bytes to a frame, and little else', async () => {
    const { client, agent } = await staged().open()
    const before = stage.lastWire.carriedBytes()
    const hash = hashAll(agent.stream)
    for (let count = 0; count < 100; count++) client.stream.write(randomBytes(32 << 10))
    client.stream.end()
    await hash
    const overhead = stage.lastWire.carriedBytes() - before - 100 * (32 << 10)
    expect(overhead).toBeLessThan(4_000)
  })

  it('tells the other end of an abort at once, whatever waits', async () => {
    const { client, agent } = await staged().open()
    agent.stream.write(randomBytes(2 << 20))
    client.stream.write('half a')
    await until(() => agent.heldBytes > 0)
    const began = performance.now()
    client.stream.destroy()
    await closed(agent.stream)
    expect(performance.now() - began).toBeLessThan(1_000)
    expect(agent.stream.errored?.message).toBe(
      'the session with the client has ended: the other end broke it off',
    )
    await until(() => stage.acceptor.size === 0)
    await until(() => stage.budgets.client.heldBytes + stage.budgets.agent.heldBytes === 0)
  })

  it('delivers what was written before it was closed', async () => {
    const { client, agent } = await staged().open()
    const bytes = randomBytes(1 << 20)
    client.stream.end(bytes)
    client.stream.once('finish', () => client.stream.destroy())
    expect(await hashAll(agent.stream)).toBe(hashOf(bytes))
  })

  it('says why the agent’s side ended it', async () => {
    const { client, agent } = await staged().open()
    agent.blame(RESET.notAllowed)
    agent.stream.destroy()
    await closed(client.stream)
    expect(client.stream.errored?.message).toBe(
      'the session with the agent of c has ended: its certificate or grant no longer stands',
    )
    const other = await stage.open()
    stage.acceptor.stop()
    await closed(other.client.stream)
    expect(other.client.stream.errored?.message).toContain('the agent was stopped')
  })
})

describe('a reader that stands still', () => {
  it('makes its writer wait, and holds at most the limits', async () => {
    const { client, agent } = await staged().open()
    let written = 0
    const write = () => {
      while (client.stream.write(Buffer.alloc(64 << 10))) written += 64 << 10
      written += 64 << 10
    }
    client.stream.on('drain', write)
    write()
    await until(() => client.stream.writableNeedDrain)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(stage.budgets.agent.heldBytes).toBeLessThanOrEqual(64 << 10)
    expect(stage.budgets.client.heldBytes).toBeLessThanOrEqual((4 << 20) + (64 << 10))
    expect(written).toBeLessThan(5 << 20)
    expect(agent.stream.readableLength).toBeLessThan(256 << 10)
  })

  it('does not keep acknowledgements from passing: the other direction flows', async () => {
    const { client, agent } = await staged().open()
    client.stream.write(Buffer.alloc(2 << 20))
    const bulk = randomBytes(20 << 20)
    const hash = hashAll(client.stream)
    agent.stream.end(bulk)
    expect(await hash).toBe(hashOf(bulk))
    expect(agent.stream.readableFlowing).toBe(null)
  })

  it('cannot make one process hold more than its cap, and others go on', async () => {
    const capBytes = 4 << 20
    staged({ capBytes })
    for (let count = 0; count < 4; count++) {
      const { client } = await stage.open()
      client.stream.write(Buffer.alloc(8 << 20))
    }
    const { client, agent } = await stage.open()
    const bulk = randomBytes(8 << 20)
    const hash = hashAll(agent.stream)
    client.stream.end(bulk)
    expect(await hash).toBe(hashOf(bulk))
    expect(stage.budgets.agent.heldBytes).toBeLessThan(capBytes)
  })
})

describe('a pipe whose carrier is lost', () => {
  it('goes on with another, and neither end loses or repeats a byte', async () => {
    const { client, agent } = await staged().open()
    const [up, down] = [randomBytes(12 << 20), randomBytes(12 << 20)]
    const [atAgent, atClient] = [hashAll(agent.stream), hashAll(client.stream)]
    client.stream.end(up)
    agent.stream.end(down)
    for (let cut = 0; cut < 5; cut++) {
      await until(() => stage.lastWire.carriedBytes() > 1 << 20)
      stage.lastWire.cut()
      await until(() => stage.wires.length === cut + 2)
    }
    expect(await Promise.all([atAgent, atClient])).toEqual([hashOf(up), hashOf(down)])
    await until(() => stage.acceptor.size === 0)
    await until(() => stage.budgets.client.heldBytes + stage.budgets.agent.heldBytes === 0)
  })

  it('asks for the replica that opened it', async () => {
    const { client } = await staged().open()
    stage.lastWire.cut()
    await until(() => stage.wishes.length === 2 && !client.isSuspended)
    expect(stage.wishes.map(({ replica, attempt }) => ({ replica, attempt }))).toEqual([
      { replica: undefined, attempt: 0 },
      { replica: 'agent-a', attempt: 1 },
    ])
    expect(stage.changes).toEqual([true, false])
  })

  it('takes what is written while it is suspended, until its replay is full', async () => {
    const { client, agent } = await staged().open()
    let mayDial = false
    stage.onDial = async () => {
      if (!mayDial) throw new Error('no network')
      return undefined
    }
    stage.lastWire.cut()
    await until(() => client.isSuspended && agent.isSuspended)
    let written = 0
    const write = () => {
      written += 64 << 10
      return client.stream.write(Buffer.alloc(64 << 10, 'x'))
    }
    while (client.stream.writableLength === 0 && written < 8 << 20) write()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(client.stream.writableLength).toBe(64 << 10)
    expect(written).toBe(4 << 20)
    expect(write()).toBe(false)
    const length = readAll(agent.stream)
    client.stream.end()
    mayDial = true
    expect((await length).length).toBe(written)
  })

  it('brings an end and an abort across as well', async () => {
    const ended = await staged().open()
    stage.lastWire.freeze()
    ended.client.stream.end('last words')
    stage.lastWire.cut()
    expect((await readAll(ended.agent.stream)).toString()).toBe('last words')
    const aborted = await stage.open()
    stage.lastWire.freeze()
    aborted.client.stream.destroy()
    stage.lastWire.cut()
    await closed(aborted.agent.stream)
    expect(aborted.agent.stream.errored?.message).toContain('the other end broke it off')
    const revoked = await stage.open()
    stage.lastWire.freeze()
    revoked.agent.blame(RESET.notAllowed)
    revoked.agent.stream.destroy()
    stage.lastWire.cut()
    await closed(revoked.client.stream)
    expect(revoked.client.stream.errored?.message).toContain('no longer stands')
    await until(() => stage.wishes.length === 6)
  })

  it('notices a path that went silent without a word', async () => {
    staged({ limits: { pingAfterMs: 60, answerMs: 60 } })
    const { client, agent } = await stage.open()
    stage.lastWire.freeze()
    client.stream.end('hello?')
    expect((await readAll(agent.stream)).toString()).toBe('hello?')
    const idle = await stage.open()
    stage.lastWire.freeze()
    await until(() => stage.wires.length === 4 && !idle.client.isSuspended)
    expect(stage.logged).toContainEqual({
      event: 'session_suspended',
      fields: { peer: 'the agent of c', reason: 'nothing was heard on the way any more' },
    })
  })

  it('does not take silence for death: a quiet path answers pings and stays', async () => {
    staged({ limits: { pingAfterMs: 20, answerMs: 200 } })
    await stage.open()
    const before = stage.lastWire.carriedBytes()
    await until(() => stage.lastWire.carriedBytes() >= before + 5 * 18)
    expect(stage.wires.length).toBe(1)
  })

  it('asks at once when the machine has slept', async () => {
    staged({ limits: { answerAwakeMs: 30 } })
    const { client } = await stage.open()
    stage.lastWire.freeze()
    stage.aheadMs += 60_000
    await until(() => stage.wires.length === 2 && !client.isSuspended)
  })

  it('is still one pipe when its resuming is cut, again and again', async () => {
    const { client, agent } = await staged().open()
    let frames = 0
    stage.meddle = (chunk) => {
      frames += 1
      return frames < 60 && frames % 3 === 0 ? [chunk.subarray(0, 3), 'cut'] : [chunk]
    }
    stage.lastWire.cut()
    const bulk = randomBytes(1 << 20)
    const hash = hashAll(agent.stream)
    client.stream.end(bulk)
    expect(await hash).toBe(hashOf(bulk))
    expect(stage.wires.length).toBeGreaterThan(5)
  })
})

describe('a last word that is lost on the way', () => {
  /** Both ends say their last; the frame of that type toward that side is lost, and the carrier with it. */
  async function losing(type: number, toward: 'agent' | 'client', fate: 'cut' | 'freeze') {
    staged({ limits: { answerMs: 60 } })
    const { client, agent } = await stage.open()
    let lost = 0
    stage.meddle = (chunk, to) => {
      const isIt = to === toward && chunk[0] === type && lost === 0
      if (isIt) lost += 1
      return isIt ? [fate] : [chunk]
    }
    return { client, agent, lost: () => lost }
  }

  it.each(['cut', 'freeze'] as const)(
    'is said again by the client, which goes last (%s)',
    async (fate) => {
      const { client, agent, lost } = await losing(FRAME.ack, 'agent', fate)
      client.stream.end()
      await readAll(agent.stream)
      agent.stream.end()
      await readAll(client.stream)
      await until(() => stage.acceptor.size === 0)
      await client.over
      expect([lost(), stage.wires.length]).toEqual([1, 2])
    },
  )

  it('is said again where the agent broke it off', async () => {
    const { client, agent, lost } = await losing(FRAME.closed, 'agent', 'cut')
    agent.blame(RESET.notAllowed)
    agent.stream.destroy()
    await closed(client.stream)
    await until(() => stage.acceptor.size === 0)
    await client.over
    expect([lost(), stage.wires.length]).toEqual([1, 2])
  })

  it('is not waited for when the agent has forgotten the pipe by then', async () => {
    const { client, agent, lost } = await losing(FRAME.ack, 'client', 'cut')
    agent.stream.end()
    await readAll(client.stream)
    client.stream.end()
    await readAll(agent.stream)
    await until(() => stage.acceptor.size === 0)
    client.stream.destroy()
    await client.over
    expect([lost(), stage.wires.length]).toEqual([1, 2])
  })

  it('is not waited for without end: an agent that does not let go is let go of', async () => {
    staged({ limits: { lingerMs: 80, answerMs: 60_000 } })
    const { client, agent } = await stage.open()
    stage.lastWire.agent.end = () => stage.lastWire.agent
    const read = Promise.all([readAll(client.stream), readAll(agent.stream)])
    client.stream.end()
    agent.stream.end()
    await read
    await client.over
    expect(client.stream.destroyed).toBe(false)
  })
})

describe('a pipe without a way', () => {
  it('ends at both ends when its time is over, and says what it heard last', async () => {
    staged({ limits: { suspendedMs: 120 } })
    const { client, agent } = await stage.open()
    stage.onDial = () => {
      throw new Error('hub 192.0.2.7:8443 cannot be reached: connection refused')
    }
    stage.lastWire.cut()
    await Promise.all([closed(client.stream), closed(agent.stream)])
    expect(client.stream.errored?.message).toBe(
      'the session with the agent of c has ended: it was interrupted for more than two minutes ' +
        '(hub 192.0.2.7:8443 cannot be reached: connection refused)',
    )
    expect(agent.stream.errored?.message).toContain('for more than two minutes')
    expect(stage.acceptor.size).toBe(0)
  })

  it('ends by the wall clock when the machine slept through its time', async () => {
    const { client, agent } = await staged().open()
    stage.onDial = () => {
      throw new Error('no network')
    }
    stage.lastWire.cut()
    await until(() => client.isSuspended && agent.isSuspended)
    stage.aheadMs += 160_000
    await Promise.all([closed(client.stream), closed(agent.stream)])
  })

  it('ends at once when the carrier is lost before there are keys', async () => {
    const { client, agent } = await staged().openUnarmed()
    client.stream.write('client hello')
    stage.lastWire.cut()
    await Promise.all([closed(client.stream), closed(agent.stream)])
    expect(stage.wishes.length).toBe(1)
    expect(client.stream.errored?.message).toBe(
      'the connection to the agent of c broke off: the wire was cut',
    )
  })

  it('keeps nothing for replay before there are keys', async () => {
    const { client, agent } = await staged().openUnarmed()
    client.stream.write(randomBytes(8_000))
    agent.stream.resume()
    await until(() => stage.lastWire.carriedBytes() > 8_000)
    expect(stage.budgets.client.heldBytes).toBe(0)
  })

  it('ends at the client, too, when only the client has its keys', async () => {
    const { client } = await staged().openUnarmed()
    client.arm(randomBytes(80))
    stage.lastWire.cut()
    await closed(client.stream)
    expect(stage.wishes.length).toBe(1)
  })

  it('is not waited for by an agent whose client fell silent', async () => {
    staged({ limits: { silentMs: 50, pingAfterMs: 60_000 } })
    const { agent } = await stage.open()
    await closed(agent.stream)
    expect(stage.acceptor.size).toBe(0)
  })

  it('gives up a carrier that somebody dials too slowly', async () => {
    staged({ limits: { attemptMs: 30 } })
    const { client } = await stage.open()
    let attempts = 0
    stage.onDial = async () => {
      attempts += 1
      if (attempts === 1) await new Promise((resolve) => setTimeout(resolve, 150))
      return undefined
    }
    stage.lastWire.cut()
    await until(() => attempts === 2 && !client.isSuspended)
    await until(() => stage.wires.length === 3)
    await closed(stage.wires[2]!.client)
    expect(client.isSuspended).toBe(false)
  })
})
