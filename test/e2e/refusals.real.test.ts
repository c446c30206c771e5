import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/** What a person reads when mcm says no: each refusal of the agent and the hub, in the words of real kubectl. */
describe.each(['1.36.3', '1.33.13'] as const)('refusals as kubectl %s prints them', (version) => {
  let cluster: ApiServer
  let stage: Stage
  let alice: Person

  beforeAll(async () => {
    cluster = await startApiServer({ version })
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, 'idc-k8s', cluster)
  })

  afterAll(async () => {
    await stage?.close()
    await cluster?.stop()
  })

  const asAdmin = (args: readonly string[]) =>
    runKubectl(version, args, { kubeconfig: cluster.adminKubeconfig })

  async function newcomer(name: string): Promise<Person> {
    const person = await stage.join(alice, name, ['--cluster', 'idc-k8s', '--role', 'ro'])
    await person.must([
      'kubeconfig',
      '--all',
      '--mode',
      'static',
      '--output',
      join(person.home, 'kubeconfig'),
    ])
    expect(await getPods(person)).toMatchObject({ exitCode: 0 })
    return person
  }

  const getPods = async (person: Person) =>
    runProgram(await kubectlPath(version), ['get', 'pods'], { env: person.env })

  test('401: a certificate that is not on the list of the cluster', async () => {
    const bob = await newcomer('bob')
    await asAdmin(['-n', 'mcm-system', 'delete', 'secrets', '-l', 'mcm.dev/user=bob'])
    const { stdout } = await asAdmin(['-n', 'mcm-system', 'get', 'secrets', '-o', 'name'])
    for (const name of stdout.split('\n').filter((line) => line.includes('mcm-principal-')))
      await asAdmin(['-n', 'mcm-system', 'delete', name])
    await expect
      .poll(async () => (await getPods(bob)).stderr, { timeout: 5_000 })
      .toContain(
        'You must be logged in to the server (mcm: the certificate of bob is not on the list of this cluster; run mcm login)',
      )
  })

  test('403: a principal whose grant was taken away', async () => {
    const carol = await newcomer('carol')
    await alice.must(['revoke', 'carol', '--cluster', 'idc-k8s', '--yes'])
    await expect
      .poll(async () => (await getPods(carol)).stderr, { timeout: 5_000 })
      .toMatch(/Forbidden|may not reach it/)
  })

  test('403: kubectl --as somebody else names the header', async () => {
    const dave = await newcomer('dave')
    const { stderr, exitCode } = await runProgram(
      await kubectlPath(version),
      ['get', 'pods', '--as', 'mcm:alice'],
      { env: dave.env },
    )
    expect(stderr).toContain('Impersonate-User')
    expect(exitCode).toBe(1)
  })

  test('503: an API server that does not answer is said, and everything goes on when it is back', async () => {
    const erin = await newcomer('erin')
    const said: string[] = []
    let isBack = false
    const restarting = cluster.restart(0).finally(() => {
      isBack = true
    })
    while (!isBack) said.push((await getPods(erin)).stderr)
    await restarting
    expect(said.join('\n')).toMatch(
      /mcm: the API server (cannot be reached|did not answer in time)/,
    )
    await expect
      .poll(async () => (await getPods(erin)).exitCode, { timeout: 30_000, interval: 500 })
      .toBe(0)
  })

  test('no agent: the sentence is the reason phrase of the CONNECT', async () => {
    await stage.agents.get('idc-k8s/a')!.stop('SIGTERM')
    const frank = alice
    await alice.must([
      'kubeconfig',
      '--all',
      '--mode',
      'static',
      '--output',
      join(alice.home, 'kubeconfig'),
    ])
    const { stderr, exitCode } = await getPods(frank)
    expect(stderr).toContain('no agent of this cluster is connected to the hub')
    expect(exitCode).toBe(1)
  })

  test('no hub: kubectl says the connection was refused', async () => {
    await stage.hub.stop('SIGKILL')
    const { stderr, exitCode } = await getPods(alice)
    expect(stderr).toMatch(/refused/)
    expect(exitCode).toBe(1)
  })
})
