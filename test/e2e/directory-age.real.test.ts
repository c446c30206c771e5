import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { clockIsPossible, ShiftedClock } from './outage-clock.ts'
import { withoutCertificateCheck } from './outage-kubeconfig.ts'
import { type Person, Stage } from './stage.ts'

const VERSION = '1.36.3'
const clocks = await clockIsPossible()
const skip = skipLoudly(
  'the maximum age of a directory',
  clocks.possible ? await apiServerIsPossible(VERSION) : clocks,
)
const CLUSTER = 'idc-k8s'
const HOUR = 1 / 24

/** Hub, agent and people begin in the past and move together; only the API server knows the true time. */
describe.skipIf(skip)('a directory that must not be older than two days', () => {
  let cluster: ApiServer
  let clock: ShiftedClock
  let stage: Stage
  let alice: Person
  let bob: Person

  beforeAll(async () => {
    cluster = await startApiServer({ version: VERSION })
    clock = await ShiftedClock.open(-60)
    stage = await Stage.open()
    alice = await stage.found('alice')
    const adminKubeconfig = await withoutCertificateCheck(cluster)
    await stage.addCluster(alice, CLUSTER, { adminKubeconfig })
    await stage.agents.get(`${CLUSTER}/a`)!.stop('SIGTERM')
    const flags = ['--directory-max-age', '2d']
    const agent = await stage.startAgent(CLUSTER, { adminKubeconfig }, 'a', flags)
    await agent.shows(/tunnel_open/)
    bob = await stage.join(alice, 'bob', ['--cluster', CLUSTER, '--role', 'ro'])
  }, 300_000)
  afterAll(async () => {
    await stage?.close()
    await clock?.close()
    await cluster?.stop()
  })

  /** A session of bob's at the agent: what it says, whether he is let in or not. */
  const hears = async () => (await bob.mcm(['certs', '--json'])).stdout
  const expectSoon = () => expect.poll(hears, { timeout: 60_000, interval: 500 })

  test('lets everybody in while it is young, and nobody when it is older', async () => {
    await clock.set(-60 + 47 * HOUR)
    await expectSoon().toContain('"state": "stands"')
    await clock.set(-60 + 49 * HOUR)
    await expectSoon().toContain('this cluster wants that every 172800 s, so nobody is let in')
    const shown = await bob.mcm(['certs', 'renew', '--json'])
    expect(shown.stdout).toContain('an administrator last confirmed the directory at')
    expect(shown.exitCode).toBe(9)
  })

  test('is confirmed by whatever command an administrator runs', async () => {
    await alice.must(['clusters'])
    await expectSoon().toContain('"state": "stands"')
  })

  test('is not young by a confirmation of a time to come, and the next of the right time counts again', async () => {
    await clock.set(-40)
    await alice.must(['clusters'])
    await expectSoon().toContain('"state": "stands"')
    await clock.set(-55)
    await expectSoon().toContain('by the clock of this cluster it is')
    await alice.must(['clusters'])
    await expectSoon().toContain('"state": "stands"')
  })

  test('may not be asked to be younger than administrators confirm it', async () => {
    const { exitCode, stderr } = await alice.mcm(['register', 'other', '--directory-max-age', '6h'])
    expect(exitCode).toBe(2)
    expect(stderr).toContain('is shorter than two days')
  })
})
