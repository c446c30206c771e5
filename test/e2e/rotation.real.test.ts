import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { LongRunning } from './program.ts'
import { type Person, Stage } from './stage.ts'

const VERSION = '1.36.3'
const skip = skipLoudly('the rotation of CAs', await apiServerIsPossible(VERSION))
/** Long enough for a busy machine to do what belongs into it. */
const OVERLAP_S = 60

/** New CAs for a cluster in use: real programs, two replicas of its agent, stock kubectl. In this order. */
describe.skipIf(skip)('the CAs of a cluster in use', () => {
  let cluster: ApiServer
  let stage: Stage
  let alice: Person
  let bob: Person
  let until: number
  let oldKubeconfig: string
  let watch: LongRunning
  const programs: LongRunning[] = []

  beforeAll(async () => {
    cluster = await startApiServer({ version: VERSION })
    stage = await Stage.open()
    alice = await stage.found('alice')
    await stage.addCluster(alice, 'idc-k8s', cluster)
    await stage.startAgent('idc-k8s', cluster, 'b')
    bob = await stage.join(alice, 'bob', ['--cluster', 'idc-k8s', '--role', 'ops'])
  })
  afterAll(async () => {
    await Promise.all(programs.map((program) => program.stop('SIGKILL')))
    await stage?.close()
    await cluster?.stop()
  })

  const shown = async () => JSON.parse(await alice.must(['clusters', 'show', 'idc-k8s', '--json']))
  const agents = async () => (await shown()).agents as number
  const kubectl = (kubeconfig: string, ...args: string[]) =>
    runKubectl(VERSION, args, { kubeconfig })
  async function kept(kubeconfig: string, name: string): Promise<string> {
    const path = join(stage.directory, name)
    await writeFile(path, await readFile(kubeconfig, 'utf8'), { mode: 0o600 })
    return path
  }
  const make = async (name: string) => {
    const { adminKubeconfig: kubeconfig } = cluster
    const done = await runKubectl(VERSION, ['create', 'configmap', name], { kubeconfig })
    expect(done.exitCode, done.stderr).toBe(0)
  }

  test('are replaced by one command; what runs goes on, and kubeconfigs of before work', async () => {
    await expect.poll(agents, { timeout: 60_000 }).toBe(2)
    await make('before')
    oldKubeconfig = await kept(await bob.kubeconfig('static'), 'old')
    const args = ['get', 'configmaps', '--watch', '--output', 'name']
    watch = new LongRunning(await kubectlPath(VERSION), args, {
      ...bob.env,
      KUBECONFIG: oldKubeconfig,
    })
    programs.push(watch)
    await watch.shows(/configmap\/before/)
    const rotate = ['clusters', 'rotate-ca', 'idc-k8s', '--overlap', `${OVERLAP_S}s`, '--json']
    until = Date.parse(JSON.parse(await alice.must(rotate)).until)
    await make('during')
    await watch.shows(/configmap\/during/)
    // Whichever replica they meet.
    for (let run = 0; run < 6; run += 1) {
      const { exitCode, stderr } = await kubectl(oldKubeconfig, 'get', 'configmaps')
      expect(exitCode, stderr).toBe(0)
    }
    expect((await shown()).previousCasUntil).toBe(new Date(until).toISOString().replace('.000', ''))
  })

  test('give kubeconfigs of now both server CAs, and certificates by the new user CA', async () => {
    const fresh = await kept(await bob.kubeconfig('static'), 'fresh')
    for (let run = 0; run < 6; run += 1) {
      const { exitCode, stderr } = await kubectl(fresh, 'get', 'configmaps')
      expect(exitCode, stderr).toBe(0)
    }
    const data = (text: string) => /client-certificate-data: (\S+)/.exec(text)![1]
    expect(data(await readFile(fresh, 'utf8'))).not.toBe(
      data(await readFile(oldKubeconfig, 'utf8')),
    )
  })

  test('refuse what the ones before signed as soon as their time is over, and end its connections', async () => {
    expect(watch.child.exitCode).toBe(null)
    await expect.poll(() => Date.now() > until + 2_000, { timeout: 150_000 }).toBe(true)
    await expect
      .poll(async () => (await kubectl(oldKubeconfig, 'get', 'configmaps')).stderr, {
        timeout: 30_000,
      })
      .toMatch(/unknown authority|may not reach it/)
    await watch.ended
    const fresh = join(stage.directory, 'fresh')
    for (let run = 0; run < 6; run += 1) {
      const { exitCode, stderr } = await kubectl(fresh, 'get', 'configmaps')
      expect(exitCode, stderr).toBe(0)
    }
    expect((await bob.mcm(['whoami'])).exitCode).toBe(0)
  }, 300_000)

  test('are out of the Secret then, and are found again by an agent that starts anew', async () => {
    const secrets = async () => {
      const args = ['get', 'secrets', '-n', 'mcm-system', '-o', 'json']
      const { adminKubeconfig: kubeconfig } = cluster
      const { stdout } = await runKubectl(VERSION, args, { kubeconfig })
      const items = JSON.parse(stdout).items as { metadata: { name: string }; data?: object }[]
      const identity = items.find(({ metadata }) => metadata.name.startsWith('mcm-identity-'))
      return Object.keys(identity!.data ?? {}).filter((key) => key.startsWith('next.'))
    }
    await expect.poll(secrets, { timeout: 30_000 }).toEqual([])
    for (const replica of ['a', 'b']) await stage.agents.get(`idc-k8s/${replica}`)!.stop('SIGKILL')
    await stage.startAgent('idc-k8s', cluster, 'c')
    const fresh = join(stage.directory, 'fresh')
    await expect
      .poll(async () => (await kubectl(fresh, 'get', 'configmaps')).exitCode, { timeout: 60_000 })
      .toBe(0)
  })
})
