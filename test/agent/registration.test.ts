import { afterEach, describe, expect, it, vi } from 'vitest'
import type { AgentConfiguration } from '../../src/agent/configuration.ts'
import { type DirectoryHolder, openDirectoryHolder } from '../../src/agent/directory-holder.ts'
import { hubDialer, hubEndpoints } from '../../src/agent/hub-endpoints.ts'
import { type AgentIdentity, loadOrCreateIdentity } from '../../src/agent/identity-secret.ts'
import { type Registration, startRegistration } from '../../src/agent/registration.ts'
import { startTunnels } from '../../src/agent/tunnels.ts'
import type { ClusterDetail } from '../../src/directory/details.ts'
import { verifyPublication } from '../../src/directory/proofs.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { Secret } from '../../src/secret.ts'
import { CLUSTER, clusterDraft, Fleet, hubDraft } from '../directory/fleet.ts'
import { FakeHub } from './fake-hub.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const PAIRING = new Secret('S'.repeat(43))
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

interface Stage {
  readonly fleet: Fleet
  readonly hub: FakeHub
  readonly api: MemoryApi
  readonly world: FrozenWorld
}

async function stage(): Promise<Stage> {
  const world = new FrozenWorld()
  const [fleet, hub] = [await Fleet.found(), await FakeHub.start(world)]
  cleanups.push(() => hub.stop())
  hub.directory = fleet.directory
  return { fleet, hub, api: new MemoryApi(), world }
}

interface Agent {
  readonly configuration: AgentConfiguration
  readonly identity: AgentIdentity
  readonly directory: DirectoryHolder
  readonly registration: Registration
  readonly log: RecordedLog
  readonly controller: AbortController
  readonly dials: string[]
}

async function startAgent(
  { fleet, hub, api, world }: Stage,
  changes: Partial<AgentConfiguration> = {},
  joinToken?: () => Promise<Secret<string> | undefined>,
): Promise<Agent> {
  const configuration: AgentConfiguration = {
    cluster: CLUSTER,
    fleet: fleet.directory.fleet!,
    hub: { endpoints: [hub.endpoint], pin: hub.pin },
    joinToken: new Secret('join-token'),
    pairingSecret: PAIRING,
    prefix: 'mcm:',
    ...changes,
  }
  const controller = new AbortController()
  cleanups.push(() => controller.abort())
  const log = new RecordedLog()
  const background = { world, log, signal: controller.signal }
  const identity = await loadOrCreateIdentity(api, configuration, world)
  const { cluster, fleet: pin } = configuration
  const directory = await openDirectoryHolder(api, { cluster, fleet: pin }, background)
  const dials: string[] = []
  const dialReally = hubDialer({
    agentKey: identity.agentKey,
    world,
    proxyFor: () => undefined,
  })
  const registration = startRegistration({
    configuration,
    identity: () => identity,
    directory,
    dial: (target, alpn, signal) => {
      dials.push(target.endpoint)
      return dialReally(target, alpn, signal)
    },
    ...(joinToken ? { joinToken } : {}),
    timing: { pollMs: 5, slowPollMs: 5 },
    ...background,
  })
  return { configuration, identity, directory, registration, log, controller, dials }
}

/** What the owner's CLI signs after it has checked the publication. */
async function sign({ fleet, hub }: Stage, agent: Agent, changes: Partial<ClusterDetail> = {}) {
  const { identity } = agent
  const { detail } = clusterDraft(CLUSTER, 'idc-k8s', identity.agentKey.id)
  const signed = {
    ...(detail as ClusterDetail),
    serverCa: identity.serverAuthority.certificateDer.toString('base64'),
    userCa: identity.userCaDer.toString('base64'),
    ...changes,
  }
  await fleet.append({ type: 'cluster', detail: signed })
  hub.directory = fleet.directory
}

const soon = (assertion: () => void) => vi.waitFor(assertion, { interval: 2, timeout: 5_000 })

describe('registration', () => {
  it('publishes both CAs and the key under the pairing secret, and waits', async () => {
    const set = await stage()
    const { identity, registration } = await startAgent(set)
    await soon(() => expect(set.hub.joins).toHaveLength(1))
    const [{ cluster, body, key }] = set.hub.joins as [FakeHub['joins'][number]]
    expect(cluster).toBe(CLUSTER)
    expect(key).toBe(identity.agentKey.id)
    expect(await verifyPublication(PAIRING, body.publication, CLUSTER)).toEqual({
      cluster: CLUSTER,
      serverCa: identity.serverAuthority.certificateDer.toString('base64'),
      userCa: identity.userCaDer.toString('base64'),
      agentKey: identity.agentKey.jwk,
    })
    expect(registration.isProven()).toBe(false)
    await soon(() => expect(registration.problem()?.message).toContain('nobody has signed'))
  })

  it('becomes a cluster without a restart as soon as an admin has signed', async () => {
    const set = await stage()
    const agent = await startAgent(set)
    await soon(() => expect(set.hub.joins).toHaveLength(1))
    await sign(set, agent)
    await agent.registration.proven
    expect(agent.registration.isProven()).toBe(true)
    expect(agent.registration.problem()).toBeUndefined()
    expect(agent.directory.head).toEqual(set.fleet.directory.head)
  })

  it('publishes once, not with every question', async () => {
    const set = await stage()
    const agent = await startAgent(set)
    await soon(() => expect(agent.dials.length).toBeGreaterThan(5))
    expect(set.hub.joins).toHaveLength(1)
    set.world.advance(60_000)
    await soon(() => expect(set.hub.joins).toHaveLength(2))
  })

  it('is the same for two replicas: they publish the same, and both are proven', async () => {
    const set = await stage()
    const [a, b] = [await startAgent(set), await startAgent(set)]
    await soon(() => expect(set.hub.joins).toHaveLength(2))
    expect(set.hub.joins[0]!.body.publication).toBe(set.hub.joins[1]!.body.publication)
    await sign(set, a)
    await Promise.all([a.registration.proven, b.registration.proven])
  })

  it('asks no hub after a restart: memory proves it', async () => {
    const set = await stage()
    const first = await startAgent(set)
    await sign(set, first)
    await first.registration.proven
    first.controller.abort()
    const second = await startAgent(set, { joinToken: undefined })
    await second.registration.proven
    expect(second.dials).toEqual([])
  })

  it('is proven by a hub that knows the key already, without a join token', async () => {
    const set = await stage()
    const first = await startAgent(set)
    await sign(set, first)
    await first.registration.proven
    first.controller.abort()
    const forgetful = set.api.keys().find((key) => key.includes('mcm-directory'))!
    set.api.remove(forgetful)
    const second = await startAgent(set, { joinToken: undefined })
    await second.registration.proven
  })

  it.each<[string, (agent: Agent) => Partial<ClusterDetail>]>([
    ['another server CA', () => ({ serverCa: 'AAAA' })],
    ['another user CA', () => ({ userCa: 'AAAA' })],
    [
      'another server CA and another user CA',
      ({ identity }) => ({
        serverCa: identity.userCaDer.toString('base64'),
        userCa: identity.serverAuthority.certificateDer.toString('base64'),
      }),
    ],
    ['issuer local', () => ({ issuer: 'local' })],
    ['prefix other:', () => ({ prefix: 'other:' })],
  ])('serves nobody when %s was signed, says so, and recovers', async (difference, changes) => {
    const set = await stage()
    const agent = await startAgent(set)
    await sign(set, agent, changes(agent))
    await soon(() =>
      expect(agent.registration.problem()).toMatchObject({
        code: 'MCM_PAIRING_MISMATCH',
        message: expect.stringContaining(difference),
      }),
    )
    expect(agent.registration.isProven()).toBe(false)
    await soon(() => expect(agent.log.events()).toContain('registration_refused'))
    await sign(set, agent)
    await agent.registration.proven
  })

  it('serves nobody when another agent’s key was signed', async () => {
    const set = await stage()
    const agent = await startAgent(set)
    await sign(set, agent, { agentKey: generateSigningKey().id })
    const { statements, details } = set.fleet.directory.page(-1)
    await agent.directory.apply({ statements, details })
    expect(agent.registration.isProven()).toBe(false)
    expect(agent.registration.problem()).toMatchObject({
      code: 'MCM_PAIRING_MISMATCH',
      message: expect.stringContaining('another agent key'),
    })
  })

  it('is over when an admin removes the cluster', async () => {
    const set = await stage()
    const agent = await startAgent(set)
    await sign(set, agent)
    await agent.registration.proven
    const { seq } = set.fleet.directory.head!
    await set.fleet.revoke({ cluster: CLUSTER })
    await agent.directory.apply(set.fleet.directory.page(seq))
    expect(agent.registration.isProven()).toBe(false)
  })

  it('keeps trying while the hub is away', async () => {
    const set = await stage()
    await set.hub.stop()
    cleanups.splice(0)
    const agent = await startAgent(set)
    await soon(() => expect(agent.dials.length).toBeGreaterThan(3))
    expect(agent.registration.problem()).toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
    expect(agent.log.events()).toEqual(['registration_waits'])
  })

  it('tells no hub its token that shows another certificate than the pinned one', async () => {
    const set = await stage()
    const hub = { endpoints: [set.hub.endpoint], pin: 'x'.repeat(43) }
    const agent = await startAgent(set, { hub })
    await soon(() =>
      expect(agent.registration.problem()).toMatchObject({ code: 'MCM_PIN_MISMATCH' }),
    )
    expect(set.hub.joins).toEqual([])
    expect(agent.log.events()).toContain('registration_refused')
  })

  it('says that its token is refused, and takes the new one of a second registration', async () => {
    const set = await stage()
    let token = 'old-token'
    const agent = await startAgent(set, {}, async () => new Secret(token))
    await soon(() =>
      expect(agent.registration.problem()?.message).toContain('join token has expired'),
    )
    token = 'join-token'
    await soon(() => expect(set.hub.joins).toHaveLength(1))
  })

  it('says that there is no token', async () => {
    const set = await stage()
    const { registration } = await startAgent(set, { joinToken: undefined })
    await soon(() => expect(registration.problem()?.message).toContain('no join token'))
  })

  it('serves nobody by a directory that ends before what was seen', async () => {
    const set = await stage()
    const first = await startAgent(set)
    await sign(set, first)
    const early = set.fleet.directory
    await set.fleet.admit('bob')
    set.hub.directory = set.fleet.directory
    await first.registration.proven
    await first.directory.apply(set.fleet.directory.page(-1))
    first.controller.abort()
    const key = set.api.keys().find((each) => each.includes('mcm-directory'))!
    const stored = set.api.peek<{ data: Record<string, string> }>(key)!
    set.api.put(key, { ...stored, data: { 'head.json': stored.data['head.json'] } })
    set.hub.directory = early

    const second = await startAgent(set)
    await soon(() =>
      expect(second.registration.problem()).toMatchObject({ code: 'MCM_DIRECTORY_ROLLED_BACK' }),
    )
    expect(second.registration.isProven()).toBe(false)
    set.hub.directory = set.fleet.directory
    await second.registration.proven
  })

  it('ends with its signal', async () => {
    const set = await stage()
    const agent = await startAgent(set)
    await soon(() => expect(set.hub.joins).toHaveLength(1))
    agent.controller.abort()
    const { length } = agent.dials
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(agent.dials.length - length).toBeLessThanOrEqual(1)
    expect(agent.log.events()).not.toContain('registered')
  })
})

describe('from registration to tunnels', () => {
  it('holds a tunnel over TLS under its own key, to the hub that the directory names by now', async () => {
    const set = await stage()
    const agent = await startAgent(set)
    const moved = await FakeHub.start(set.world)
    cleanups.push(() => moved.stop())
    await set.fleet.append(hubDraft([moved.endpoint], [], moved.certificateDer.toString('base64')))
    await sign(set, agent)
    await agent.registration.proven
    await set.hub.stop()
    cleanups.splice(0, 1)
    const tunnels = startTunnels({
      cluster: CLUSTER,
      endpoints: () => hubEndpoints(agent.configuration, agent.directory.state, set.world.now()),
      dial: hubDialer({
        agentKey: agent.identity.agentKey,
        world: set.world,
        proxyFor: () => undefined,
      }),
      begin: agent.registration.proven,
      hello: () => ({
        version: '1',
        cluster: CLUSTER,
        replica: 'agent-0',
        kubernetesVersion: 'v1.36.3',
        directory: agent.directory.head,
      }),
      applyDirectory: (append) => agent.directory.apply(append),
      onStream: () => {},
      world: set.world,
      log: agent.log,
      signal: agent.controller.signal,
      backoff: { baseMs: 1, capMs: 5 },
    })
    await soon(() => expect(moved.tunnels).toHaveLength(1))
    expect(moved.tunnels[0]!.key).toBe(agent.identity.agentKey.id)
    const { tunnel } = moved.tunnels[0]!
    expect(await tunnel.request('GET', '/.mcm/v1/hello')).toMatchObject({
      body: { directory: set.fleet.directory.head },
    })
    const { seq } = set.fleet.directory.head!
    await set.fleet.admit('bob')
    const { statements, details } = set.fleet.directory.page(seq)
    expect(
      await tunnel.request('POST', '/.mcm/v1/directory', { statements, details }),
    ).toMatchObject({ status: 200, body: set.fleet.directory.head })
    await tunnels.stop()
  })
})
