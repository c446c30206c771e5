import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { installedClientIsPossible } from '../clients/installed.ts'
import { kubeRsIsPossible, kubeRsPath } from '../clients/kube-rs.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { ClientProgram } from './client-program.ts'
import { LongRunning, runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/** Long enough for a busy machine to do what belongs into it. */
const OVERLAP_S = 90
const NAME = 'idc-k8s'
const CONTEXT = `mcm-${NAME}`
const COMMAND = `mcm kubeconfig ${NAME} --merge`

const VERSIONS = await Promise.all(
  (['1.36.3', '1.33.13'] as const).map(async (version) => ({
    version,
    skip: skipLoudly(`the rotation of CAs on ${version}`, await apiServerIsPossible(version)),
  })),
)
const noKubeRs = skipUnlessRequired('kube-rs across a rotation', await kubeRsIsPossible())
const noJavaScript = skipUnlessRequired(
  'the JavaScript client across a rotation',
  await installedClientIsPossible('javascript'),
)

/**
 * New CAs for a cluster in use: real programs, two replicas of its agent, stock kubectl, and programs made with client
 * libraries. Bob refreshes his kubeconfig during the overlap, carol never. In this order.
 */
describe.each(VERSIONS.filter(({ skip }) => !skip))(
  'the CAs of a cluster in use, on $version',
  ({ version }) => {
    let cluster: ApiServer
    let stage: Stage
    let alice: Person
    let bob: Person
    let carol: Person
    let until: number
    /** Of before the rotation, by whom and mode. */
    let old: { readonly static: string; readonly exec: string; readonly proxy: string }
    let fresh: string
    let watch: LongRunning
    let javascript: ClientProgram | undefined
    const programs: LongRunning[] = []

    beforeAll(async () => {
      cluster = await startApiServer({ version })
      stage = await Stage.open()
      alice = await stage.found('alice')
      await stage.addCluster(alice, NAME, cluster)
      await stage.startAgent(NAME, cluster, 'b')
      const grant = ['--cluster', NAME, '--role', 'admin']
      bob = await stage.join(alice, 'bob', grant)
      carol = await stage.join(alice, 'carol', grant)
      const proxy = bob.start(['proxy'])
      await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
      old = {
        static: await kept(await carol.kubeconfig('static'), 'old-static'),
        exec: await kept(await bob.kubeconfig('exec'), 'old-exec'),
        proxy: await kept(await bob.kubeconfig('proxy'), 'old-proxy'),
      }
      if (!noJavaScript) javascript = await ClientProgram.start('javascript')
    }, 300_000)
    afterAll(async () => {
      await Promise.all(programs.map((program) => program.stop('SIGKILL')))
      await javascript?.stop()
      await stage?.close()
      await cluster?.stop()
    })

    const shown = async () => JSON.parse(await alice.must(['clusters', 'show', NAME, '--json']))
    const agents = async () => (await shown()).agents as number
    async function kept(kubeconfig: string, name: string): Promise<string> {
      const path = join(stage.directory, name)
      await writeFile(path, await readFile(kubeconfig, 'utf8'), { mode: 0o600 })
      return path
    }
    const list = async (KUBECONFIG: string, person = bob) =>
      runProgram(await kubectlPath(version), ['get', 'configmaps', '-o', 'name'], {
        env: { ...person.env, KUBECONFIG },
      })
    /** Whichever replica it meets. */
    async function expectGood(KUBECONFIG: string, person = bob): Promise<void> {
      for (let run = 0; run < 4; run += 1) {
        const { exitCode, stderr } = await list(KUBECONFIG, person)
        expect(exitCode, stderr).toBe(0)
      }
    }
    const kubeRs = async (KUBECONFIG: string, person: Person) =>
      runProgram(await kubeRsPath(), ['-context', CONTEXT, 'whoami'], {
        env: { ...person.env, KUBECONFIG },
      })
    const listInJavaScript = () =>
      javascript!.must({
        ...{ do: 'list', kubeconfig: old.proxy, context: CONTEXT, namespace: 'default' },
      })
    const make = async (name: string) => {
      const { adminKubeconfig: kubeconfig } = cluster
      const done = await runKubectl(version, ['create', 'configmap', name], { kubeconfig })
      expect(done.exitCode, done.stderr).toBe(0)
    }

    test('are replaced by one command; what runs goes on, and kubeconfigs of before work', async () => {
      await expect.poll(agents, { timeout: 60_000 }).toBe(2)
      await make('before')
      const args = ['get', 'configmaps', '--watch', '--output', 'name']
      const env = { ...carol.env, KUBECONFIG: old.static }
      watch = new LongRunning(await kubectlPath(version), args, env)
      programs.push(watch)
      await watch.shows(/configmap\/before/)
      const rotate = ['clusters', 'rotate-ca', NAME, '--overlap', `${OVERLAP_S}s`, '--json']
      until = Date.parse(JSON.parse(await alice.must(rotate)).until)
      await make('during')
      await watch.shows(/configmap\/during/)
      await expectGood(old.static, carol)
      expect((await shown()).previousCasUntil).toBe(
        new Date(until).toISOString().replace('.000', ''),
      )
    })

    test('give kubeconfigs of now both server CAs, and certificates by the new user CA', async () => {
      await bob.must(['clusters'])
      const before = await list(old.exec)
      expect(before.exitCode, before.stderr).toBe(0)
      expect(before.stderr).toContain(COMMAND)
      fresh = await kept(await bob.kubeconfig('static'), 'fresh')
      await expectGood(fresh)
      const data = (text: string) => /client-certificate-data: (\S+)/.exec(text)![1]
      expect(data(await readFile(fresh, 'utf8'))).not.toBe(data(await readFile(old.static, 'utf8')))
    })

    test('are the same for a replica that starts in the middle', async () => {
      for (const replica of ['a', 'b'])
        await stage.agents.get(`${NAME}/${replica}`)!.stop('SIGKILL')
      for (const replica of ['c', 'd']) await stage.startAgent(NAME, cluster, replica)
      await expect.poll(agents, { timeout: 60_000 }).toBe(2)
      await expectGood(old.static, carol)
      await expectGood(fresh)
      // Its connection went with the replica: begun anew by the certificate of before.
      const args = ['get', 'configmaps', '--watch', '--output', 'name']
      const env = { ...carol.env, KUBECONFIG: old.static }
      watch = new LongRunning(await kubectlPath(version), args, env)
      programs.push(watch)
      await watch.shows(/configmap\/before/)
    })

    test.skipIf(noKubeRs)(
      'are taken by a program made with kube-rs, of before and of now',
      async () => {
        const carols = await kubeRs(old.static, carol)
        expect(carols).toEqual({ stdout: 'mcm:carol\n', stderr: '', exitCode: 0 })
        expect((await kubeRs(fresh, bob)).stdout).toBe('mcm:bob\n')
      },
    )

    test.skipIf(noJavaScript)('are nothing to a JavaScript program behind mcm proxy', async () => {
      expect(await listInJavaScript()).toContain('before')
    })

    test('refuse what the ones before signed as soon as their time is over, and end its connections', async () => {
      expect(watch.child.exitCode).toBe(null)
      expect(Date.now()).toBeLessThan(until)
      await expect.poll(() => Date.now() > until + 2_000, { timeout: 200_000 }).toBe(true)
      await expect
        .poll(async () => (await list(old.static, carol)).stderr, { timeout: 30_000 })
        .toContain(`run ${COMMAND}`)
      await watch.ended
      await expectGood(fresh)
      expect((await bob.mcm(['whoami'])).exitCode).toBe(0)
    }, 300_000)

    test('make kubectl with the plugin and a kubeconfig of before name the command, and that command mends it', async () => {
      const refused = await list(old.exec)
      expect(refused.exitCode).not.toBe(0)
      expect(refused.stderr).toContain(`run ${COMMAND}`)
      await bob.must(['kubeconfig', NAME, '--merge'], { env: { KUBECONFIG: old.exec } })
      const { exitCode, stderr } = await list(old.exec)
      expect(exitCode, stderr).toBe(0)
      expect(stderr).toBe('')
    })

    test('are nothing to whoever comes through mcm proxy with a kubeconfig of before', async () => {
      await expectGood(old.proxy)
      if (!noJavaScript) expect(await listInJavaScript()).toContain('before')
    })

    test.skipIf(noKubeRs)(
      'are known to a program made with kube-rs once its kubeconfig is',
      async () => {
        expect((await kubeRs(fresh, bob)).stdout).toBe('mcm:bob\n')
        const refused = await kubeRs(old.static, carol)
        expect(refused.exitCode).toBe(1)
        expect(refused.stdout).toBe('')
      },
    )

    test('are out of the Secret then, and are found again by an agent that starts anew', async () => {
      const secrets = async () => {
        const args = ['get', 'secrets', '-n', 'mcm-system', '-o', 'json']
        const { adminKubeconfig: kubeconfig } = cluster
        const { stdout } = await runKubectl(version, args, { kubeconfig })
        const items = JSON.parse(stdout).items as { metadata: { name: string }; data?: object }[]
        const identity = items.find(({ metadata }) => metadata.name.startsWith('mcm-identity-'))
        return Object.keys(identity!.data ?? {}).filter((key) => key.startsWith('next.'))
      }
      await expect.poll(secrets, { timeout: 30_000 }).toEqual([])
      for (const replica of ['c', 'd'])
        await stage.agents.get(`${NAME}/${replica}`)!.stop('SIGKILL')
      await stage.startAgent(NAME, cluster, 'e')
      await expect.poll(async () => (await list(fresh)).exitCode, { timeout: 60_000 }).toBe(0)
    })
  },
)
