import { describe, expect, it } from 'vitest'
import type { AgentConfiguration } from '../../src/agent/configuration.ts'
import { loadOrCreateIdentity } from '../../src/agent/identity-secret.ts'
import { identitySecretName, SECRETS_PATH } from '../../src/agent/state-secret.ts'
import { UnreachableError } from '../../src/errors.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { Secret } from '../../src/secret.ts'
import { FrozenWorld } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const world = new FrozenWorld()
const configuration: AgentConfiguration = {
  cluster: 'c-abcdefgh22',
  fleet: 'f'.repeat(43),
  hub: { endpoints: ['hub:8443'], pin: 'p'.repeat(43) },
  pairingSecret: new Secret('s'.repeat(43)),
  prefix: 'mcm:',
}
const PATH = `${SECRETS_PATH}/${identitySecretName(configuration.cluster)}`

describe('the identity of a cluster’s agent', () => {
  it('is made once and found again by whoever starts later', async () => {
    const api = new MemoryApi()
    const first = await loadOrCreateIdentity(api, configuration, world)
    const second = await loadOrCreateIdentity(api, configuration, world)
    expect(second.agentKey.id).toBe(first.agentKey.id)
    expect(second.serverAuthority.certificateDer).toEqual(first.serverAuthority.certificateDer)
    expect(second.userCaDer).toEqual(first.userCaDer)
    expect(second.userAuthority).toBeDefined()
    expect(api.count('create')).toBe(1)
    expect(first.secret).toEqual({ name: 'mcm-identity-c-abcdefgh22', uid: expect.any(String) })
  })

  it('is the same for two replicas that start at once: the loser forgets its own', async () => {
    const api = new MemoryApi()
    const identities = await Promise.all(
      [1, 2, 3].map(() => loadOrCreateIdentity(api, configuration, world)),
    )
    expect(new Set(identities.map(({ agentKey }) => agentKey.id)).size).toBe(1)
    expect(api.count('create')).toBe(3)
    expect(api.keys()).toEqual([PATH])
  })

  it('has two CAs that are not each other’s, and a key of its own', async () => {
    const identity = await loadOrCreateIdentity(new MemoryApi(), configuration, world)
    expect(identity.userCaDer.equals(identity.serverAuthority.certificateDer)).toBe(false)
    expect(identity.agentKey.privateKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  })

  it('has no key of the user CA where the owner keeps it', async () => {
    const api = new MemoryApi()
    const owners = await createAuthority(world, { commonName: 'owner’s user CA' })
    const local = { ...configuration, userCaPem: owners.certificatePem }
    const identity = await loadOrCreateIdentity(api, local, world)
    expect(identity.userAuthority).toBeUndefined()
    expect(identity.userCaDer).toEqual(owners.certificateDer)
    const stored = api.peek<{ data: Record<string, string> }>(PATH)!
    expect(Object.keys(stored.data).sort()).toEqual(['agent.key', 'serverCa.crt', 'serverCa.key'])
  })

  it('is refused when one CA would serve both directions', async () => {
    const api = new MemoryApi()
    const { serverAuthority } = await loadOrCreateIdentity(api, configuration, world)
    const crossed = { ...configuration, userCaPem: serverAuthority.certificatePem }
    await expect(loadOrCreateIdentity(api, crossed, world)).rejects.toMatchObject({
      code: 'MCM_STATE_DAMAGED',
    })
  })

  it('of a cluster registered anew is another, and the old one stays', async () => {
    const api = new MemoryApi()
    const before = await loadOrCreateIdentity(api, configuration, world)
    const anew = { ...configuration, cluster: 'c-zzzzzzzz22' }
    const after = await loadOrCreateIdentity(api, anew, world)
    expect(after.agentKey.id).not.toBe(before.agentKey.id)
    expect(api.keys()).toHaveLength(2)
  })

  it.each(['serverCa.crt', 'serverCa.key', 'userCa.key', 'agent.key'])(
    'is never replaced silently when %s is damaged or gone',
    async (key) => {
      const api = new MemoryApi()
      await loadOrCreateIdentity(api, configuration, world)
      const stored = api.peek<{ data: Record<string, string>; metadata: object }>(PATH)!
      for (const value of [Buffer.from('rubbish').toString('base64'), undefined]) {
        api.put(PATH, { ...stored, data: { ...stored.data, [key]: value } })
        await expect(loadOrCreateIdentity(api, configuration, world)).rejects.toMatchObject({
          code: 'MCM_STATE_DAMAGED',
        })
      }
      expect(api.count('update')).toBe(0)
    },
  )

  it('is not made when the API server cannot be asked whether there is one', async () => {
    const api = new MemoryApi()
    api.fault = () => new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
    await expect(loadOrCreateIdentity(api, configuration, world)).rejects.toMatchObject({
      code: 'MCM_API_SERVER_UNREACHABLE',
    })
    expect(api.keys()).toEqual([])
  })
})
