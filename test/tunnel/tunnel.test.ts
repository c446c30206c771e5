import type { ClientHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { NotFoundError } from '../../src/errors.ts'
import { serveTunnel, type TunnelHandlers } from '../../src/tunnel/agent-end.ts'
import { type HubTunnelOptions, openTunnel } from '../../src/tunnel/hub-end.ts'
import { relay } from '../../src/tunnel/relay.ts'
import type { Log } from '../../src/world.ts'
import { closed, socketPair } from './socket-pair.ts'

const silent: Log = { info() {}, warn() {}, error() {} }
const echo = (_authority: string, _headers: unknown, stream: Duplex) => {
  stream.on('error', () => {})
  stream.pipe(stream)
}
const nothing: TunnelHandlers = {
  request: async () => ({ status: 200, body: {} }),
  connect: echo,
}
const sockets: Socket[] = []

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})

async function tunnel(
  handlers: Partial<TunnelHandlers> = {},
  options: Partial<HubTunnelOptions> = {},
) {
  const { accepted, dialled } = await socketPair()
  sockets.push(accepted, dialled)
  const agent = serveTunnel(dialled, { ...nothing, ...handlers }, { log: silent, ...options })
  const hub = openTunnel(accepted, { log: silent, ...options })
  return { hub, agent, accepted, dialled }
}

/** By events: async iteration takes a finished HTTP/2 stream for a broken one. */
function text(stream: Duplex): Promise<string> {
  return new Promise((resolve, reject) => {
    let all = ''
    stream.on('data', (chunk) => {
      all += String(chunk)
    })
    stream.once('end', () => resolve(all))
    stream.once('error', reject)
  })
}

describe('a tunnel', () => {
  it('carries a JSON exchange from the hub to the agent', async () => {
    const { hub } = await tunnel({
      request: async (method, path, body) => ({
        status: 201,
        body: { method, path, said: JSON.parse(body.toString()) },
      }),
    })
    expect(await hub.request('POST', '/.mcm/v1/directory', { hello: 'Łukasz' })).toEqual({
      status: 201,
      body: { method: 'POST', path: '/.mcm/v1/directory', said: { hello: 'Łukasz' } },
    })
  })

  it('answers a refused CONNECT with the refusal’s status and goes on', async () => {
    const { hub } = await tunnel({
      connect(authority, headers, stream) {
        if (authority !== 'good:443') throw new NotFoundError('MCM_NOT_FOUND', 'not here')
        echo(authority, headers, stream)
      },
    })
    await expect(hub.connect('evil:443')).rejects.toThrow(
      'the agent refused evil:443 with status 404',
    )
    const stream = await hub.connect('good:443')
    stream.end('still here')
    expect(await text(stream)).toBe('still here')
    await expect.poll(() => hub.openStreams()).toBe(0)
  })

  it('tells the agent the headers of a CONNECT', async () => {
    const seen: unknown[] = []
    const { hub } = await tunnel({
      connect: (authority, headers, stream) => {
        seen.push(authority, headers['mcm-forwarded-for'])
        stream.end()
      },
    })
    await text(await hub.connect('c:443', { 'mcm-forwarded-for': '192.0.2.7' }))
    expect(seen).toEqual(['c:443', '192.0.2.7'])
  })

  it('answers a bug in a handler with 500 and says nothing of it', async () => {
    const { hub } = await tunnel({
      request: async () => {
        throw new Error('secret detail')
      },
    })
    const answer = await hub.request('GET', '/x')
    expect(answer.status).toBe(500)
    expect(JSON.stringify(answer.body)).not.toContain('secret')
  })

  it('gives up an agent that never answers a CONNECT or a request', async () => {
    const { hub } = await tunnel({ request: () => new Promise(() => {}) }, { answerTimeoutMs: 30 })
    await expect(hub.request('GET', '/')).rejects.toMatchObject({
      code: 'MCM_AGENT_UNREACHABLE',
      message: 'the agent did not answer within 30 ms',
    })
  })

  it('carries half-close: 3 MB that follow the end of the request', async () => {
    const { hub } = await tunnel({
      connect(_authority, _headers, stream) {
        stream.resume()
        stream.once('end', () => stream.end(Buffer.alloc(3_000_000, 'x')))
      },
    })
    const stream = await hub.connect('c:443')
    stream.end('go')
    expect((await text(stream)).length).toBe(3_000_000)
  })

  it('survives 3 000 streams aborted at once, and so do other streams', async () => {
    const { hub, agent } = await tunnel()
    const bystander = await hub.connect('c:443')
    const streams = await Promise.all(Array.from({ length: 3000 }, () => hub.connect('c:443')))
    for (const stream of streams) {
      stream.on('error', () => {})
      stream.destroy(new Error('aborted'))
    }
    bystander.end('alive')
    expect(await text(bystander)).toBe('alive')
    expect(hub.isOpen() && agent.isOpen()).toBe(true)
    await expect.poll(() => hub.openStreams()).toBe(0)
    await expect(hub.request('GET', '/')).resolves.toMatchObject({ status: 200 })
  })

  it('moves bulk both ways at once on many streams without locking up', async () => {
    const { hub } = await tunnel({
      connect(_authority, _headers, stream) {
        stream.resume()
        stream.end(Buffer.alloc(24 << 20))
      },
    })
    const received = Array.from({ length: 8 }, async () => {
      const stream = await hub.connect('c:443')
      stream.end(Buffer.alloc(24 << 20))
      return (await text(stream)).length
    })
    expect(new Set(await Promise.all(received))).toEqual(new Set([24 << 20]))
  })

  it('does not stall other streams behind a slow reader', async () => {
    const { hub } = await tunnel({
      connect(authority, headers, stream) {
        if (authority === 'flood:443') stream.end(Buffer.alloc(16 << 20))
        else echo(authority, headers, stream)
      },
    })
    const slow = await Promise.all(Array.from({ length: 20 }, () => hub.connect('flood:443')))
    const stream = await hub.connect('c:443')
    stream.end(Buffer.alloc(8 << 20, 'x'))
    expect((await text(stream)).length).toBe(8 << 20)
    for (const each of slow) each.destroy()
  })

  it.each([
    ['the hub', 'accepted'],
    ['the agent', 'dialled'],
  ] as const)('ends every stream when %s loses its socket', async (_who, side) => {
    const pair = await tunnel()
    const stream = await pair.hub.connect('c:443')
    stream.on('error', () => {})
    pair[side].destroy()
    await Promise.all([closed(stream), pair.hub.closed, pair.agent.closed])
    await expect(pair.hub.connect('c:443')).rejects.toMatchObject({ code: 'MCM_AGENT_UNREACHABLE' })
  })

  it('hands an abort of a relayed stream through within a second', async () => {
    const ends: Duplex[] = []
    const { hub } = await tunnel({
      connect: (_authority, _headers, stream) => {
        ends.push(stream)
        stream.on('error', () => {}).resume()
      },
    })
    const { accepted, dialled } = await socketPair()
    const outcome = relay(accepted, await hub.connect('c:443'))
    const started = performance.now()
    dialled.resetAndDestroy()
    await closed(ends[0]!)
    expect(performance.now() - started).toBeLessThan(1000)
    expect((ends[0] as ClientHttp2Stream).rstCode).not.toBe(0)
    expect((await outcome).aborted).toBe(true)
  })

  it('ends when its path goes silent, at either end', async () => {
    const quick = { pingIntervalMs: 10, pingTimeoutMs: 40 }
    const { hub, agent, accepted, dialled } = await tunnel({}, quick)
    await expect.poll(() => hub.roundTripMs()).not.toBeNull()
    await expect.poll(() => agent.roundTripMs()).not.toBeNull()
    // A silently dropped path: the sockets stay, nothing arrives any more.
    for (const socket of [accepted, dialled]) freeze(socket)
    await Promise.all([hub.closed, agent.closed])
    expect(hub.isOpen() || agent.isOpen()).toBe(false)
  })

  it('lets streams finish when it stops, and takes no new ones', async () => {
    const { hub, agent } = await tunnel()
    const stream = await hub.connect('c:443')
    const stopped = hub.stop(5_000)
    await agent.draining
    await expect(hub.connect('c:443')).rejects.toMatchObject({ code: 'MCM_AGENT_UNREACHABLE' })
    stream.end('last words')
    expect(await text(stream)).toBe('last words')
    await stopped
    await agent.closed
  })

  it('tells the hub at once when the agent leaves', async () => {
    const { hub, agent } = await tunnel()
    const stream = await hub.connect('c:443')
    const stopped = agent.stop(5_000)
    await hub.draining
    expect(hub.isOpen()).toBe(false)
    stream.end('x')
    expect(await text(stream)).toBe('x')
    await stopped
    await hub.closed
  })

  it('ends streams that outlive the grace of a stop', async () => {
    const { hub, agent } = await tunnel()
    const stream = await hub.connect('c:443')
    stream.on('error', () => {}).resume()
    await hub.stop(20)
    await agent.closed
    expect(stream.destroyed).toBe(true)
  })
})

/** Reads nothing and writes nothing any more, as a firewall that forgot the connection. */
function freeze(socket: Socket): void {
  const handle = (socket as unknown as { _handle: { readStop(): void } })._handle
  handle.readStop()
}
