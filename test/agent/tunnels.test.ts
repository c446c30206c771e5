import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { HubEndpoint } from '../../src/agent/hub-endpoints.ts'
import { startTunnels, type Tunnels, type TunnelsOptions } from '../../src/agent/tunnels.ts'
import { TrustError, UnreachableError } from '../../src/errors.ts'
import { type HubTunnel, openTunnel } from '../../src/tunnel/hub-end.ts'
import { socketPair } from '../tunnel/socket-pair.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'

const CLUSTER = 'c-abcdefgh22'
const HOST = `${CLUSTER}.clusters.mcm.internal`
const HEAD = { seq: 7, hash: 'h'.repeat(43) }
const HELLO = {
  version: '1',
  cluster: CLUSTER,
  replica: 'agent-0',
  kubernetesVersion: 'v1.36.3',
  directory: HEAD,
}
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

/** A hub that speaks the tunnel protocol on real sockets, without TLS. */
class FakeHub {
  readonly tunnels: HubTunnel[] = []
  /** What stands in the middle of each path; unpiped it swallows everything in silence. */
  readonly paths: Socket[][] = []
  isDown = false
  /** As a hub does with a second tunnel of the same replica. */
  keepsOnlyNewest = false

  async accept(): Promise<Duplex> {
    if (this.isDown) throw new UnreachableError('MCM_HUB_UNREACHABLE', 'connection refused')
    const [near, far] = [await socketPair(), await socketPair()]
    const { accepted } = far
    near.accepted.pipe(far.dialled).pipe(near.accepted)
    this.paths.push([near.accepted, far.dialled])
    for (const socket of this.paths.at(-1)!) socket.on('error', () => {})
    cleanups.push(() => near.accepted.destroy())
    const tunnel = openTunnel(accepted, { log: new RecordedLog(), pingIntervalMs: 60_000 })
    const former = this.keepsOnlyNewest ? this.open : []
    this.tunnels.push(tunnel)
    cleanups.push(() => tunnel.stop())
    for (const each of former) void tunnel.request('GET', '/.mcm/v1/hello').then(() => each.stop())
    return near.dialled
  }

  /** From now on the newest path swallows everything. */
  freeze(): void {
    for (const socket of this.paths.at(-1)!) socket.unpipe().pause()
  }

  get open(): HubTunnel[] {
    return this.tunnels.filter((tunnel) => tunnel.isOpen())
  }

  get newest(): HubTunnel {
    return this.tunnels.at(-1)!
  }
}

interface Stage {
  readonly tunnels: Tunnels
  readonly world: FrozenWorld
  readonly log: RecordedLog
  readonly dialled: string[]
  readonly streams: { kind: string; address: string | undefined }[]
}

/** An agent that knows these hubs, by name. */
function start(hubs: Record<string, FakeHub>, options: Partial<TunnelsOptions> = {}): Stage {
  const controller = new AbortController()
  const world = new FrozenWorld()
  const log = new RecordedLog()
  const dialled: string[] = []
  const streams: Stage['streams'] = []
  const endpoints: HubEndpoint[] = Object.keys(hubs).map((endpoint) => ({ endpoint, pins: ['p'] }))
  const tunnels = startTunnels({
    cluster: CLUSTER,
    endpoints: () => endpoints,
    dial: ({ endpoint }, alpn) => {
      expect(alpn).toBe('mcm-tunnel/1')
      dialled.push(endpoint)
      return hubs[endpoint]!.accept()
    },
    hello: () => HELLO,
    applyDirectory: async () => HEAD,
    onStream: (kind, stream, address) => {
      streams.push({ kind, address })
      stream.on('error', () => {})
      stream.pipe(stream)
    },
    world,
    log,
    signal: controller.signal,
    backoff: { baseMs: 1, capMs: 5 },
    ...options,
  })
  cleanups.push(() => controller.abort())
  return { tunnels, world, log, dialled, streams }
}

const soon = (assertion: () => void) => vi.waitFor(assertion, { interval: 2, timeout: 5_000 })

async function text(stream: Duplex): Promise<string> {
  let all = ''
  for await (const chunk of stream) all += String(chunk)
  return all
}

describe('holding tunnels', () => {
  it('holds one to each of two endpoints, and no more', async () => {
    const hubs = { 'a:1': new FakeHub(), 'b:1': new FakeHub(), 'c:1': new FakeHub() }
    const { tunnels, dialled } = start(hubs)
    await soon(() => expect(tunnels.open()).toBe(2))
    expect(tunnels.isUp()).toBe(true)
    expect(dialled).toEqual(['a:1', 'b:1'])
  })

  it('holds one where there is one endpoint', async () => {
    const hub = new FakeHub()
    const { tunnels } = start({ 'a:1': hub })
    await soon(() => expect(tunnels.open()).toBe(1))
    await hub.newest.request('GET', '/.mcm/v1/hello')
    expect(hub.tunnels).toHaveLength(1)
  })

  it('dials nobody before it may', async () => {
    const hub = new FakeHub()
    const begin = Promise.withResolvers<void>()
    const { tunnels, dialled } = start({ 'a:1': hub }, { begin: begin.promise })
    await new Promise(setImmediate)
    expect(dialled).toEqual([])
    expect(tunnels.isUp()).toBe(false)
    begin.resolve()
    await soon(() => expect(tunnels.isUp()).toBe(true))
  })

  it('goes to the next endpoint where one is down, and says once why', async () => {
    const hubs = { 'a:1': new FakeHub(), 'b:1': new FakeHub(), 'c:1': new FakeHub() }
    hubs['a:1'].isDown = true
    const { tunnels, log } = start(hubs)
    await soon(() => expect(tunnels.open()).toBe(2))
    expect(hubs['b:1'].open).toHaveLength(1)
    expect(hubs['c:1'].open).toHaveLength(1)
    expect(log.events().filter((event) => event === 'hub_unreachable')).toHaveLength(1)
  })

  it('never gives up: the hub that comes back is found', async () => {
    const hub = new FakeHub()
    hub.isDown = true
    const { tunnels, dialled } = start({ 'a:1': hub })
    await soon(() => expect(dialled.length).toBeGreaterThan(5))
    expect(tunnels.isUp()).toBe(false)
    hub.isDown = false
    await soon(() => expect(tunnels.isUp()).toBe(true))
  })

  it('dials anew at once when the hub says goodbye, and old streams go on', async () => {
    const hub = new FakeHub()
    const { tunnels, world } = start({ 'a:1': hub })
    await soon(() => expect(tunnels.open()).toBe(1))
    const [old] = hub.tunnels
    const stream = await old!.connect(`${HOST}:443`)
    world.advance(60_000)
    void old!.stop(5_000)
    await soon(() => expect(hub.tunnels).toHaveLength(2))
    await soon(() => expect(tunnels.open()).toBe(1))
    stream.end('still here')
    expect(await text(stream)).toBe('still here')
  })

  it('notices a path that swallows everything, and replaces it', async () => {
    const hub = new FakeHub()
    const { tunnels, log } = start(
      { 'a:1': hub },
      { heartbeat: { pingIntervalMs: 5, pingTimeoutMs: 40 } },
    )
    await soon(() => expect(tunnels.open()).toBe(1))
    hub.freeze()
    await soon(() => expect(hub.tunnels).toHaveLength(2))
    await soon(() => expect(tunnels.open()).toBe(1))
    expect(log.events()).toContain('tunnel_silent')
  })

  it('settles on one tunnel where two names lead to the same hub, instead of ending its own for ever', async () => {
    const hub = new FakeHub()
    hub.keepsOnlyNewest = true
    const { tunnels, dialled, world } = start({ 'public:1': hub, 'private:1': hub })
    await soon(() => expect(dialled).toHaveLength(2))
    await soon(() => expect(hub.open).toHaveLength(1))
    const stream = await hub.open[0]!.connect(`${HOST}:443`)
    for (let turn = 0; turn < 20; turn++) await hub.open[0]!.request('GET', '/.mcm/v1/hello')
    expect(dialled).toHaveLength(2)
    expect(tunnels.open()).toBe(1)
    stream.end('undisturbed')
    expect(await text(stream)).toBe('undisturbed')
    world.advance(60_000)
    void hub.open[0]!.stop()
    await soon(() => expect(tunnels.open()).toBe(1))
  })

  it('keeps trying, and says that it is a matter of trust, when a hub shows another certificate', async () => {
    let count = 0
    const { log } = start(
      { 'a:1': new FakeHub() },
      {
        dial: async () => {
          count += 1
          throw new TrustError('MCM_PIN_MISMATCH', 'another certificate')
        },
      },
    )
    await soon(() => expect(count).toBeGreaterThan(2))
    expect(log.events()).toEqual(['hub_refused'])
    expect(log.lines[0]!.level).toBe('error')
  })

  it('learns of endpoints while it runs', async () => {
    const hubs: Record<string, FakeHub> = { 'a:1': new FakeHub() }
    const endpoints: HubEndpoint[] = [{ endpoint: 'a:1', pins: ['p'] }]
    const { tunnels } = start(hubs, { endpoints: () => endpoints })
    await soon(() => expect(tunnels.open()).toBe(1))
    hubs['b:1'] = new FakeHub()
    endpoints.push({ endpoint: 'b:1', pins: ['p'] })
    await soon(() => expect(tunnels.open()).toBe(2))
  })

  it('stops: dials no more, ends what is open, says when all is gone', async () => {
    const hub = new FakeHub()
    const { tunnels, dialled } = start({ 'a:1': hub })
    await soon(() => expect(tunnels.open()).toBe(1))
    await tunnels.stop()
    await tunnels.closed
    expect(tunnels.isUp()).toBe(false)
    expect(dialled).toHaveLength(1)
    await soon(() => expect(hub.open).toHaveLength(0))
  })
})

describe('what a hub may ask on a tunnel', () => {
  async function tunnelOf(options: Partial<TunnelsOptions> = {}) {
    const hub = new FakeHub()
    const stage = start({ 'a:1': hub }, options)
    await soon(() => expect(stage.tunnels.open()).toBe(1))
    return { ...stage, tunnel: hub.newest }
  }

  it('is who it is', async () => {
    const { tunnel } = await tunnelOf()
    expect(await tunnel.request('GET', '/.mcm/v1/hello')).toEqual({ status: 200, body: HELLO })
  })

  it('is to take in the directory, answered with the head', async () => {
    const applied = vi.fn(async () => HEAD)
    const { tunnel } = await tunnelOf({ applyDirectory: applied })
    const append = { statements: ['s'], details: [] }
    expect(await tunnel.request('POST', '/.mcm/v1/directory', append)).toEqual({
      status: 200,
      body: HEAD,
    })
    expect(applied).toHaveBeenCalledWith(append)
  })

  it('gets 409 and the reason for a directory that is not to be trusted', async () => {
    const { tunnel } = await tunnelOf({
      applyDirectory: async () => {
        throw new TrustError('MCM_DIRECTORY_ROLLED_BACK', 'statement 3 is another')
      },
    })
    const answer = await tunnel.request('POST', '/.mcm/v1/directory', {
      statements: [],
      details: [],
    })
    expect(answer).toMatchObject({
      status: 409,
      body: { message: 'mcm: statement 3 is another', mcm: { code: 'MCM_DIRECTORY_ROLLED_BACK' } },
    })
  })

  it('gets 503 when the directory is believed and could not be written', async () => {
    const { tunnel } = await tunnelOf({
      applyDirectory: async () => {
        throw new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
      },
    })
    const append = { statements: [], details: [] }
    expect(await tunnel.request('POST', '/.mcm/v1/directory', append)).toMatchObject({
      status: 503,
    })
  })

  it.each([
    ['POST', '/.mcm/v1/directory', { statements: 'no' }, 400],
    ['POST', '/.mcm/v1/directory', undefined, 400],
    ['GET', '/.mcm/v1/directory', undefined, 404],
    ['GET', '/.mcm/v1/hello?x=1', undefined, 404],
    ['GET', '/api/v1/secrets', undefined, 404],
    ['DELETE', '/.mcm/v1/hello', undefined, 404],
  ])('is nothing else: %s %s %j gets %i', async (method, path, body, status) => {
    const { tunnel } = await tunnelOf()
    expect(await tunnel.request(method, path, body)).toMatchObject({ status })
  })

  it('is streams to this cluster’s two hosts, with the client’s address', async () => {
    const { tunnel, streams } = await tunnelOf()
    const header = (address: string) => ({ 'mcm-forwarded-for': address })
    const session = await tunnel.connect(`${HOST}:443`, header('192.0.2.7'))
    const enrolment = await tunnel.connect(`enrol.${HOST}:443`, header('::ffff:192.0.2.8'))
    session.end('echo')
    expect(await text(session)).toBe('echo')
    enrolment.end()
    await tunnel.connect(`${HOST}:443`, header('2001:db8::1'))
    expect(streams).toEqual([
      { kind: 'session', address: '192.0.2.7' },
      { kind: 'enrolment', address: '192.0.2.8' },
      { kind: 'session', address: '2001:db8::1' },
    ])
  })

  it('gets no address believed that is none', async () => {
    const { tunnel, streams } = await tunnelOf()
    await tunnel.connect(`${HOST}:443`, { 'mcm-forwarded-for': '10.0.0.1, 10.0.0.2' })
    await tunnel.connect(`${HOST}:443`)
    expect(streams.map(({ address }) => address)).toEqual([undefined, undefined])
  })

  it.each([
    'c-zzzzzzzz22.clusters.mcm.internal:443',
    `${HOST}:8443`,
    HOST,
    `x.${HOST}:443`,
    `${HOST.toUpperCase()}:443`,
    'kubernetes.default.svc:443',
    '169.254.169.254:80',
  ])('gets no stream to %s', async (authority) => {
    const { tunnel, streams } = await tunnelOf()
    await expect(tunnel.connect(authority)).rejects.toThrow('404')
    expect(streams).toEqual([])
  })

  it('hears when the agent refuses a stream, and the tunnel lives on', async () => {
    const { tunnel } = await tunnelOf({
      onStream: () => {
        throw new UnreachableError('MCM_AGENT_UNREACHABLE', 'not ready')
      },
    })
    await expect(tunnel.connect(`${HOST}:443`)).rejects.toThrow('503')
    expect(await tunnel.request('GET', '/.mcm/v1/hello')).toMatchObject({ status: 200 })
  })
})
