import { afterEach, describe, expect, it, vi } from 'vitest'
import { type Authorities, startAuthorities } from '../../src/agent/authorities.ts'
import type { AgentConfiguration } from '../../src/agent/configuration.ts'
import { loadOrCreateIdentity } from '../../src/agent/identity-secret.ts'
import { identitySecretName, SECRETS_PATH, type StateSecret } from '../../src/agent/state-secret.ts'
import type { ClusterDetail } from '../../src/directory/details.ts'
import type { DirectoryState } from '../../src/directory/state.ts'
import { formatTime } from '../../src/directory/time.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { Secret } from '../../src/secret.ts'
import { clusterDraft, Fleet } from '../directory/fleet.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const CLUSTER = 'c-abcdefgh22'
const HOUR = 3_600_000
const PATH = `${SECRETS_PATH}/${identitySecretName(CLUSTER)}`

const controllers: AbortController[] = []
afterEach(() => {
  for (const controller of controllers.splice(0)) controller.abort()
})

/** One cluster: its Secret, its directory, its clock. */
async function stage(userCaPem?: string) {
  const [api, world, fleet] = [new MemoryApi(), new FrozenWorld(), await Fleet.found()]
  const configuration: AgentConfiguration = {
    cluster: CLUSTER,
    fleet: fleet.directory.fleet!,
    hub: { endpoints: ['hub:8443'], pin: 'p'.repeat(43) },
    pairingSecret: new Secret('s'.repeat(43)),
    prefix: 'mcm:',
    ...(userCaPem === undefined ? {} : { userCaPem }),
  }
  const listeners = new Set<() => void>()
  const directory = {
    get state(): DirectoryState {
      return fleet.state
    },
    onChange: (listener: () => void) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
  const replica = async () => {
    const controller = new AbortController()
    controllers.push(controller)
    const identity = await loadOrCreateIdentity(api, configuration, world)
    const background = { world, log: new RecordedLog(), signal: controller.signal }
    return startAuthorities(api, { configuration, identity, directory }, background)
  }
  const sign = async (cas: Partial<ClusterDetail>) => {
    const { detail } = clusterDraft(CLUSTER, 'idc-k8s', 'k'.repeat(43))
    await fleet.append({ type: 'cluster', detail: { ...(detail as ClusterDetail), ...cas } })
    for (const listener of listeners) listener()
  }
  const agent = await replica()
  const before = signed(agent)
  await sign(before)
  /** As an admin's client does. */
  const rotate = async (overlapMs: number, userCa?: string) => {
    const offered = await agent.offer(userCa === undefined ? {} : { userCa })
    const until = formatTime(new Date(world.now().getTime() + overlapMs))
    await sign({ ...offered, previous: { ...before, until } })
    return offered
  }
  const values = () => api.get<StateSecret>(PATH).then(({ data }) => data!)
  return { api, world, agent, replica, sign, rotate, before, values }
}

/** What the agent is signed with. */
function signed({ identity }: Authorities) {
  return {
    serverCa: identity.serverAuthority.certificateDer.toString('base64'),
    userCa: identity.userCaDer.toString('base64'),
  }
}

const shown = ({ serverAuthority }: Authorities) =>
  serverAuthority.certificateDer.toString('base64')
const issuing = ({ userAuthority }: Authorities) => userAuthority?.certificateDer.toString('base64')
const accepted = (agent: Authorities) => agent.userCas().map((der) => der.toString('base64'))
const soon = (assertion: () => void | Promise<void>) =>
  vi.waitFor(assertion, { interval: 5, timeout: 10_000 })

describe('the CAs of a cluster', () => {
  it('that nobody has signed are offered and not used', async () => {
    const { agent, before } = await stage()
    const offered = await agent.offer({})
    expect(new Set([...Object.values(offered), ...Object.values(before)]).size).toBe(4)
    expect([shown(agent), issuing(agent)]).toEqual([before.serverCa, before.userCa])
    expect(accepted(agent)).toEqual([before.userCa])
  })

  it('that wait are the same for whoever asks again, whichever replica', async () => {
    const { agent, replica } = await stage()
    const other = await replica()
    const [one, two] = await Promise.all([agent.offer({}), other.offer({})])
    expect(two).toEqual(one)
    expect(await agent.offer({})).toEqual(one)
  })

  it('during the overlap: the old one is shown, the new one issues, both are accepted', async () => {
    const { agent, rotate, before } = await stage()
    const after = await rotate(HOUR)
    expect([shown(agent), issuing(agent)]).toEqual([before.serverCa, after.userCa])
    expect(accepted(agent)).toEqual([after.userCa, before.userCa])
    expect(agent.accepts(sha256(Buffer.from(before.userCa, 'base64')))).toBe(true)
    expect(agent.accepts('x'.repeat(43))).toBe(false)
  })

  it('after it: the new ones alone, by the clock, and the keys before are forgotten', async () => {
    const { agent, rotate, before, world, values } = await stage()
    const after = await rotate(HOUR)
    let changes = 0
    agent.onChange(() => {
      changes += 1
    })
    world.advance(HOUR)
    // Nobody has told it anything yet.
    expect([shown(agent), issuing(agent)]).toEqual([after.serverCa, after.userCa])
    expect(accepted(agent)).toEqual([after.userCa])
    expect(agent.accepts(sha256(Buffer.from(before.userCa, 'base64')))).toBe(false)
    await soon(async () => {
      expect(changes).toBe(1)
      expect(Object.keys(await values()).filter((key) => key.startsWith('next.'))).toEqual([])
    })
    const kept = Object.values(await values()).map((text) => Buffer.from(text, 'base64').toString())
    const pem = (der: string) => der.match(/.{1,64}/g)!.join('\n')
    expect(kept.some((text) => text.includes(pem(before.serverCa)))).toBe(false)
    expect(kept.some((text) => text.includes(pem(after.serverCa)))).toBe(true)
    expect(shown(agent)).toBe(after.serverCa)
  })

  it('are learnt by a replica that was not asked, and by one that starts in between', async () => {
    const { rotate, replica, before, world } = await stage()
    const other = await replica()
    const after = await rotate(HOUR)
    await soon(() => expect(accepted(other)).toEqual([after.userCa, before.userCa]))
    const late = await replica()
    expect([shown(late), issuing(late)]).toEqual([before.serverCa, after.userCa])
    world.advance(HOUR)
    expect(accepted(other)).toEqual([after.userCa])
    const later = await replica()
    expect(shown(later)).toBe(after.serverCa)
  })

  it('with no overlap change at once', async () => {
    const { agent, rotate } = await stage()
    const after = await rotate(0)
    expect([shown(agent), issuing(agent)]).toEqual([after.serverCa, after.userCa])
    expect(accepted(agent)).toEqual([after.userCa])
  })

  it('are not replaced again while the overlap lasts, and are after it', async () => {
    const { agent, rotate, world } = await stage()
    const first = await rotate(HOUR)
    await expect(agent.offer({})).rejects.toMatchObject({
      code: 'MCM_BAD_REQUEST',
      message: expect.stringContaining('under way'),
    })
    world.advance(HOUR)
    const second = await agent.offer({})
    expect(second.serverCa).not.toBe(first.serverCa)
    expect(accepted(agent)).toEqual([first.userCa])
  })

  it('signed by somebody who never asked this agent are none of its own', async () => {
    const { agent, sign, before } = await stage()
    await agent.offer({})
    await sign({ serverCa: 'AAAA', userCa: 'AAAA' })
    expect([shown(agent), issuing(agent)]).toEqual([before.serverCa, before.userCa])
    expect(accepted(agent)).toEqual([before.userCa])
  })
})

describe('where the owner issues', () => {
  const ownersCa = async (world = new FrozenWorld()) =>
    createAuthority(world, { commonName: 'owner' })

  it('the owner’s next user CA takes the place of the one in the configuration', async () => {
    const set = await stage((await ownersCa()).certificatePem)
    const next = (await ownersCa()).certificateDer.toString('base64')
    const after = await set.rotate(HOUR, next)
    expect(after.userCa).toBe(next)
    expect(issuing(set.agent)).toBeUndefined()
    expect(accepted(set.agent)).toEqual([next, set.before.userCa])
    set.world.advance(HOUR)
    const later = await set.replica()
    expect(accepted(later)).toEqual([next])
    await soon(async () =>
      expect(Object.keys(await set.values())).not.toContain('next.serverCa.key'),
    )
    expect(accepted(await set.replica())).toEqual([next])
  })

  it('it has to come with the request, and of several that nobody has signed the latest waits', async () => {
    const { agent } = await stage((await ownersCa()).certificatePem)
    await expect(agent.offer({})).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
    await expect(agent.offer({ userCa: 'AAAA' })).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
    const [one, two] = [await ownersCa(), await ownersCa()].map((ca) =>
      ca.certificateDer.toString('base64'),
    )
    await agent.offer({ userCa: one! })
    const offered = await agent.offer({ userCa: two! })
    expect(offered.userCa).toBe(two)
    await expect(agent.offer({ userCa: one! })).resolves.toEqual({ ...offered, userCa: one })
  })

  it('an agent that issues itself takes nobody’s', async () => {
    const { agent } = await stage()
    const userCa = (await ownersCa()).certificateDer.toString('base64')
    await expect(agent.offer({ userCa })).rejects.toMatchObject({ code: 'MCM_BAD_REQUEST' })
  })
})
