import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '../../src/protocol/keys.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { LongRunning, runProgram } from './program.ts'
import { type SandboxCluster, startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'
import { startPods } from './stream-suite.ts'

const NAME = 'idc-k8s'
const OVERLAP_S = 45
const TICK = { timeout: 60_000 }

/**
 * The next certificate of a hub in use: real programs, streams that were begun before it, and whoever slept through it.
 * Carol has a kubeconfig of before, dave's machine is off. In this order.
 */
describe('the certificate of a hub in use', () => {
  let sandbox: SandboxCluster
  let stage: Stage
  let alice: Person
  let bob: Person
  let carol: Person
  let dave: Person
  let old: { readonly static: string; readonly exec: string; readonly proxy: string }
  let davesKubeconfig: string
  let from: number
  let pin: string
  const execs: LongRunning[] = []
  const logs: LongRunning[] = []

  beforeAll(async () => {
    sandbox = await startSandboxCluster()
    const { adminKubeconfig } = sandbox
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, NAME, sandbox)
    await stage.startAgent(NAME, sandbox, 'b')
    await startPods({ adminKubeconfig, image: 'registry.example/shell:1' })
    const grant = ['--cluster', NAME, '--role', 'admin']
    bob = await stage.join(alice, 'bob', grant)
    carol = await stage.join(alice, 'carol', grant)
    dave = await stage.join(alice, 'dave', grant)
    // Where the next certificate comes from; it needs no restart when two thirds of its life are over.
    await stage.hub.stop()
    await stage.startHub(stage.hubHost, ['--next-certificate'])
    const proxy = bob.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    old = {
      static: await kept(await carol.kubeconfig('static'), 'old-static'),
      exec: await kept(await carol.kubeconfig('exec'), 'old-exec'),
      proxy: await kept(await bob.kubeconfig('proxy'), 'old-proxy'),
    }
    davesKubeconfig = await dave.kubeconfig('proxy')
  }, 240_000)
  afterAll(async () => {
    await Promise.all([...execs, ...logs].map((program) => program.stop('SIGKILL')))
    await stage?.close()
    await sandbox?.stop()
  })

  async function kept(kubeconfig: string, name: string): Promise<string> {
    const path = join(stage.directory, name)
    await writeFile(path, await readFile(kubeconfig, 'utf8'), { mode: 0o600 })
    return path
  }
  async function start(person: Person, KUBECONFIG: string, ...args: string[]) {
    const env = { ...person.env, KUBECONFIG }
    return new LongRunning(await kubectlPath('1.36.3'), args, env, 'pipe')
  }
  async function expectAlive(word: string): Promise<void> {
    for (const exec of execs) {
      exec.child.stdin!.write(`${word}\n`)
      await exec.shows(new RegExp(`^${word}$`, 'm'), TICK.timeout)
    }
    for (const each of logs) {
      const ticks = () => each.stdout.split('tick').length
      const before = ticks()
      await expect.poll(ticks, TICK).toBeGreaterThan(before)
    }
  }
  const list = async (person: Person, KUBECONFIG: string) =>
    runProgram(await kubectlPath('1.36.3'), ['get', 'pods', '-o', 'name'], {
      env: { ...person.env, KUBECONFIG },
    })
  async function expectGood(person: Person, kubeconfig: string): Promise<void> {
    const { exitCode, stdout, stderr } = await list(person, kubeconfig)
    expect(exitCode, stderr).toBe(0)
    expect(stdout).toContain('pod/shell')
  }
  const shownPin = () =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({
        ...{ host: '127.0.0.1', port: stage.hubPort, rejectUnauthorized: false },
        ALPNProtocols: ['h2'],
      })
      socket.once('error', reject)
      socket.once('secureConnect', () => {
        resolve(sha256(socket.getPeerX509Certificate()!.raw))
        socket.destroy()
      })
    })
  const tunnelsOpened = () =>
    [...stage.agents.values()].flatMap(
      ({ stdout, stderr }) => `${stdout}${stderr}`.match(/tunnel_open/g) ?? [],
    ).length
  const agents = async () =>
    JSON.parse(await alice.must(['clusters', 'show', NAME, '--json'])).agents as number

  let opened: number
  let before: string

  test('is signed by an administrator while everything runs, and kubeconfigs of before work', async () => {
    await expect.poll(agents, { timeout: 60_000 }).toBe(2)
    for (const [person, kubeconfig] of [
      [bob, old.proxy],
      [carol, old.static],
    ] as const) {
      execs.push(await start(person, kubeconfig, 'exec', '-i', 'shell', '--', 'cat'))
      logs.push(await start(person, kubeconfig, 'logs', '-f', 'ticker'))
    }
    await expectAlive('first')
    opened = tunnelsOpened()
    before = await shownPin()
    const sign = ['hub', 'sign-certificate', '--overlap', `${OVERLAP_S}s`, '--json']
    const signed = JSON.parse(await alice.must(sign))
    ;({ pin } = signed)
    from = Date.parse(signed.from)
    expect(pin).not.toBe(before)
    expect(await shownPin()).toBe(before)
    await expectGood(carol, old.static)
    await expectGood(carol, old.exec)
    await expectGood(carol, await carol.kubeconfig('static'))
    await expectAlive('during')
    expect(Date.now()).toBeLessThan(from)
  })

  test('is shown from the signed moment; no stream and no tunnel is lost', async () => {
    await expect.poll(shownPin, { timeout: 150_000 }).toBe(pin)
    expect(Date.now()).toBeGreaterThanOrEqual(from)
    await expectAlive('after')
    expect(tunnelsOpened()).toBe(opened)
    await expectGood(bob, old.proxy)
    await expectGood(carol, join(carol.home, 'kubeconfig-static'))
  }, 240_000)

  test('is refused by a kubeconfig of before, whose plugin names the command, and that command mends it', async () => {
    const refused = await list(carol, old.exec)
    expect(refused.exitCode).not.toBe(0)
    expect(refused.stderr).toContain(`run mcm kubeconfig ${NAME} --merge`)
    expect((await list(carol, old.static)).stderr).toMatch(/unknown authority/)
    await carol.must(['kubeconfig', NAME, '--merge'], { env: { KUBECONFIG: old.exec } })
    await expectGood(carol, old.exec)
    expect((await list(carol, old.exec)).stderr).toBe('')
  })

  test('is learnt from the chain by a machine that was off, and by its proxy', async () => {
    expect((await dave.mcm(['clusters'])).exitCode).toBe(0)
    const proxy = dave.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    await expectGood(dave, davesKubeconfig)
  })

  test('is taken by agents that start anew with the configuration of their registration', async () => {
    for (const agent of stage.agents.values()) await agent.stop('SIGKILL')
    await stage.startAgent(NAME, sandbox, 'c')
    await expect.poll(agents, { timeout: 60_000 }).toBe(1)
    await expect
      .poll(async () => (await list(carol, old.exec)).exitCode, { timeout: 60_000 })
      .toBe(0)
  })

  test('changes once more while every agent is down, and with no overlap: nobody is stranded', async () => {
    for (const agent of stage.agents.values()) await agent.stop('SIGKILL')
    await stage.hub.stop()
    await stage.startHub(stage.hubHost, ['--next-certificate'])
    expect(await shownPin()).toBe(pin)
    const signed = JSON.parse(
      await alice.must(['hub', 'sign-certificate', '--overlap', '0', '--json']),
    )
    await expect.poll(shownPin, { timeout: 30_000 }).toBe(signed.pin)
    await stage.startAgent(NAME, sandbox, 'd')
    await expect.poll(agents, { timeout: 60_000 }).toBe(1)
    await expect
      .poll(async () => (await list(bob, old.proxy)).exitCode, { timeout: 60_000 })
      .toBe(0)
    expect((await dave.mcm(['whoami'])).exitCode).toBe(0)
  }, 240_000)
})
