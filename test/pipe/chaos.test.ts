import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { createSecureContext, TLSSocket } from 'node:tls'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openInner } from '../../src/client/inner.ts'
import { PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL } from '../../src/pipe/proof.ts'
import { agentIdentity } from '../client/certificates.ts'
import { type Seeded, seeded } from './seeded.ts'
import { type Ends, PipeStage, readAll, until } from './stage.ts'
import { startVirtualClock, type VirtualClock } from './virtual-clock.ts'
import type { Meddle } from './wire.ts'

/** Whatever carriers do, a pipe gives out what was put in, or ends. One seed is one story, on every machine. */

const HOST = 'c-aaaaaaaaaa.clusters.mcm.internal'
const LIMITS = {
  retryMs: 5,
  ackDelayMs: 5,
  lookMs: 5,
  settledMs: 20,
  attemptMs: 80,
  answerMs: 40,
  pingAfterMs: 20,
}
let stage: PipeStage
let clock: VirtualClock

beforeEach(() => {
  clock = startVirtualClock()
})
afterEach(() => {
  stage.close()
  clock.stop()
})

/** Cuts in the middle of anything, splits, and stands still for a while. */
function rough(random: Seeded): Meddle {
  return (chunk) => {
    const at = random.below(chunk.length + 1)
    const fate = random.below(60)
    if (fate === 0) return [chunk.subarray(0, at), 'cut']
    if (fate === 1) return [chunk.subarray(0, at), 'freeze']
    return fate < 30 ? [chunk.subarray(0, at), chunk.subarray(at)] : [chunk]
  }
}

/** Writes random bytes in random pieces, pausing at random; gives their hash when all are written. */
async function pour(stream: Duplex, random: Seeded, bytes: number): Promise<string> {
  const hash = createHash('sha256')
  for (let left = bytes; left > 0; ) {
    const size = Math.min(
      left,
      random.below(4) === 0 ? 1 + random.below(90_000) : 1 + random.below(300),
    )
    const piece = Buffer.alloc(size, random.below(256))
    hash.update(piece)
    left -= size
    if (!stream.write(piece)) await new Promise((resolve) => stream.once('drain', resolve))
    if (random.below(8) === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  stream.end()
  return hash.digest('hex')
}

/** Reads at random speed, with stops. */
async function drink(stream: Duplex, random: Seeded): Promise<string> {
  const hash = createHash('sha256')
  stream.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    if (random.below(20) > 0) return
    stream.pause()
    setTimeout(() => stream.resume(), random.below(15))
  })
  await new Promise<void>((resolve, reject) => {
    stream.once('end', resolve)
    stream.once('error', reject)
  })
  return hash.digest('hex')
}

describe('a carrier that cuts, delays, splits and freezes at random', () => {
  it.each(Array.from({ length: 20 }, (_, index) => index + 1))('seed %i', async (seed) => {
    const random = seeded(seed)
    stage = new PipeStage({ limits: LIMITS, random: (count) => random.bytes(count) })
    const { client, agent } = await stage.open()
    stage.meddle = rough(random)
    const bytes = 200_000 + random.below(800_000)
    const [up, down, atAgent, atClient] = await Promise.all([
      pour(client.stream, random, bytes),
      pour(agent.stream, random, bytes),
      drink(agent.stream, random),
      drink(client.stream, random),
    ])
    expect([atAgent, atClient]).toEqual([up, down])
    client.stream.destroy()
    agent.stream.destroy()
    await until(() => stage.acceptor.size === 0)
    await client.over
    await until(() => stage.budgets.client.heldBytes + stage.budgets.agent.heldBytes === 0)
  })
})

describe('a carrier that changes, repeats or drops bytes below TLS', () => {
  let identity: Awaited<ReturnType<typeof agentIdentity>>
  beforeAll(async () => {
    identity = await agentIdentity(HOST)
  })

  /** TLS on both ends, keys from its exporter, as in life. */
  async function withTls(): Promise<
    Ends & { readonly tls: { client: TLSSocket; agent: TLSSocket } }
  > {
    const ends = await stage.openUnarmed()
    const cert = identity.certPem
    const secureContext = createSecureContext({ cert, key: identity.keyPem.reveal() })
    const atAgent = new TLSSocket(ends.agent.stream, { isServer: true, secureContext })
    atAgent.on('error', () => {})
    const exporterOf = (socket: TLSSocket) =>
      socket.exportKeyingMaterial(PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL, Buffer.alloc(0))
    atAgent.once('secure', () => ends.agent.arm(exporterOf(atAgent), 'session'))
    const { certificatePem: serverCaPem } = identity.serverCa
    const atClient = await openInner(ends.client.stream, { host: HOST, serverCaPem, alpn: [] })
    ends.client.arm(exporterOf(atClient))
    const { core } = ends.client.stream as unknown as { core: { isResumable: boolean } }
    await until(() => core.isResumable)
    return { ...ends, tls: { client: atClient, agent: atAgent } }
  }

  it('gives TLS the time to read what has arrived when both ends are done', async () => {
    stage = new PipeStage({ limits: LIMITS })
    const { tls } = await withTls()
    const sent = seeded(3).bytes(50_000)
    tls.agent.pause()
    tls.client.end(sent)
    tls.agent.end()
    tls.client.resume()
    await until(() => stage.acceptor.size === 0)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const read = readAll(tls.agent)
    tls.agent.resume()
    expect((await read).equals(sent)).toBe(true)
  })

  it('is nothing to TLS when it only cuts', async () => {
    const random = seeded(7)
    stage = new PipeStage({ limits: LIMITS })
    const { tls } = await withTls()
    stage.meddle = rough(random)
    setTimeout(() => stage.lastWire.cut(), 5)
    const [up, down, atAgent, atClient] = await Promise.all([
      pour(tls.client, random, 400_000),
      pour(tls.agent, random, 400_000),
      drink(tls.agent, random),
      drink(tls.client, random),
    ])
    expect([atAgent, atClient]).toEqual([up, down])
    expect(stage.wires.length).toBeGreaterThan(1)
  })

  it.each(Array.from({ length: 12 }, (_, index) => index + 1))(
    'delivers a beginning of what was sent and nothing else (seed %i)',
    async (seed) => {
      const random = seeded(seed)
      stage = new PipeStage({ limits: { ...LIMITS, suspendedMs: 400 } })
      const { client, agent, tls } = await withTls()
      stage.meddle = evil(random)
      const sent = random.bytes(60_000)
      const got: Buffer[] = []
      tls.agent.on('data', (chunk: Buffer) => got.push(chunk))
      for (let at = 0; at < sent.length; at += 1_500)
        tls.client.write(sent.subarray(at, at + 1_500))
      tls.client.end()
      await until(() => agent.stream.destroyed || Buffer.concat(got).length === sent.length)
      const received = Buffer.concat(got)
      expect(received.equals(sent.subarray(0, received.length))).toBe(true)
      client.abandon()
    },
  )

  /** What no cable does and a hub can. */
  function evil(random: Seeded): Meddle {
    return (chunk) => {
      const fate = random.below(40)
      if (fate > 3 || chunk.length === 0) return [chunk]
      if (fate === 0) return [chunk, chunk]
      if (fate === 1) return []
      if (fate === 2) return [chunk.subarray(0, random.below(chunk.length))]
      const changed = Buffer.from(chunk)
      changed[random.below(changed.length)]! ^= 1 << random.below(8)
      return [changed]
    }
  }
})
