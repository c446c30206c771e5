import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

/**
 * Access as a file over two real clusters of different versions: the two people of the article on registered
 * clusters, the three developers of the article on roles, and what goes wrong in between.
 */

const MANY = 500
const HEAD = 'apiVersion: mcm.dev/v1alpha1\nkind: Access\n'
const TEAM = `${HEAD}
users:
  - { name: owner }
  - { name: second }
  - { name: limited }
  - { name: testuser01, nickname: Developer }
  - { name: testuser02, nickname: Tester }
  - { name: dev1, groups: [dev] }
  - { name: dev2, groups: [dev] }
  - { name: dev3, groups: [dev] }
  - { name: Łukasz }
  - { name: 王小明 }
groups:
  - { name: dev, description: developers of product A }
roles:
  - name: pod-dev
    description: reads pods and nothing else
    rules:
      - { apiGroups: [''], resources: [pods], verbs: [get, watch, list] }
  - name: rbac-writer
    rules:
      - apiGroups: [rbac.authorization.k8s.io]
        resources: [rolebindings, clusterrolebindings, clusterroles]
        verbs: [get, list, create, update, patch, delete]
grants:
  - { user: owner, role: admin, clusterSelector: { matchLabels: {} } }
  - { user: second, role: admin, clusterSelector: { matchLabels: {} } }
  - { user: limited, role: admin, clusters: [ack] }
  - { user: limited, role: rbac-writer, clusters: [idc-k8s] }
  - { user: testuser01, role: dev, clusters: [ack] }
  - { user: testuser01, role: ns-dev, clusters: [idc-k8s], namespaces: [test] }
  - { user: testuser02, role: ns-dev, clusterSelector: { matchLabels: { site: idc } }, namespaces: [test] }
  - { group: dev, role: pod-dev, clusters: [idc-k8s], namespaces: [product-a] }
  - { user: Łukasz, role: ns-ro, clusters: [ack], namespaces: [test] }
  - { user: 王小明, role: ns-ro, clusters: [ack], namespaces: [test] }
`

describe('access as a file over ack (1.36.3) and idc-k8s (1.33.13)', () => {
  let ack: ApiServer
  let idc: ApiServer
  let stage: Stage
  let owner: Person
  let people: Record<string, Person>
  let file: string

  const declare = async (text: string, name = 'access.yaml') => {
    const path = join(stage.directory, name)
    await writeFile(path, text)
    return path
  }
  const diff = async (person: Person, path: string) => {
    const { exitCode, stdout } = await person.mcm(['access', 'diff', '-f', path, '--json'])
    return { exitCode, document: JSON.parse(stdout) }
  }
  const apply = (person: Person, path: string) =>
    person.mcm(['access', 'apply', '-f', path, '--yes', '--json'], { timeoutMs: 300_000 })
  const kubectl = async (person: Person, cluster: string, args: readonly string[]) =>
    runProgram(await kubectlPath('1.36.3'), ['--context', `mcm-${cluster}`, ...args], {
      env: person.env,
    })
  const asAdmin = async (server: ApiServer, args: readonly string[]) => {
    const { adminKubeconfig: kubeconfig } = server
    const { exitCode, stdout, stderr } = await runKubectl('1.36.3', args, { kubeconfig })
    if (exitCode !== 0) throw new Error(stderr)
    return stdout
  }
  const managed = async (server: ApiServer) =>
    (await asAdmin(server, ['get', 'rolebindings', '-A', '-l', MANAGED, '-o', 'name']))
      .split('\n')
      .filter((line) => line.includes('rolebinding'))

  beforeAll(async () => {
    ;[ack, idc] = await Promise.all([
      startApiServer({ version: '1.36.3' }),
      startApiServer({ version: '1.33.13' }),
    ])
    for (const server of [ack, idc])
      for (const namespace of ['test', 'other', 'product-a'])
        await asAdmin(server, ['create', 'namespace', namespace])
    stage = await Stage.open()
    owner = await stage.found('owner')
    await stage.addCluster(owner, 'ack', ack)
    await stage.addCluster(owner, 'idc-k8s', idc, ['--label', 'site=idc'])
    people = { owner }
    for (const name of ['second', 'limited', 'testuser01', 'testuser02', 'dev1', 'dev2', 'dev3'])
      people[name] = await stage.join(owner, name, [])
    for (const name of ['second', 'limited']) await owner.must(['admins', 'add', name])
    file = await declare(TEAM)
  }, 600_000)

  afterAll(async () => {
    await stage?.close()
    await Promise.all([ack?.stop(), idc?.stop()])
  })

  test('diff shows it and changes nothing, apply makes it so, and then nothing differs', async () => {
    const before = await diff(owner, file)
    expect(before.exitCode).toBe(1)
    expect(before.document.unknown).toEqual(['Łukasz', '王小明'])
    expect(before.document.summary.remove).toBe(0)
    expect(await managed(idc)).toHaveLength(1)
    const applied = await apply(owner, file)
    expect(applied, applied.stdout + applied.stderr).toMatchObject({ exitCode: 0 })
    const after = await diff(owner, file)
    expect(after, JSON.stringify(after.document)).toMatchObject({ exitCode: 0 })
    for (const name of ['testuser01', 'testuser02', 'dev1', 'dev2', 'dev3', 'second', 'limited'])
      await people[name]!.must([
        'kubeconfig',
        '--all',
        '--output',
        join(people[name]!.home, 'kubeconfig'),
      ])
  })

  test('testuser01 reads and writes everywhere in ack, and in namespace test alone of idc-k8s', async () => {
    const developer = people['testuser01']!
    const made = (namespace: string) => ['-n', namespace, 'create', 'configmap', 'made-by-01']
    for (const namespace of ['test', 'other'])
      expect(await kubectl(developer, 'ack', made(namespace))).toMatchObject({ exitCode: 0 })
    expect(await kubectl(developer, 'idc-k8s', made('test'))).toMatchObject({ exitCode: 0 })
    expect((await kubectl(developer, 'idc-k8s', ['-n', 'other', 'get', 'pods'])).stderr).toBe(
      'Error from server (Forbidden): pods is forbidden: User "mcm:testuser01" cannot list resource "pods" in API group "" in the namespace "other"\n',
    )
  })

  test('testuser02 does not see ack, and reads and writes in namespace test of idc-k8s', async () => {
    const tester = people['testuser02']!
    const clusters = JSON.parse(await tester.must(['clusters', '--json'])) as { name: string }[]
    expect(clusters.map(({ name }) => name)).toEqual(['idc-k8s'])
    const made = ['-n', 'test', 'create', 'configmap', 'made-by-02']
    expect(await kubectl(tester, 'idc-k8s', made)).toMatchObject({ exitCode: 0 })
    expect((await kubectl(tester, 'idc-k8s', ['-n', 'other', 'get', 'pods'])).stderr).toContain(
      '(Forbidden)',
    )
  })

  test('dev1, dev2 and dev3 read pods in product-a, and get the Forbidden that RBAC prints elsewhere', async () => {
    for (const name of ['dev1', 'dev2', 'dev3']) {
      const dev = people[name]!
      expect((await kubectl(dev, 'idc-k8s', ['get', 'pods'])).stderr).toBe(
        `Error from server (Forbidden): pods is forbidden: User "mcm:${name}" cannot list resource "pods" in API group "" in the namespace "default"\n`,
      )
      expect(await kubectl(dev, 'idc-k8s', ['get', 'pods', '-n', 'product-a'])).toMatchObject({
        exitCode: 0,
        stderr: 'No resources found in product-a namespace.\n',
      })
      const deleted = await kubectl(dev, 'idc-k8s', ['delete', 'pod', 'web', '-n', 'product-a'])
      expect(deleted.stderr).toContain(`User "mcm:${name}" cannot delete resource "pods"`)
    }
  })

  test('what was generated carries labels and annotations, so plain kubectl tells the truth', async () => {
    const path =
      '{range .items[*]}{.metadata.namespace} {.metadata.labels.mcm\\.dev/principal} {.roleRef.name} {.metadata.annotations.mcm\\.dev/nickname}{"\\n"}{end}'
    const bindings = await asAdmin(idc, [
      'get',
      'rolebindings',
      '-A',
      '-l',
      MANAGED,
      '-o',
      `jsonpath=${path}`,
    ])
    expect(
      bindings
        .split('\n')
        .filter((line) => !line.startsWith('mcm-system'))
        .sort(),
    ).toEqual([
      '',
      'product-a dev pod-dev ',
      'test testuser01 mcm:ns-dev Developer',
      'test testuser02 mcm:ns-dev Tester',
    ])
    const wanted = ['clusterrole', 'pod-dev', '-o', 'json', '--show-managed-fields']
    const role = JSON.parse(await asAdmin(idc, ['get', ...wanted]))
    expect(role.metadata).toMatchObject({
      labels: { 'app.kubernetes.io/managed-by': 'mcm', 'mcm.dev/role': 'pod-dev' },
      annotations: { 'mcm.dev/description': 'reads pods and nothing else' },
    })
    expect(role.metadata.managedFields).toMatchObject([{ manager: 'mcm', operation: 'Apply' }])
    expect(role.metadata.managedFields).toHaveLength(1)
  })

  test('drift is seen, whoever made it, and put right; what is not mcm’s is left alone', async () => {
    const [name] = (await managed(idc)).filter((line) => line.includes('testuser02'))
    const binding = name!.split('/').at(-1)!
    const subject =
      '{"subjects":[{"kind":"User","name":"mallory","apiGroup":"rbac.authorization.k8s.io"}]}'
    await asAdmin(idc, ['-n', 'test', 'patch', 'rolebinding', binding, '-p', subject])
    await asAdmin(idc, [
      'create',
      'clusterrolebinding',
      'theirs',
      '--clusterrole=view',
      '--user=jane',
    ])
    const drifted = await diff(owner, file)
    expect(drifted.exitCode).toBe(1)
    expect(drifted.document.summary).toEqual({ add: 0, change: 1, remove: 0 })
    expect(drifted.document.clusters[1].changes[0]).toMatchObject({ differs: ['subjects'] })
    expect(await apply(owner, file)).toMatchObject({ exitCode: 0 })
    expect((await diff(owner, file)).exitCode).toBe(0)
    await asAdmin(idc, ['get', 'clusterrolebinding', 'theirs'])
  })

  test('an administrator who lacks a right gets the API server’s Forbidden there; the other cluster is done', async () => {
    const more = `${TEAM}  - { user: testuser02, role: ro, clusterSelector: { matchLabels: {} } }\n`
    const path = await declare(more, 'more.yaml')
    const limited = await apply(people['limited']!, path)
    expect(limited.exitCode, limited.stderr).toBe(9)
    const { clusters } = JSON.parse(limited.stdout)
    expect(clusters[0]).toMatchObject({ cluster: 'ack', problems: [] })
    expect(clusters[1].problems.join()).toContain(
      'is attempting to grant RBAC permissions not currently held',
    )
    expect((await diff(owner, path)).document.clusters[1].changes).toHaveLength(1)
    expect(await apply(owner, path)).toMatchObject({ exitCode: 0 })
    expect(await apply(owner, file)).toMatchObject({ exitCode: 0 })
  })

  test('killed in the middle of an apply, the next one finishes; then a user with 500 groups uses all of them', async () => {
    const many = await stage.join(owner, 'many', [])
    const groups = Array.from({ length: MANY }, (_, index) => `team-${index}`)
    const text = TEAM.replace(
      'groups:\n  - { name: dev,',
      `  - { name: many, groups: [${groups.join(', ')}] }\ngroups:\n${groups
        .map((name) => `  - { name: ${name} }\n`)
        .join('')}  - { name: dev,`,
    )
    const grants = groups.map(
      (name) =>
        `  - { group: ${name}, role: ns-ro, clusters: [ack, idc-k8s], namespaces: [other] }\n`,
    )
    const path = await declare(text + grants.join(''), 'many.yaml')
    const before = (await managed(ack)).length
    const killed = owner.start(['access', 'apply', '-f', path, '--yes'])
    await expect
      .poll(async () => (await managed(ack)).length, { timeout: 60_000, interval: 50 })
      .toBeGreaterThan(before + 5)
    await killed.stop('SIGKILL')
    const half = (await managed(ack)).length
    expect(half).toBeLessThan(before + MANY)
    // Nothing of it has power yet: nobody was put into a group before the bindings were there.
    expect((await diff(owner, path)).document.people).toHaveLength(1)
    const [first, second] = await Promise.all([apply(owner, path), apply(people['second']!, path)])
    expect(first, first.stdout + first.stderr).toMatchObject({ exitCode: 0 })
    expect(second, second.stdout + second.stderr).toMatchObject({ exitCode: 0 })
    expect((await managed(ack)).length).toBe(before + MANY)
    expect((await diff(owner, path)).exitCode).toBe(0)
    await many.must(['kubeconfig', '--all', '--output', join(many.home, 'kubeconfig')])
    for (const cluster of ['ack', 'idc-k8s']) {
      const get = (namespace: string) => kubectl(many, cluster, ['-n', namespace, 'get', 'pods'])
      expect(await get('other')).toMatchObject({ exitCode: 0 })
      expect((await get('test')).stderr).toContain('Forbidden')
      const whoami = await kubectl(many, cluster, ['auth', 'whoami', '-o', 'json'])
      const { groups: seen } = JSON.parse(whoami.stdout).status.userInfo
      expect(seen).toHaveLength(MANY + 1)
    }
    expect(await apply(owner, file)).toMatchObject({ exitCode: 0 })
    expect((await managed(ack)).length).toBe(before)
  }, 600_000)

  test('a grant that the file lets end works until then, and is not missed afterwards', async () => {
    const tester = people['testuser02']!
    const reads = ['-n', 'other', 'get', 'configmaps']
    const expires = new Date(Date.now() + 45_000).toISOString().replace(/\.\d+Z$/, 'Z')
    const grant = `  - { user: testuser02, role: ns-ro, clusters: [idc-k8s], namespaces: [other], expires: '${expires}' }\n`
    const path = await declare(TEAM + grant, 'ends.yaml')
    expect(await apply(owner, path)).toMatchObject({ exitCode: 0 })
    expect(await kubectl(tester, 'idc-k8s', reads)).toMatchObject({ exitCode: 0 })
    await expect
      .poll(async () => (await kubectl(tester, 'idc-k8s', reads)).stderr, {
        timeout: 120_000,
        interval: 500,
      })
      .toContain('(Forbidden)')
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expires))
    expect(await apply(owner, file)).toMatchObject({ exitCode: 0 })
    expect((await diff(owner, file)).exitCode).toBe(0)
  }, 300_000)

  test('a grant for some seconds works at once and is over by itself, with what ran under it', async () => {
    const tester = people['testuser02']!
    const reads = ['-n', 'other', 'get', 'configmaps']
    await asAdmin(idc, ['-n', 'other', 'create', 'configmap', 'seen'])
    const grant = ['grant', 'testuser02', '--role', 'ro', '--cluster', 'idc-k8s', '--for', '60s']
    await owner.must(grant)
    const shown = JSON.parse(await owner.must(['access', 'show', 'testuser02', '--json']))
    expect(shown.grants.map(({ role }: { role: string }) => role).sort()).toEqual([
      'mcm:ns-dev',
      'mcm:ro',
    ])
    expect(await kubectl(tester, 'idc-k8s', reads)).toMatchObject({ exitCode: 0 })
    const watch = tester.start(['kubectl', '-c', 'idc-k8s', ...reads, '--watch'])
    await watch.shows(/NAME/)
    await expect
      .poll(async () => (await kubectl(tester, 'idc-k8s', reads)).stderr, {
        timeout: 120_000,
        interval: 500,
      })
      .toContain('(Forbidden)')
    await watch.ended
    expect(await kubectl(tester, 'idc-k8s', ['-n', 'test', 'get', 'configmaps'])).toMatchObject({
      exitCode: 0,
    })
  }, 300_000)
})

const MANAGED = 'app.kubernetes.io/managed-by=mcm'
