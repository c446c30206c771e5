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
// In this order: a certificate has begun five minutes before the clock of the agent that issues it.
const FIVE_MINUTES = [-5, 5]
const TWO_HOURS = [120, -120]
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
    test.each(FIVE_MINUTES)('%d minutes off: nobody notices', async (minutes) => {
      await clock[who].set(minutes * MINUTE)
      await works()
      for (const command of [['whoami'], ['certs', 'renew'], ['certs'], ['clusters']]) {
        const { exitCode, stderr } = await mcm(...command)
        expect({ command, exitCode, stderr }).toEqual({ command, exitCode: 0, stderr: '' })
      }
      await works()
    })
  })

  test.each(TWO_HOURS)(
    'the client’s, %d minutes off: said with both times, and nothing is renewed',
    async (minutes) => {
      await clock.client.set(minutes * MINUTE)
      for (const command of [['certs', 'renew'], ['certs'], ['clusters'], ['login']]) {
        const { exitCode, stderr } = await mcm(...command)
        expect({ command, exitCode }).toEqual({ command, exitCode: TRUST_ERROR })
        // By a clock of before, the certificate of a hub this young has not begun.
        if (minutes > 0) expect(stderr).toMatch(/120 minutes ahead of the hub's: .* here, .* there/)
        else expect(stderr).toMatch(/it is valid from \S+ to \S+, and this clock says \S+/)
      }
      const { exitCode, stderr } = await get()
      // A certificate that is kept and has begun by that clock serves on.
      if (minutes > 0) expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
      else expect(stderr).toMatch(/and this clock says|this clock is 120 minutes behind/)
    },
  )

  test.each(TWO_HOURS)(
    'the hub’s, %d minutes off: said with both times; kubectl goes on',
    async (minutes) => {
      await clock.hub.set(minutes * MINUTE)
      const { exitCode, stderr } = await mcm('clusters')
      expect(exitCode).toBe(TRUST_ERROR)
      expect(stderr).toMatch(/this clock is 120 minutes (ahead of|behind) the hub's/)
      await works()
      const granted = await alice.mcm(['grant', 'bob', '--cluster', CLUSTER, '--role', 'ops'])
      expect(granted.exitCode).toBe(TRUST_ERROR)
    },
  )

  test.each(TWO_HOURS)(
    'the agent’s, %d minutes off: it issues nothing, and says both times',
    async (minutes) => {
      await clock.agent.set(minutes * MINUTE)
      const renewal = async () => {
        const { exitCode, stdout } = await mcm('certs', 'renew', '--json')
        expect(exitCode).not.toBe(0)
        return stdout
      }
      // For a moment after the jump it says that it has to look at what it watches again.
      await expect
        .poll(renewal, { timeout: 60_000 })
        .toMatch(/your clock says \S+ and the cluster’s says \S+/)
      if (minutes > 0) return works()
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
    const kubectl = await kubectlPath(VERSION)
    const made = await runProgram(
      kubectl,
      ['create', 'secret', 'generic', 'there', '-n', 'kube-system'],
      { env: { ...process.env, KUBECONFIG: cluster.adminKubeconfig } },
    )
    expect(made).toMatchObject({ exitCode: 0 })
    const secrets = ['get', 'secrets', '-n', 'kube-system', '-o', 'name']
    const isIn = async () => (await get(...secrets)).exitCode === 0
    await expect.poll(isIn, { timeout: 60_000 }).toBe(true)
    await clock.hub.set(120 * MINUTE)
    await clock.client.set(120 * MINUTE)
    expect(await isIn()).toBe(true)
    await clock.hub.set(0)
    await clock.client.set(0)
    const args = [...secrets, '--watch']
    const watch = new LongRunning(kubectl, args, env())
    await watch.shows(/secret\//)
    await clock.agent.set(120 * MINUTE)
    await expect
      .poll(async () => (await get(...secrets)).stderr, { timeout: 60_000 })
      .toContain('cannot list resource "secrets"')
    await watch.ended
  })

  test.each([...FIVE_MINUTES, ...TWO_HOURS])(
    'a revocation counts at once, with the agent’s clock %d minutes off',
    async (minutes) => {
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
        await clock.agent.set(minutes * MINUTE)
        const order = ['certs', 'revoke', '--user', name, '--yes']
        const tell = () => alice.mcm(how === 'agent' ? order : ['revoke', name, '--yes'])
        if (how === 'directory') await tell()
        else await expect.poll(async () => (await tell()).exitCode, { timeout: 60_000 }).toBe(0)
        await watch.ended
        await clock.agent.set(0)
        const kubectl = await kubectlPath(VERSION)
        const env = { ...person.env, KUBECONFIG: file }
        await expect
          .poll(async () => (await runProgram(kubectl, args.slice(0, 2), { env })).stderr, {
            timeout: 60_000,
          })
          .toMatch(/was revoked at|may not reach it/)
      }
    },
  )

  test('carol, who does nothing, is let in all the while', async () => {
    expect(await carol.mcm(['whoami'])).toMatchObject({ exitCode: 0 })
  })
})
