import { X509Certificate } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const VERSION = '1.33.13'
const NAME = 'edge'
/** Long enough for a busy machine to do what belongs into it. */
const OVERLAP_S = 120
const skip = skipLoudly('new CAs where the owner issues', await apiServerIsPossible(VERSION))

/** New CAs for a cluster whose owner keeps the user CA (`--issuer local`): real programs. In this order. */
describe.skipIf(skip)('the CAs of a cluster whose owner issues', () => {
  let cluster: ApiServer
  let stage: Stage
  let ada: Person
  let bob: Person
  let id: string
  let until: number
  let old: string
  let fresh: string

  beforeAll(async () => {
    cluster = await startApiServer({ version: VERSION })
    stage = await Stage.open()
    ada = await stage.found('ada')
    await stage.addCluster(ada, NAME, cluster, ['--issuer', 'local'])
    bob = await stage.join(ada, 'bob', ['--cluster', NAME, '--role', 'ops'])
    id = JSON.parse(await ada.must(['clusters', 'show', NAME, '--json'])).id
    await certificateFor(bob)
    old = await kept('old')
  })
  afterAll(async () => {
    await stage?.close()
    await cluster?.stop()
  })

  async function certificateFor(person: Person): Promise<void> {
    const request = await person.must(['certs', 'request', NAME])
    const certificate = await ada.must(['certs', 'sign', '-'], { input: request })
    await person.must(['certs', 'install', '-'], { input: certificate })
  }
  async function kept(name: string): Promise<string> {
    const path = join(stage.directory, name)
    const text = await readFile(await bob.kubeconfig('static'), 'utf8')
    await writeFile(path, text, { mode: 0o600 })
    return path
  }
  const whoami = async (person: Person, KUBECONFIG: string) =>
    runProgram(
      await kubectlPath(VERSION),
      ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'],
      { env: { ...person.env, KUBECONFIG } },
    )
  const expectToBe = async (user: string, person: Person, kubeconfig: string) => {
    const { stdout, stderr } = await whoami(person, kubeconfig)
    expect(`${stdout}${stderr}`).toBe(user)
  }
  const userCa = async () =>
    new X509Certificate(await readFile(join(ada.home, 'user-cas', `${id}.pem`), 'utf8'))
      .fingerprint256

  test('are replaced by the machine that keeps the user CA, and its certificates of before work', async () => {
    const before = await userCa()
    const rotate = ['clusters', 'rotate-ca', NAME, '--overlap', `${OVERLAP_S}s`, '--json']
    until = Date.parse(JSON.parse(await ada.must(rotate)).until)
    await expectToBe('mcm:bob', bob, old)
    await expectToBe('mcm:ada', ada, await ada.kubeconfig('exec'))
    expect(await userCa()).not.toBe(before)
    // Its keys are this machine's, each under its own name, and there is one.
    const keys = (await readdir(join(ada.home, 'keys'))).filter((name) => name.includes('user-ca'))
    expect(keys).toEqual([`user-ca-key.${id}`])
  })

  test('sign what is asked for from then on', async () => {
    await certificateFor(bob)
    fresh = await kept('fresh')
    await expectToBe('mcm:bob', bob, fresh)
    await expectToBe('mcm:bob', bob, old)
  })

  test('are the same for an agent that starts in the middle', async () => {
    await stage.agents.get(`${NAME}/a`)!.stop('SIGKILL')
    await stage.startAgent(NAME, cluster, 'b')
    await expect
      .poll(async () => (await whoami(bob, fresh)).stdout, { timeout: 40_000 })
      .toBe('mcm:bob')
    expect(Date.now()).toBeLessThan(until)
    await expectToBe('mcm:bob', bob, old)
  })

  test('refuse what the one before signed when its time is over', async () => {
    await expect.poll(() => Date.now() > until + 2_000, { timeout: 200_000 }).toBe(true)
    await expect
      .poll(async () => (await whoami(bob, old)).stderr, { timeout: 30_000 })
      .toContain(`run mcm kubeconfig ${NAME} --merge`)
    await expectToBe('mcm:bob', bob, fresh)
    await expectToBe('mcm:ada', ada, await ada.kubeconfig('exec'))
  }, 300_000)

  test('are replaced once more, now without an overlap: only what is asked for after it works', async () => {
    await ada.must(['clusters', 'rotate-ca', NAME, '--overlap', '0', '--json'])
    await expect
      .poll(async () => (await whoami(bob, fresh)).stderr, { timeout: 30_000 })
      .toContain(`run mcm kubeconfig ${NAME} --merge`)
    await certificateFor(bob)
    await expectToBe('mcm:bob', bob, await kept('last'))
    await stage.agents.get(`${NAME}/b`)!.stop('SIGKILL')
    await stage.startAgent(NAME, cluster, 'c')
    await expect
      .poll(async () => (await whoami(bob, join(stage.directory, 'last'))).stdout, {
        timeout: 40_000,
      })
      .toBe('mcm:bob')
  })
})
