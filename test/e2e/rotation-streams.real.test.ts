import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { LongRunning, runProgram } from './program.ts'
import { type SandboxCluster, startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'
import { startPods } from './stream-suite.ts'

const NAME = 'idc-k8s'
/** `mcm proxy` hears of it by itself in the meantime, on a busy machine, too. */
const OVERLAP_S = 100
/** Between two looks at a stream: the ticker of the pod says something every second. */
const TICK = { timeout: 60_000 }

/** An exec, `logs -f` and a watch of one person, for as long as they last. */
interface Streams {
  readonly exec: LongRunning
  readonly logs: LongRunning
  readonly watch: LongRunning
}

/**
 * Streams across a whole rotation, begun before it: real kubectl, two replicas of the agent. One person goes through
 * `mcm proxy` and does nothing else, one uses kubectl with the plugin again meanwhile, one has a kubeconfig with a
 * certificate in it and does not. In this order.
 */
describe('what runs while the CAs of its cluster are replaced', () => {
  let sandbox: SandboxCluster
  let stage: Stage
  let alice: Person
  let until: number
  let proxied: Streams
  let renewed: Streams
  let idle: Streams
  let bob: Person
  let carol: Person
  let dave: Person
  let carolsKubeconfig: string
  const programs: LongRunning[] = []

  beforeAll(async () => {
    sandbox = await startSandboxCluster()
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, NAME, sandbox)
    await stage.startAgent(NAME, sandbox, 'b')
    const { adminKubeconfig } = sandbox
    await startPods({ adminKubeconfig, image: 'registry.example/shell:1' })
    const grant = ['--cluster', NAME, '--role', 'admin']
    bob = await stage.join(alice, 'bob', grant)
    carol = await stage.join(alice, 'carol', grant)
    dave = await stage.join(alice, 'dave', grant)
    const proxy = bob.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    carolsKubeconfig = await carol.kubeconfig('exec')
  }, 240_000)
  afterAll(async () => {
    await Promise.all(programs.map((program) => program.stop('SIGKILL')))
    await stage?.close()
    await sandbox?.stop()
  })

  async function streams(person: Person, KUBECONFIG: string): Promise<Streams> {
    const kubectl = await kubectlPath('1.36.3')
    const start = (...args: string[]) => {
      const program = new LongRunning(kubectl, args, { ...person.env, KUBECONFIG }, 'pipe')
      programs.push(program)
      return program
    }
    const all = {
      exec: start('exec', '-i', 'shell', '--', 'cat'),
      logs: start('logs', '-f', 'ticker'),
      watch: start('get', 'configmaps', '--watch', '--output', 'name'),
    }
    await expectAlive(all, `first-${person.name}`)
    return all
  }

  /** Each carries something that was not there before. */
  async function expectAlive({ exec, logs, watch }: Streams, word: string): Promise<void> {
    exec.child.stdin!.write(`${word}\n`)
    await exec.shows(new RegExp(`^${word}$`, 'm'), TICK.timeout)
    const ticks = () => logs.stdout.split('tick').length
    const before = ticks()
    await expect.poll(ticks, TICK).toBeGreaterThan(before)
    const { adminKubeconfig: kubeconfig } = sandbox
    const made = await runKubectl('1.36.3', ['create', 'configmap', word], { kubeconfig })
    expect(made.exitCode, made.stderr).toBe(0)
    await watch.shows(new RegExp(`configmap/${word}`), TICK.timeout)
  }

  test('runs', async () => {
    proxied = await streams(bob, await bob.kubeconfig('proxy'))
    renewed = await streams(carol, carolsKubeconfig)
    idle = await streams(dave, await dave.kubeconfig('static'))
  }, 240_000)

  test('goes on when the rotation begins, and during the overlap', async () => {
    const rotate = ['clusters', 'rotate-ca', NAME, '--overlap', `${OVERLAP_S}s`, '--json']
    until = Date.parse(JSON.parse(await alice.must(rotate)).until)
    for (const [name, each] of Object.entries({ proxied, renewed, idle }))
      await expectAlive(each, `during-${name}`)
    // Carol does something else meanwhile: the plugin renews.
    await carol.must(['whoami'])
    const env = { ...carol.env, KUBECONFIG: carolsKubeconfig }
    const kubectl = await kubectlPath('1.36.3')
    const got = await runProgram(kubectl, ['get', 'configmaps', '-o', 'name'], { env })
    expect(got.exitCode, got.stderr).toBe(0)
    expect(got.stderr).toContain(`mcm kubeconfig ${NAME} --merge`)
    expect(Date.now()).toBeLessThan(until)
  })

  test('goes on after it where the device has a certificate of the new CA, by proxy and by plain kubectl', async () => {
    await expect.poll(() => Date.now() > until + 7_000, { timeout: 200_000 }).toBe(true)
    await expectAlive(proxied, 'after-proxied')
    await expectAlive(renewed, 'after-renewed')
  }, 300_000)

  test('is cut where the old certificate is still in use, and an exec says why', async () => {
    expect(await idle.exec.ended).toBe(1)
    expect(idle.exec.stderr).toContain('is of a CA that this cluster has replaced')
    await Promise.all([idle.logs.ended, idle.watch.ended])
    const said = [...stage.agents.values()].map(({ stdout, stderr }) => `${stdout}${stderr}`)
    const cut = said
      .join('')
      .split('\n')
      .filter((line) => line.includes('session_cut'))
    expect(cut.join('\n')).toContain('dave')
  })

  test('goes on when the overlap is long over', async () => {
    await expectAlive(proxied, 'late-proxied')
    await expectAlive(renewed, 'late-renewed')
  })
})
