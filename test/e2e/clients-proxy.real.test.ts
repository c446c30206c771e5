import { randomBytes } from 'node:crypto'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { INSTALLED_CLIENTS, installedClientIsPossible } from '../clients/installed.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { ClearTextTap } from './clear-text-tap.ts'
import { ClientProgram, type Place } from './client-program.ts'
import { type ClientsStage, openClientsStage, REAL, SANDBOX } from './clients-stage.ts'
import { startPods } from './stream-suite.ts'
import type { Ways } from './ways.ts'

const BYTES = randomBytes(300_000).toString('base64')
const FAILURE_LIMIT_MS = 90_000
/** They ask the hub for a CONNECT without TLS: the cluster id is all that can be heard. */
const NAMES_THE_CLUSTER: ReadonlySet<string> = new Set(['python', 'fabric8'])
const noServer = skipLoudly('clients through mcm proxy', await apiServerIsPossible('1.36.3'))

/** A direct way to each cluster beside the one through mcm. */
interface Both {
  readonly direct: Place
  readonly proxy: Place
}

describe.skipIf(noServer)('clients that nobody here wrote', () => {
  let clients: ClientsStage
  let bob: Ways
  let carol: Ways
  let leftToDave: string

  beforeAll(async () => {
    clients = await openClientsStage()
    const readsDefault = ['--role', 'ns-ro', '--namespace', 'default']
    bob = await clients.join('bob', readsDefault)
    carol = await clients.join('carol', readsDefault)
    const dave = await clients.join('dave', readsDefault)
    await clients.alice.must(['revoke', 'carol', '--yes'])
    // Logging out takes the files of mcm away.
    leftToDave = join(clients.scratch, 'dave')
    await copyFile(dave.kubeconfig('proxy'), leftToDave)
    await dave.person.must(['logout', '--yes'])
    for (const name of ['one', 'two', 'three'])
      await clients.asAdmin(['create', 'configmap', name, '--from-literal=colour=red'])
    const { adminKubeconfig } = clients.sandbox
    await startPods({ adminKubeconfig, image: 'registry.example/shell:1' })
  })
  afterAll(() => clients?.close())

  const inReal = (ways: Ways): Both => ({
    direct: { kubeconfig: ways.kubeconfig('direct'), context: 'direct', namespace: 'default' },
    proxy: { kubeconfig: ways.kubeconfig('proxy'), context: REAL, namespace: 'default' },
  })
  /** In the sandbox pods run. Straight to it there is one person only, its administrator. */
  const inSandbox = (): Both => ({
    direct: {
      kubeconfig: clients.sandbox.adminKubeconfig,
      context: 'mcm-sandbox',
      namespace: 'default',
    },
    proxy: { kubeconfig: clients.ways.kubeconfig('proxy'), context: SANDBOX, namespace: 'default' },
  })

  describe.each(INSTALLED_CLIENTS)('%s', async (name) => {
    const possible = await installedClientIsPossible(name)

    describe.skipIf(skipUnlessRequired(`the ${name} client`, possible))('as a program', () => {
      let program: ClientProgram

      beforeAll(async () => {
        program = await ClientProgram.start(name)
      })
      afterAll(() => program?.stop())

      describe.each(['direct', 'proxy'] as const)('%s', (way) => {
        const real = (ways = clients.ways) => inReal(ways)[way]
        const pods = () => inSandbox()[way]
        const failureOf = async (task: Parameters<ClientProgram['ask']>[0]) => {
          const { failed } = await program.ask(task)
          if (!failed) throw new Error(`${task.do} did not fail`)
          return failed
        }

        test('lists', async () => {
          const names = await program.must({ do: 'list', ...real() })
          expect(names).toEqual(expect.arrayContaining(['one', 'three', 'two']))
        })

        test('watches what changes, in its order', async () => {
          const path = '/api/v1/namespaces/default/configmaps?limit=1'
          const { metadata } = JSON.parse(await clients.asAdmin(['get', '--raw', path]))
          const { resourceVersion } = metadata
          const seen = `seen-${name}-${way}`
          const events = program.must({ do: 'watch', ...real(), resourceVersion, count: 3 })
          for (const change of ['create', 'label', 'delete'])
            await clients.asAdmin([
              change,
              'configmap',
              seen,
              ...(change === 'label' ? ['a=b'] : []),
            ])
          expect(await events).toEqual([
            ['ADDED', seen],
            ['MODIFIED', seen],
            ['DELETED', seen],
          ])
        })

        test('creates, patches, reads and deletes', async () => {
          const object = { ...real(), name: `made-${name}-${way}` }
          const created = await program.must({ do: 'create', ...object, data: { a: '1' } })
          expect(created).toEqual({ a: '1' })
          const both = { a: '1', b: 'zwei ☃' }
          expect(await program.must({ do: 'patch', ...object, data: { b: both.b } })).toEqual(both)
          expect(await program.must({ do: 'read', ...object })).toEqual(both)
          expect(await program.must({ do: 'delete', ...object })).toBe('Success')
          const { text } = await failureOf({ do: 'read', ...object })
          expect(text).toContain('not found')
        })

        test('shows what RBAC refuses, in the words of the API server', async () => {
          const refused = { do: 'listSecrets', ...real(bob), namespace: 'kube-system' }
          const { code, text } = await failureOf(refused)
          expect(code).toBe(403)
          expect(unquoted(text)).toContain(
            'secrets is forbidden: User mcm:bob cannot list resource secrets in API group  in the namespace kube-system',
          )
        })

        test('exec carries stdin, both outputs and the exit code', async () => {
          const script = `head -c ${Buffer.from(BYTES, 'base64').length}; echo to stderr >&2; exit 7`
          const task = { do: 'exec', ...pods(), pod: 'shell', command: ['sh', '-c', script] }
          const { stdout, ...rest } = (await program.must({ ...task, stdin: BYTES })) as {
            stdout: string
          }
          expect(rest).toEqual({ stderr: 'to stderr\n', exitCode: 7 })
          expect(stdout === BYTES).toBe(true)
        })

        test('exec of a command that succeeds ends with 0', async () => {
          const task = { do: 'exec', ...pods(), pod: 'shell', command: ['echo', 'x'], stdin: '' }
          const stdout = Buffer.from('x\n').toString('base64')
          expect(await program.must(task)).toEqual({ stdout, stderr: '', exitCode: 0 })
        })

        test('exec in a pod that is not there fails', async () => {
          const task = { do: 'exec', ...pods(), pod: 'absent', command: ['true'], stdin: '' }
          const { text } = await failureOf(task)
          // The JavaScript client tells the number and drops the body, wherever it comes from.
          expect(text).toMatch(name === 'javascript' ? /404/ : /pods \\?"absent\\?" not found/)
        })

        test('port-forward carries bytes there and back', async () => {
          const task = { do: 'forward', ...pods(), pod: 'ports', port: 7001, bytes: BYTES }
          expect((await program.must(task)) === BYTES).toBe(true)
        })

        test('log following shows lines as they come', async () => {
          const task = { do: 'follow', ...pods(), pod: 'ticker', count: 2 }
          expect(await program.must(task)).toEqual(['tick', 'tick'])
        })
      })

      test('shows whoever was revoked the sentence of mcm', async () => {
        const { failed } = await program.ask({ do: 'list', ...inReal(carol).proxy })
        expect(failed).toMatchObject({ code: 403 })
        expect(failed!.text).toContain('mcm: ')
      })

      test('shows whoever is not logged in what to do', async () => {
        const { failed } = await program.ask({
          do: 'list',
          ...inReal(clients.ways).proxy,
          kubeconfig: leftToDave,
        })
        expect(failed).toMatchObject({ code: 401 })
        expect(failed!.text).toContain('mcm login')
      })

      describe('without mcm proxy', () => {
        let impatient: ClientProgram

        beforeAll(async () => {
          // The patience of fabric8 is ten tries.
          impatient = await ClientProgram.start(name, {
            KUBERNETES_REQUEST_RETRY_BACKOFFLIMIT: '1',
          })
        })
        afterAll(() => impatient?.stop())

        test.each(['static', 'exec'] as const)(
          'it fails with a kubeconfig in %s mode, and tells nobody on the way what it asked for',
          async (mode) => {
            const tap = await ClearTextTap.before(clients.stage.hubPort)
            const kubeconfig = await tap.moved(clients.ways.kubeconfig(mode), clients.scratch)
            const place = { kubeconfig, context: SANDBOX, namespace: 'default' }
            const secret = 'told-in-confidence'
            const exec = { do: 'exec', pod: 'shell', command: ['echo', secret], stdin: '' }
            for (const task of [{ do: 'list' }, exec]) {
              const answer = await impatient.ask({ ...task, ...place }, FAILURE_LIMIT_MS)
              expect(answer.failed?.text).toMatch(/./)
            }
            for (const word of [secret, '/api/v1', 'PRIVATE KEY', 'uthorization', 'configmaps'])
              expect(tap.heard).not.toContain(word)
            expect(/CONNECT c-/.test(tap.heard)).toBe(NAMES_THE_CLUSTER.has(name))
            await tap.close()
          },
        )
      })
    })
  })
})

/** Messages stand in JSON that stands in messages. */
function unquoted(text: string): string {
  return text.replaceAll(/[\\"]/g, '')
}
