import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { Load, type Recovery, untilItWorks } from './outage-load.ts'
import { type LongRunning, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const skip = skipLoudly('what outages do', await apiServerIsPossible('1.36.3'))
const MODES = ['exec', 'static', 'proxy'] as const
type Mode = (typeof MODES)[number]
const REPLACED_MS = 30_000

describe.skipIf(skip)(
  'after an outage the next kubectl works and nothing acknowledged is lost',
  () => {
    let cluster: ApiServer
    let stage: Stage
    let alice: Person
    let proxy: LongRunning
    const kubeconfigs = {} as Record<Mode, string>

    beforeAll(async () => {
      cluster = await startApiServer({ version: '1.36.3' })
      stage = await Stage.open()
      alice = await stage.found('alice')
      await stage.addCluster(alice, 'idc-k8s', cluster)
      proxy = alice.start(['proxy'])
      await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
      for (const mode of MODES) kubeconfigs[mode] = await alice.kubeconfig(mode)
    })
    afterAll(async () => {
      await proxy?.stop('SIGKILL')
      await stage?.close()
      await cluster?.stop()
    })

    const kubectl = async (mode: Mode, ...args: string[]) =>
      runProgram(await kubectlPath('1.36.3'), args, {
        env: { ...alice.env, KUBECONFIG: kubeconfigs[mode] },
      })
    const get = (mode: Mode) => kubectl(mode, 'get', 'namespace', 'default', '-o', 'name')
    const agent = (replica: string) => stage.agents.get(`idc-k8s/${replica}`)!

    async function measureRecovery(what: string): Promise<Record<Mode, Recovery>> {
      const recoveries = await Promise.all(
        MODES.map(
          async (mode) => [mode, await untilItWorks(() => get(mode), REPLACED_MS)] as const,
        ),
      )
      const times = recoveries.map(
        ([mode, { ms, failures }]) => `${mode} ${ms} ms/${failures.length}`,
      )
      console.info(`${what}: kubectl works again after (failures before it): ${times.join(', ')}`)
      for (const [, { ms }] of recoveries) expect(ms).toBeLessThan(REPLACED_MS)
      return Object.fromEntries(recoveries) as Record<Mode, Recovery>
    }

    test('a hub killed under load three times: every invite that was confirmed is in the directory', async () => {
      const gets = new Load('get', 2, (run) => get(MODES[run % MODES.length]!))
      const invites = new Load('load', 3, (run) => alice.mcm(['invite', `load-${run}`]))
      for (let kill = 0; kill < 3; kill++) {
        await invites.more(4)
        // In the middle of whatever is being written.
        await sleep(40 * kill)
        await stage.hub.stop('SIGKILL')
        await stage.startHub()
        const what = `hub killed (${kill + 1} of 3), from its being ready`
        const { exec, static: inFile } = await measureRecovery(what)
        // The very next one: the hub lets it wait for the agent.
        expect([...exec.failures, ...inFile.failures]).toEqual([])
      }
      await invites.more(2)
      await Promise.all([gets.end(), invites.end()])
      await alice.must(['directory', 'verify'])
      const { statements } = JSON.parse(await alice.must(['directory', 'show', '--json'])) as {
        statements: { type: string; about?: string }[]
      }
      const invited = statements.filter(({ type }) => type === 'invite')
      const missing = invites.succeeded.filter(
        ({ name }) => !invited.some(({ about }) => about?.startsWith(`${name} until`)),
      )
      expect(missing).toEqual([])
      expect(invites.succeeded.length).toBeGreaterThan(13)
      expect(gets.succeeded.length).toBeGreaterThan(0)
      console.info(
        `confirmed ${invites.succeeded.length} invites (${invites.failed.length} refused), ` +
          `${gets.succeeded.length} gets (${gets.failed.length} failed)`,
      )
    })

    test('a confirmed invite still lets its person in after the hub was killed', async () => {
      const link = (await alice.must(['invite', 'bob'])).trim()
      await stage.hub.stop('SIGKILL')
      await stage.startHub()
      const bob = stage.person('bob')
      await bob.must(['login', link])
      expect(JSON.parse(await bob.must(['whoami', '--json']))).toMatchObject({ user: 'bob' })
    })

    test('an agent killed and started again', async () => {
      await agent('a').stop('SIGKILL')
      const { stderr, exitCode } = await get('static')
      expect({ stderr, exitCode }).toEqual({
        stderr: expect.stringContaining('no agent of this cluster is connected to the hub'),
        exitCode: 1,
      })
      await stage.startAgent('idc-k8s', cluster)
      await measureRecovery('agent started again')
    })

    test('one of two agents killed: no kubectl fails', async () => {
      await stage.startAgent('idc-k8s', cluster, 'b')
      await agent('b').shows(/tunnel_open/)
      await expect
        .poll(async () => JSON.parse(await alice.must(['clusters', '--json']))[0], {
          timeout: 10_000,
        })
        .toMatchObject({ agents: 2 })
      await get('proxy')
      const gets = new Load('get', 2, (run) => get(MODES[run % MODES.length]!))
      await gets.more(2)
      await agent('a').stop('SIGKILL')
      await gets.more(8)
      await gets.end()
      // What ran over the killed one may be cut; whatever began afterwards is not.
      console.info(`one of two agents killed: ${gets.failed.length} of ${gets.outcomes.length} cut`)
      expect(gets.failed.length).toBeLessThanOrEqual(2)
      for (const mode of MODES) expect(await get(mode)).toMatchObject({ exitCode: 0 })
    })

    test('an API server restarted: it is said to be away, then everything goes on, issuing included', async () => {
      const gets = new Load('get', 1, (run) => get(MODES[run % MODES.length]!))
      await cluster.restart()
      await gets.end()
      const said = new Set(gets.failed.map(({ text }) => text.trim()))
      console.info(`while the API server was away kubectl said: ${[...said].join('\n')}`)
      expect(said.size).toBeGreaterThan(0)
      // One that has not read its RBAC yet forbids everything to everybody for a moment.
      for (const text of said)
        expect(text).toMatch(/Error from server \(ServiceUnavailable\)|cannot impersonate/)
      await measureRecovery('API server ready again')
      const grant = ['--cluster', 'idc-k8s', '--role', 'ns-ro', '--namespace', 'default']
      const carol = await stage.join(alice, 'carol', grant)
      const env = { ...carol.env, KUBECONFIG: await carol.kubeconfig('static') }
      const who = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']
      const { stdout } = await runProgram(await kubectlPath('1.36.3'), who, { env })
      expect(stdout).toBe('mcm:carol')
    })
  },
)
