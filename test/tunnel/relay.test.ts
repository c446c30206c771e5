import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { startRelay } from '../../src/tunnel/relay.ts'
import { closed, socketPair } from './socket-pair.ts'

/** client ⇄ [left relay right] ⇄ server */
async function relayed() {
  const outer = await socketPair()
  const inner = await socketPair()
  const relay = startRelay(outer.accepted, inner.dialled)
  return { client: outer.dialled, server: inner.accepted, relay }
}

async function countUntilEnd(stream: Duplex): Promise<number> {
  let count = 0
  for await (const chunk of stream) count += (chunk as Buffer).length
  return count
}

/** Writes until the pipe is full, and says how much went in. */
function fill(socket: Socket, chunk: Buffer): number {
  let written = 0
  while (socket.writableLength < 1 << 20) {
    socket.write(chunk)
    written += chunk.length
  }
  return written
}

describe('a relay between two byte streams', () => {
  it('carries both directions and counts them', async () => {
    const { client, server, relay } = await relayed()
    client.end('hello')
    expect(String((await once(server, 'data'))[0])).toBe('hello')
    server.end('good day')
    expect(String((await once(client, 'data'))[0])).toBe('good day')
    expect(await relay.done).toEqual({ sent: 5, received: 8, aborted: false })
  })

  it('delivers 3 MB that follow the other side’s half-close', async () => {
    const { client, server, relay } = await relayed()
    client.end('question')
    server.resume()
    await once(server, 'end')
    server.end(Buffer.alloc(3_000_000))
    expect(await countUntilEnd(client)).toBe(3_000_000)
    expect(await relay.done).toEqual({ sent: 8, received: 3_000_000, aborted: false })
  })

  it('stops reading when the receiver stops, and goes on when it goes on', async () => {
    const { client, server, relay } = await relayed()
    server.pause()
    client.on('error', () => {})
    const chunk = Buffer.alloc(64 << 10)
    let written = 0
    // Until nothing moves any more between two looks of the event loop.
    for (let idle = 0; idle < 50; idle += 1) {
      const before = relay.carriedBytes()
      if (client.writableLength < 1 << 20) written += fill(client, chunk)
      await new Promise((resolve) => setImmediate(resolve))
      if (relay.carriedBytes() !== before) idle = 0
    }
    expect(relay.bufferedBytes()).toBeLessThan(1 << 20)
    client.end()
    expect(await countUntilEnd(server)).toBe(written)
    server.end()
    expect((await relay.done).sent).toBe(written)
  })

  it.each(['client', 'server'] as const)('ends the other side when the %s dies', async (who) => {
    const { relay, ...ends } = await relayed()
    const survivor = who === 'client' ? ends.server : ends.client
    survivor.on('error', () => {})
    survivor.resume()
    ends[who].write('x')
    await once(survivor, 'data')
    const died = performance.now()
    ends[who].resetAndDestroy()
    await closed(survivor)
    expect(performance.now() - died).toBeLessThan(1000)
    expect((await relay.done).aborted).toBe(true)
  })

  it('carries a half-close that came before it began', async () => {
    const outer = await socketPair()
    const inner = await socketPair()
    outer.dialled.end()
    outer.accepted.resume()
    await once(outer.accepted, 'end')
    const relay = startRelay(outer.accepted, inner.dialled)
    inner.accepted.resume()
    await once(inner.accepted, 'end')
    inner.accepted.end('answer')
    expect(String((await once(outer.dialled, 'data'))[0])).toBe('answer')
    expect(await relay.done).toEqual({ sent: 0, received: 6, aborted: false })
  })

  it('ends both sides when told to', async () => {
    const { client, server, relay } = await relayed()
    for (const socket of [client, server]) socket.on('error', () => {}).resume()
    relay.abort()
    await Promise.all([closed(client), closed(server)])
    expect((await relay.done).aborted).toBe(true)
  })

  it('ends the other side at once when one is already gone', async () => {
    const outer = await socketPair()
    const inner = await socketPair()
    outer.accepted.destroy()
    const relay = startRelay(outer.accepted, inner.dialled)
    inner.accepted.on('error', () => {}).resume()
    await closed(inner.accepted)
    expect(await relay.done).toEqual({ sent: 0, received: 0, aborted: true })
  })
})
