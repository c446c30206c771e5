import { X509Certificate } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { hubDialer, hubEndpoints } from '../../src/agent/hub-endpoints.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import type { HubRecord } from '../../src/directory/state.ts'
import { Fleet, hubDraft } from '../directory/fleet.ts'
import { FakeHub } from './fake-hub.ts'
import { FrozenWorld } from './frozen-world.ts'

const NOW = new Date('2026-01-01T00:00:00Z')
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

function hub(seq: number, pin: string, endpoints: string[], privateEndpoints: string[] = []) {
  return { seq, pin, endpoints, privateEndpoints, certificateDer: Buffer.alloc(0) } as HubRecord
}

function endpointsOf(configured: string[], hubs: HubRecord[]) {
  return hubEndpoints({ hub: { endpoints: configured, pin: 'configured' } }, { hubs }, NOW)
}

describe('where hubs may be', () => {
  it('is what the configuration says, before anything is known of the directory', () => {
    expect(endpointsOf(['a:1', 'b:1'], [])).toEqual([
      { endpoint: 'a:1', pins: ['configured'] },
      { endpoint: 'b:1', pins: ['configured'] },
    ])
  })

  it('is then what admins have signed, the newest first, each pin for its own endpoints only', () => {
    const hubs = [hub(3, 'old', ['a:1', 'c:1']), hub(9, 'new', ['d:1'])]
    expect(endpointsOf(['a:1'], hubs)).toEqual([
      { endpoint: 'a:1', pins: ['configured', 'old'] },
      { endpoint: 'd:1', pins: ['new'] },
      { endpoint: 'c:1', pins: ['old'] },
    ])
  })

  it('may be shown by the certificate before while the time lasts that was signed with the new one', () => {
    const until = (minutes: number) => new Date(NOW.getTime() + minutes * 60_000)
    const rotated = (minutes: number): HubRecord => ({
      ...hub(9, 'new', ['d:1']),
      previous: {
        ...{ pin: 'old', certificateDer: Buffer.alloc(0) },
        ...{ until: until(0), graceUntil: until(minutes) },
      },
    })
    expect(endpointsOf(['a:1'], [rotated(1)])[1]!.pins).toEqual(['new', 'old'])
    expect(endpointsOf(['a:1'], [rotated(0)])[1]!.pins).toEqual(['new'])
  })

  it('prefers private endpoints where the configuration does', () => {
    const hubs = [hub(3, 'p', ['public:1', 'public:2'], ['private:1', 'private:2'])]
    const names = endpointsOf(['private:1'], hubs).map(({ endpoint }) => endpoint)
    expect(names).toEqual(['private:1', 'private:2', 'public:1', 'public:2'])
  })
})

describe('dialling a hub', () => {
  async function start() {
    const world = new FrozenWorld()
    const hub = await FakeHub.start(world)
    cleanups.push(() => hub.stop())
    const agentKey = generateSigningKey()
    const dial = hubDialer({ agentKey, world, proxyFor: () => undefined })
    const { signal } = new AbortController()
    const open = async (...pins: string[]) => {
      const socket = await dial({ endpoint: hub.endpoint, pins }, 'mcm-tunnel/1', signal)
      cleanups.push(() => socket.destroy())
      return socket
    }
    return { hub, agentKey, open, world }
  }

  it('shows the agent’s key', async () => {
    const { hub, agentKey, open } = await start()
    await open(hub.pin)
    await expect.poll(() => hub.tunnels[0]?.key).toBe(agentKey.id)
  })

  it('shows a certificate of now at every dial, however long the agent runs', async () => {
    const { hub, open, world } = await start()
    await open(hub.pin)
    // The hub of this test is ten years old then, and its pin is all that is asked of it here.
    const years = 9 * 365 * 24 * 3_600_000
    world.advance(years)
    await open(hub.pin)
    await expect.poll(() => hub.tunnels.length).toBe(2)
    const [first, second] = hub.tunnels.map(({ certificateDer, key }) => ({
      key,
      from: new X509Certificate(certificateDer!).validFromDate.getTime(),
    }))
    expect(second!.from - first!.from).toBe(years)
    expect(second!.key).toBe(first!.key)
  })

  it('accepts the certificate that the directory names when the configured one has changed', async () => {
    const { hub, open } = await start()
    await expect(open('x'.repeat(43), hub.pin)).resolves.toBeDefined()
  })

  it('accepts no certificate that nobody has named', async () => {
    const { open } = await start()
    await expect(open('x'.repeat(43), 'y'.repeat(43))).rejects.toMatchObject({
      code: 'MCM_PIN_MISMATCH',
    })
  })
})

describe('a hub with a certificate that the agent has not heard of', () => {
  async function start(signsCertificate: boolean) {
    const world = new FrozenWorld()
    const hub = await FakeHub.start(world)
    cleanups.push(() => hub.stop())
    const [agentKey, fleet] = [generateSigningKey(), await Fleet.found()]
    await fleet.register(undefined, undefined, agentKey)
    const directory = fleet.directory
    const certificate = signsCertificate ? hub.certificateDer.toString('base64') : 'aHVi'
    await fleet.append(hubDraft([hub.endpoint], [], certificate))
    hub.directory = fleet.directory
    const proof = { directory }
    const dial = hubDialer({ agentKey, world, proxyFor: () => undefined, directory: proof })
    const target = { endpoint: hub.endpoint, pins: ['x'.repeat(43)] }
    const { signal } = new AbortController()
    const open = async () => {
      const socket = await dial(target, 'mcm-tunnel/1', signal)
      cleanups.push(() => socket.destroy())
      return socket
    }
    return { hub, open, proof, fleet, directory, world }
  }

  it('is believed when the chain that it shows names that very certificate', async () => {
    const { hub, open } = await start(true)
    await open()
    await expect.poll(() => hub.tunnels.length).toBe(1)
  })

  it('is not when it names another, and gets no tunnel', async () => {
    const { hub, open } = await start(false)
    await expect(open()).rejects.toMatchObject({ code: 'MCM_PIN_MISMATCH' })
    expect(hub.tunnels).toEqual([])
  })

  it('shows a stranger’s statements in vain: what proves nothing is not remembered', async () => {
    const { hub, open, proof, fleet, directory } = await start(false)
    const before = directory.head
    const removal = { device: 'x'.repeat(43), reason: 'a fork' }
    const { directory: rest } = fleet
    const head = { seq: before!.seq, hash: before!.hash }
    const forked = await fleet.sign({ type: 'removal', detail: removal }, [fleet.alice], {
      after: head,
    })
    hub.directory = await directory.extend({
      statements: [forked.statement.text],
      details: [forked.detail],
    })
    await expect(open()).rejects.toMatchObject({ code: 'MCM_PIN_MISMATCH' })
    expect(proof.directory.head).toEqual(before)
    await expect(proof.directory.extend(rest.page(before!.seq))).resolves.toBeDefined()
  })

  it('is asked for its chain once a minute', async () => {
    const { hub, open, world } = await start(false)
    for (let attempt = 0; attempt < 3; attempt += 1) await expect(open()).rejects.toBeDefined()
    expect(hub.directoryRequests).toBe(1)
    world.advance(60_000)
    await expect(open()).rejects.toBeDefined()
    expect(hub.directoryRequests).toBe(2)
  })
})
