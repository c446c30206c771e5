import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type HostileHub, relayHonestly } from './hostile-hub.ts'
import { Canary, type InnerIdentity } from './hostile-hub-canary.ts'
import { authorityOfHub, forgeries, issuedBy } from './hostile-hub-forgeries.ts'
import { openVictim, type Victim } from './hostile-hub-stage.ts'

const skip = skipLoudly('a hostile hub against kubectl', await apiServerIsPossible('1.36.3'))

const FORGERIES = [
  'signed by the hub’s key, its leaf in the chain',
  'signed by the hub’s key, alone',
  'signed by a CA made of the hub’s name and key',
  'signed by the hub’s key for itself',
  'self-signed by a new key',
  'the hub’s own leaf',
  'signed by the server CA of another cluster',
]
const KUBECTLS = ['1.36.3', '1.33.13'] as const
const MODES = ['exec', 'static'] as const

/** One bundle for both layers is the trap: nothing the hub owns may be able to sign for the cluster. */
describe.skipIf(skip).each([
  ['by name', 'localhost'],
  ['by address', '127.0.0.1'],
])('a hub reached %s that owns its key and ends the inner layer itself', (_, hubHost) => {
  let victim: Victim
  let hub: HostileHub
  let forged: Readonly<Record<string, InnerIdentity>>

  beforeAll(async () => {
    victim = await openVictim({ hubHost, modes: MODES })
    hub = await victim.turnHostile()
    forged = await forgeries(hub.identity, victim.host)
  })
  afterAll(() => victim?.stop())
  beforeEach(() => {
    hub.deed = relayHonestly
  })

  function showOnly(identity: InnerIdentity): Canary {
    const canary = new Canary(identity)
    hub.deed = ({ client }) => canary.accept(client)
    return canary
  }

  describe.each(KUBECTLS)('and kubectl %s', (version) => {
    describe.each(MODES)('with a kubeconfig in %s mode', (mode) => {
      const sing = () =>
        victim.kubectl(version, victim.kubeconfig(mode), ['get', '--raw', '/canary'])

      test('are connected by the true agent’s certificate, so a refusal below means something', async () => {
        const canary = showOnly(await issuedBy(victim.serverCa, victim.host))
        expect(await sing()).toMatchObject({ stdout: 'the canary sang', exitCode: 0 })
        expect(canary.requests).toEqual(['GET /canary'])
        expect(canary.plaintext).toBeGreaterThan(0)
      })

      test('are connected by a forgery if the hub’s certificate were a CA, so what refuses it is that it is none', async () => {
        const canary = showOnly(forged['signed by the hub’s key, alone']!)
        const path = await victim.trusting(mode, hub.identity.pem, authorityOfHub(hub.identity))
        const result = await victim.kubectl(version, path, ['get', '--raw', '/canary'])
        expect(result).toMatchObject({ stdout: 'the canary sang', exitCode: 0 })
        expect(canary.requests).toEqual(['GET /canary'])
      })

      test('work through the hub as long as it only relays', async () => {
        const user = 'jsonpath={.status.userInfo.username}'
        const { stdout } = await victim.kubectl(version, victim.kubeconfig(mode), [
          'auth',
          'whoami',
          '-o',
          user,
        ])
        expect(stdout).toBe('mcm:alice')
      })

      test.each(FORGERIES)('no byte of a request is sent to a certificate %s', async (what) => {
        const canary = showOnly(forged[what]!)
        const { stdout, stderr, exitCode } = await sing()
        expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 })
        expect(stderr).toMatch(/x509: |tls: failed to verify certificate/)
        expect(canary).toMatchObject({ plaintext: 0, requests: [] })
        // It was the client that ended the handshake, because of the certificate.
        await expect.poll(() => canary.refusals.length).toBeGreaterThan(0)
        expect(canary.refusals[0]).toMatch(/ALERT_(UNKNOWN_CA|BAD_CERTIFICATE)/)
      })
    })
  })
})
