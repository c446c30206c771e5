import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/** Two clusters and two people, as in the article on registered clusters: a developer and a tester. */
describe('testuser01 and testuser02 over ack and idc-k8s', () => {
  let ack: ApiServer
  let idc: ApiServer
  let stage: Stage
  let owner: Person
  let developer: Person
  let tester: Person

  beforeAll(async () => {
    ;[ack, idc] = await Promise.all([
      startApiServer({ version: '1.36.3' }),
      startApiServer({ version: '1.33.13' }),
    ])
    for (const { adminKubeconfig } of [ack, idc]) {
      for (const namespace of ['test', 'other'])
        await runKubectl('1.36.3', ['create', 'namespace', namespace], {
          kubeconfig: adminKubeconfig,
        })
    }
    stage = await Stage.open()
    owner = await stage.found('owner')
    await stage.addCluster(owner, 'ack', ack)
    await stage.addCluster(owner, 'idc-k8s', idc)
    developer = await stage.join(owner, 'testuser01', ['--cluster', 'ack', '--role', 'dev'])
    await owner.must([
      'grant',
      'testuser01',
      '--role',
      'ns-dev',
      '--cluster',
      'idc-k8s',
      '--namespace',
      'test',
    ])
    await developer.must(['login'])
    tester = await stage.join(owner, 'testuser02', [
      '--cluster',
      'idc-k8s',
      '--role',
      'ns-dev',
      '--namespace',
      'test',
    ])
    for (const person of [developer, tester]) {
      await person.must(['kubeconfig', '--all', '--output', join(person.home, 'kubeconfig')])
    }
  })

  afterAll(async () => {
    await stage?.close()
    await Promise.all([ack?.stop(), idc?.stop()])
  })

  const kubectl = async (person: Person, cluster: string, args: readonly string[]) =>
    runProgram(await kubectlPath('1.36.3'), ['--context', `mcm-${cluster}`, ...args], {
      env: person.env,
    })

  const writes = (namespace: string, name: string) => ['-n', namespace, 'create', 'configmap', name]
  const reads = (namespace: string) => ['-n', namespace, 'get', 'configmaps', '-o', 'name']

  test('testuser01 reads and writes in every namespace of ack', async () => {
    for (const namespace of ['default', 'test', 'other']) {
      expect(await kubectl(developer, 'ack', writes(namespace, 'made'))).toMatchObject({
        exitCode: 0,
      })
      expect((await kubectl(developer, 'ack', reads(namespace))).stdout).toContain('configmap/made')
    }
  })

  test('testuser01 reads and writes in namespace test of idc-k8s and nowhere else there', async () => {
    expect(await kubectl(developer, 'idc-k8s', writes('test', 'made'))).toMatchObject({
      exitCode: 0,
    })
    expect((await kubectl(developer, 'idc-k8s', reads('test'))).stdout).toContain('configmap/made')
    expect((await kubectl(developer, 'idc-k8s', reads('other'))).stderr).toBe(
      'Error from server (Forbidden): configmaps is forbidden: User "mcm:testuser01" cannot list resource "configmaps" in API group "" in the namespace "other"\n',
    )
  })

  test('testuser02 reads and writes in namespace test of idc-k8s and nowhere else there', async () => {
    expect(await kubectl(tester, 'idc-k8s', writes('test', 'tested'))).toMatchObject({
      exitCode: 0,
    })
    expect((await kubectl(tester, 'idc-k8s', reads('other'))).stderr).toContain('(Forbidden)')
    expect((await kubectl(tester, 'idc-k8s', writes('other', 'no'))).exitCode).toBe(1)
  })

  test('testuser02 does not see ack at all: not in the list, not by name, not in what is kept on disk', async () => {
    const clusters = JSON.parse(await tester.must(['clusters', '--json'])) as { name: string }[]
    expect(clusters.map(({ name }) => name)).toEqual(['idc-k8s'])
    expect(await tester.mcm(['clusters', 'show', 'ack'])).toMatchObject({ exitCode: 3 })
    const { stdout } = await runProgram('grep', ['-r', '-l', '-w', 'ack', tester.home])
    expect(stdout).toBe('')
  })

  test('what mcm made carries its labels, so plain kubectl tells the truth', async () => {
    const { stdout } = await runKubectl(
      '1.36.3',
      [
        'get',
        'rolebindings',
        '-A',
        '-l',
        'app.kubernetes.io/managed-by=mcm',
        '-o',
        'jsonpath={range .items[*]}{.metadata.namespace} {.subjects[0].name}{"\\n"}{end}',
      ],
      { kubeconfig: idc.adminKubeconfig },
    )
    const bound = stdout
      .trim()
      .split('\n')
      .filter((line) => line.includes('mcm:testuser'))
      .sort()
    expect(bound).toEqual(['test mcm:testuser01', 'test mcm:testuser02'])
  })

  test('a revoked person is out: running watches end, and the next kubectl is refused with a sentence', async () => {
    const env = { ...tester.env }
    const { LongRunning } = await import('./program.ts')
    const args = ['--context', 'mcm-idc-k8s', '-n', 'test', 'get', 'configmaps', '-w', '-o', 'name']
    const watch = new LongRunning(await kubectlPath('1.36.3'), args, env)
    await watch.shows(/configmap\/tested/)
    await owner.must(['revoke', 'testuser02', '--yes'])
    await watch.ended
    const refused = await kubectl(tester, 'idc-k8s', reads('test'))
    expect(refused.exitCode).not.toBe(0)
    expect(refused.stderr).toContain(
      'there is no such cluster, or this certificate may not reach it',
    )
    expect((await kubectl(developer, 'idc-k8s', reads('test'))).exitCode).toBe(0)
  })
})
