import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { clockIsPossible, ShiftedClock } from './outage-clock.ts'
import { withoutCertificateCheck } from './outage-kubeconfig.ts'
import { type Finished, LongRunning, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const VERSION = '1.36.3'
const clocks = await clockIsPossible()
const skip = skipLoudly(
  'clocks that are off',
  clocks.possible ? await apiServerIsPossible(VERSION) : clocks,
)
const CLUSTER = 'idc-k8s'
const MINUTE = 1 / (24 * 60)
const FIVE_MINUTES = [5 * MINUTE, -5 * MINUTE]
const TWO_HOURS = [120 * MINUTE, -120 * MINUTE]
const TRUST_ERROR = 7

/**
 * A client, a hub and an agent whose clocks are off, each by itself, all of them real programs that see another wall
 * clock; kubectl and the API server know the true time. Nobody gets in by it who would not, and what fails says why.
 */
describe.skipIf(skip)('with a clock that is off', () => {
  let cluster: ApiServer
  let stage: Stage
  let alice: Person
  let bob: Person
  let carol: Person
  let kubeconfig: string
  const clock = {} as Record<'client' | 'hub' | 'agent', ShiftedClock>

  beforeAll(async () => {
    cluster = await startApiServer({ version: VERSION })
    for (const who of ['client', 'hub', 'agent'] as const) clock[who] = await ShiftedClock.apart()
    stage = await Stage.open()
    // Started again with a clock that can be moved.
    await stage.hub.stop('SIGKILL')
    stage.hubEnv = clock.hub.env
    stage.agentEnv = clock.agent.env
    await stage.startHub()
    alice = await stage.found('alice')
    const adminKubeconfig = await withoutCertificateCheck(cluster)
    await stage.addCluster(alice, CLUSTER, { adminKubeconfig })
    bob = await stage.join(alice, 'bob', ['--cluster', CLUSTER, '--role', 'ro'])
    carol = await stage.join(alice, 'carol', ['--cluster', CLUSTER, '--role', 'ro'])
    kubeconfig = await bob.kubeconfig('exec')
  }, 300_000)
  afterEach(async () => {
    for (const each of Object.values(clock)) await each.set(0)
    await vi.waitUntil(async () => (await get()).exitCode === 0, { timeout: 60_000 })
  })
  afterAll(async () => {
    await stage?.close()
    await cluster?.stop()
    for (const each of Object.values(clock)) await each.close()
  })

  /** bob's commands, by the client's clock. */
  const mcm = (...args: string[]) => bob.mcm(args, { env: clock.client.env })
  const env = () => ({ ...bob.env, ...clock.client.env, KUBECONFIG: kubeconfig })
  async function get(...args: string[]): Promise<Finished> {
    const what = args.length > 0 ? args : ['get', 'configmaps', '-A', '-o', 'name']
    return runProgram(await kubectlPath(VERSION), what, { env: env() })
  }
  const works = async (...args: string[]) => {
    // The agent looks again at what it watches when its clock has jumped.
    await expect.poll(async () => (await get(...args)).stderr, { timeout: 60_000 }).toBe('')
  }

  describe.each(['client', 'hub', 'agent'] as const)('the %s’s', (who) => {
    test.each(FIVE_MINUTES)('by five minutes (%s days), nobody notices', async (days) => {
      await clock[who].set(days)
      await works()
      for (const command of [['whoami'], ['certs', 'renew'], ['certs'], ['clusters']]) {
        const { exitCode, stderr } = await mcm(...command)
        expect({ command, exitCode, stderr }).toEqual({ command, exitCode: 0, stderr: '' })
      }
      await works()
    })
  })

  test.each(TWO_HOURS)(
    'the client’s by two hours (%s days): said with both times, and nothing is renewed',
    async (days) => {
      await clock.client.set(days)
      for (const command of [['certs', 'renew'], ['certs'], ['clusters'], ['login']]) {
        const { exitCode, stderr } = await mcm(...command)
        expect({ command, exitCode }).toEqual({ command, exitCode: TRUST_ERROR })
        expect(stderr).toMatch(
          /this clock is 120 minutes (ahead of|behind) the hub's: .* here, .* there/,
        )
      }
      const { exitCode, stderr } = await get()
      // A certificate that is kept and has begun by that clock serves on.
      if (days > 0) expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
      else expect(stderr).toContain('this clock is 120 minutes behind')
    },
  )

  test.each(TWO_HOURS)(
    'the hub’s by two hours (%s days): said with both times; kubectl goes on',
    async (days) => {
      await clock.hub.set(days)
      const { exitCode, stderr } = await mcm('clusters')
      expect(exitCode).toBe(TRUST_ERROR)
      expect(stderr).toMatch(/this clock is 120 minutes (ahead of|behind) the hub's/)
      await works()
      const granted = await alice.mcm(['grant', 'bob', '--cluster', CLUSTER, '--role', 'ops'])
      expect(granted.exitCode).toBe(TRUST_ERROR)
    },
  )

  test.each(TWO_HOURS)(
    'the agent’s by two hours (%s days): it issues nothing, and says both times',
    async (days) => {
      await clock.agent.set(days)
      const { exitCode, stdout } = await mcm('certs', 'renew', '--json')
      expect(exitCode).not.toBe(0)
      expect(stdout).toMatch(/your clock says \S+ and the cluster’s says \S+/)
      if (days > 0) return works()
      // Not begun by that clock.
      const refused = await get()
      expect(refused.exitCode).toBe(1)
      expect(refused.stderr).toMatch(
        /your clock says \S+ and the cluster’s says|is not valid before/,
      )
    },
  )

  test('a grant that ends goes by the agent’s clock, and by no other', async () => {
    const granted = ['--cluster', CLUSTER, '--role', 'admin', '--for', '1h']
    await alice.must(['grant', 'bob', ...granted])
    const secrets = ['get', 'secrets', '-n', 'kube-system', '-o', 'name']
    const isIn = async () => (await get(...secrets)).exitCode === 0
    await expect.poll(isIn, { timeout: 60_000 }).toBe(true)
    await clock.hub.set(120 * MINUTE)
    await clock.client.set(120 * MINUTE)
    expect(await isIn()).toBe(true)
    await clock.hub.set(0)
    await clock.client.set(0)
    const args = [...secrets, '--watch']
    const watch = new LongRunning(await kubectlPath(VERSION), args, env())
    await watch.shows(/secret\//)
    await clock.agent.set(120 * MINUTE)
    await expect
      .poll(async () => (await get(...secrets)).stderr, { timeout: 60_000 })
      .toContain('cannot list resource "secrets"')
    await watch.ended
  })

  test.each([...FIVE_MINUTES, ...TWO_HOURS])(
    'a revocation counts at once, whatever the agent’s clock says (%s days)',
    async (days) => {
      const minutes = Math.round(days * 24 * 60)
      for (const how of ['directory', 'agent'] as const) {
        // By an agent’s clock of long ago no certificate has begun, and nobody is let in to tell it.
        if (how === 'agent' && minutes < -10) continue
        const name = `${how}-${minutes}`.replace('--', '-minus')
        const person = await stage.join(alice, name, ['--cluster', CLUSTER, '--role', 'ro'])
        const file = await person.kubeconfig('static')
        const args = ['get', 'configmaps', '-A', '--watch', '-o', 'name']
        const watch = new LongRunning(await kubectlPath(VERSION), args, {
          ...person.env,
          KUBECONFIG: file,
        })
        await watch.shows(/configmap\//)
        await clock.agent.set(days)
        const order = ['certs', 'revoke', '--user', name, '--yes']
        const tell = () => alice.mcm(how === 'agent' ? order : ['revoke', name, '--yes'])
        if (how === 'directory') await tell()
        else await expect.poll(async () => (await tell()).exitCode, { timeout: 60_000 }).toBe(0)
        await watch.ended
        await clock.agent.set(0)
        const { stderr } = await runProgram(await kubectlPath(VERSION), args.slice(0, 2), {
          env: { ...person.env, KUBECONFIG: file },
        })
        expect(stderr).toMatch(/was revoked at|may not reach it/)
      }
    },
  )

  test('carol, who does nothing, is let in all the while', async () => {
    expect(await carol.mcm(['whoami'])).toMatchObject({ exitCode: 0 })
  })
})
