import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { identityOf } from './hostile-hub-stage.ts'
import { clockIsPossible, ShiftedClock } from './outage-clock.ts'
import { withoutCertificateCheck } from './outage-kubeconfig.ts'
import { untilItWorks } from './outage-load.ts'
import { type LongRunning, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const clocks = await clockIsPossible()
const skip = skipLoudly(
  'a fortnight away',
  clocks.possible ? await apiServerIsPossible('1.36.3') : clocks,
)
const CLUSTER = 'idc-k8s'
/** As long as it takes to open a lid and type a command. */
const AWAKE_MS = 5_000

/**
 * Hub, agent and mcm begin in the past and are moved forward, TLS and all; kubectl and the API server know only
 * the true time, at which the story ends.
 */
describe.skipIf(skip)('a person who comes back to their laptop', () => {
  let cluster: ApiServer
  let clock: ShiftedClock
  let stage: Stage
  let alice: Person
  let bob: Person
  let clusterId: string
  let proxy: LongRunning
  let adminKubeconfig: string
  const kubeconfigs = {} as Record<'exec' | 'static' | 'proxy', string>

  beforeAll(async () => {
    cluster = await startApiServer({ version: '1.36.3' })
    adminKubeconfig = await withoutCertificateCheck(cluster)
    clock = await ShiftedClock.open(-60)
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, CLUSTER, { adminKubeconfig })
    const grant = ['--cluster', CLUSTER, '--role', 'ns-ro', '--namespace', 'default']
    bob = await stage.join(alice, 'bob', grant)
    clusterId = (await identityOf(cluster)).clusterId
    proxy = alice.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    for (const mode of ['exec', 'static', 'proxy'] as const)
      kubeconfigs[mode] = await alice.kubeconfig(mode)
  })
  afterAll(async () => {
    await proxy?.stop('SIGKILL')
    await stage?.close()
    await clock?.close()
    await cluster?.stop()
  })

  /** The cluster was awake meanwhile: its agent has certificates of these days. */
  async function wakeAgent(): Promise<void> {
    await agent().stop('SIGKILL')
    await stage.startAgent(CLUSTER, { adminKubeconfig })
    await agent().shows(/tunnel_open/)
  }
  const agent = () => stage.agents.get(`${CLUSTER}/a`)!
  const issuedTo = (user: string) =>
    agent()
      .stderr.split('\n')
      .filter((line) => line.includes('certificate_issued') && line.includes(`"${user}"`)).length
  const credential = (person: Person) => person.mcm(['credential', '--cluster', clusterId])
  const notAfter = async () => {
    const path = join(alice.home, 'certificates', `${clusterId}.json`)
    return new Date(JSON.parse(await readFile(path, 'utf8')).notAfter).getTime()
  }
  const now = (days: number) => Date.now() + days * 86_400_000
  const kubectl = async (mode: keyof typeof kubeconfigs, ...args: string[]) =>
    runProgram(await kubectlPath('1.36.3'), args, {
      env: { ...alice.env, KUBECONFIG: kubeconfigs[mode] },
    })

  test('after a fortnight, fifty programs that ask at once for a certificate make one renewal', async () => {
    await clock.set(-46)
    await wakeAgent()
    expect(await notAfter()).toBeLessThan(now(-46))
    const answers = await Promise.all(Array.from({ length: 50 }, () => credential(alice)))
    expect(new Set(answers.map(({ exitCode, stderr }) => `${exitCode} ${stderr}`))).toEqual(
      new Set(['0 ']),
    )
    expect(new Set(answers.map(({ stdout }) => stdout)).size).toBe(1)
    expect(issuedTo('alice')).toBe(1)
    expect(await notAfter()).toBeGreaterThan(now(-46))
  })

  test('and all of it was asleep, hub and agent as well: seconds after waking a certificate comes without a word', async () => {
    await clock.set(-29)
    const before = issuedTo('alice')
    expect(await notAfter()).toBeLessThan(now(-29))
    const { ms, failures } = await untilItWorks(() => credential(alice), AWAKE_MS)
    console.info(`after a sleep of 17 days: ${ms} ms, ${failures.length} failures before`)
    expect(issuedTo('alice')).toBe(before + 1)
    expect(await notAfter()).toBeGreaterThan(now(-29))
    expect(await credential(alice)).toMatchObject({ exitCode: 0, stderr: '' })
  })

  test('after a month without a word, is told in one sentence what to do', async () => {
    const { exitCode, stderr } = await credential(bob)
    expect(exitCode).toBeGreaterThan(0)
    expect(stderr).toContain('more than 30 days ago')
    expect(stderr).toContain('ask an administrator for a new invite')
  })

  test('four weeks later the next kubectl works without a word, also through a proxy that ran on', async () => {
    await clock.set(0)
    await wakeAgent()
    for (const mode of ['exec', 'proxy'] as const) {
      const who = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']
      expect(await kubectl(mode, ...who)).toEqual({ stdout: 'mcm:alice', stderr: '', exitCode: 0 })
    }
  })

  test('with a certificate inside the file, is told that it has expired', async () => {
    const { exitCode, stderr } = await kubectl('static', 'get', 'namespaces')
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/expired/)
  })
})
