/**
 * What a program made with a client library does through mcm, whoever wrote the library: lists in pages, watches, is
 * refused by RBAC, and its streams. The programs understand the same words (test/clients).
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clientStreams } from './client-streams.ts'
import { type ClientsStage, openClientsStage, REAL, SANDBOX } from './clients-stage.ts'
import { type Finished, LongRunning, runProgram } from './program.ts'
import { startPods } from './stream-suite.ts'
import { MCM_WAYS, type McmWay, type Ways } from './ways.ts'

export interface ClientSuiteOptions {
  readonly title: string
  /** Said loudly by the caller. */
  readonly skip: boolean
  path(): Promise<string>
  /** Of streams, as it names them. */
  readonly transports: readonly string[]
}

export function clientSuite(options: ClientSuiteOptions): void {
  describe.skipIf(options.skip)(`${options.title}, with a kubeconfig of mcm`, () => {
    let clients: ClientsStage
    let bob: Ways

    beforeAll(async () => {
      clients = await openClientsStage()
      bob = await clients.join('bob', ['--role', 'ns-ro', '--namespace', 'default'])
      for (const name of ['one', 'two', 'three', 'four', 'five'])
        await clients.asAdmin(['create', 'configmap', name])
      const { adminKubeconfig } = clients.sandbox
      await startPods({ adminKubeconfig, image: 'registry.example/shell:1' })
    })
    afterAll(() => clients?.close())

    const onReal = (...words: string[]) => ['-context', REAL, ...words]
    const run = async (ways: Ways, way: McmWay, words: readonly string[]): Promise<Finished> =>
      runProgram(await options.path(), words, { env: ways.env(way) })

    describe.each(MCM_WAYS)('in %s mode', (way) => {
      test('is its person', async () => {
        const ran = await run(clients.ways, way, onReal('whoami'))
        expect(ran).toEqual({ stdout: 'mcm:alice\n', stderr: '', exitCode: 0 })
      })

      test('lists in pages', async () => {
        const { stdout, exitCode } = await run(clients.ways, way, onReal('list', 'default'))
        const names = stdout.split('\n').filter((name) => !/^(|seen-.*|kube-root.*)$/.test(name))
        expect({ names, exitCode }).toEqual({
          names: ['five', 'four', 'one', 'three', 'two'],
          exitCode: 0,
        })
      })

      test('watches what changes, as it changes', async () => {
        const words = onReal('watch', 'default')
        const watch = new LongRunning(await options.path(), words, clients.ways.env(way))
        await watch.shows(/^synced$/m)
        await watch.shows(/^added one$/m)
        const name = `seen-${way}`
        await clients.asAdmin(['create', 'configmap', name])
        await watch.shows(new RegExp(`^added ${name}$`, 'm'))
        await clients.asAdmin(['label', 'configmap', name, 'a=b'])
        await watch.shows(new RegExp(`^modified ${name}$`, 'm'))
        await clients.asAdmin(['delete', 'configmap', name])
        await watch.shows(new RegExp(`^deleted ${name}$`, 'm'))
        await watch.stop('SIGKILL')
      })

      test.each(['list', 'watch'])('is refused a %s in the words of RBAC', async (verb) => {
        const { stdout, stderr, exitCode } = await run(bob, way, onReal(verb, 'kube-system'))
        expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 })
        expect(stderr).toContain(
          'configmaps is forbidden: User "mcm:bob" cannot list resource "configmaps" in API group "" in the namespace "kube-system"',
        )
      })

      clientStreams({
        ...options,
        way,
        ways: () => clients.ways,
        context: SANDBOX,
        auditEvents: () => clients.sandbox.auditEvents(),
      })
    })
  })
}
