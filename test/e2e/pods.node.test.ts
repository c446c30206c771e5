import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { startNode, type WholeNode, wholeNodeIsPossible } from '../cluster/node.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const skip = skipLoudly('the agent in real pods of a whole node', await wholeNodeIsPossible())
const IMAGE = join(import.meta.dirname, '..', '..', 'image', 'mcm-agent.tar')

describe.skipIf(skip)('the agent in real pods, behind a network without any way in', () => {
  let node: WholeNode
  let stage: Stage
  let alice: Person
  let scratch: string
  const kubeconfigs = {} as Record<'exec' | 'static' | 'proxy', string>

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'mcm-test-pods-'))
    node = await startNode({ version: '1.36.3' })
    await node.importImage(IMAGE)
    await node.runShellPod({
      name: 'shell',
      command: ['sh', '-c', 'echo it began; exec sleep 100000'],
    })
    stage = await Stage.open(node.hostAddress)
    alice = await stage.found('alice')
    const kubeconfig = join(scratch, 'admin')
    await writeFile(kubeconfig, await readFile(node.adminKubeconfig), { mode: 0o600 })
    await alice.must(
      ['register', 'idc-k8s', '--apply', '--kubeconfig', kubeconfig, '--timeout', '120'],
      {
        timeoutMs: 180_000,
      },
    )
    const proxy = alice.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    for (const mode of ['exec', 'static', 'proxy'] as const)
      kubeconfigs[mode] = await alice.kubeconfig(mode)
  })

  afterAll(async () => {
    await stage?.close()
    await node?.stop()
    await rm(scratch, { recursive: true, force: true })
  })

  const asAdmin = (args: readonly string[]) =>
    runKubectl('1.36.3', args, { kubeconfig: node.adminKubeconfig })
  const kubectl = async (mode: 'exec' | 'static' | 'proxy', args: readonly string[]) =>
    runProgram(await kubectlPath('1.36.3'), args, {
      env: { ...alice.env, KUBECONFIG: kubeconfigs[mode] },
    })

  test('both replicas come up as ordinary hardened pods', async () => {
    const wait = ['-n', 'mcm-system', 'rollout', 'status', 'deployment/mcm-agent', '--timeout=120s']
    expect((await asAdmin(wait)).stdout).toContain('successfully rolled out')
    const { stdout } = await asAdmin(['-n', 'mcm-system', 'get', 'pods', '-o', 'json'])
    const pods = JSON.parse(stdout) as {
      items: { status: { containerStatuses: { ready: boolean; restartCount: number }[] } }[]
    }
    expect(pods.items).toHaveLength(2)
    expect(
      pods.items.every((pod) => pod.status.containerStatuses.every((status) => status.ready)),
    ).toBe(true)
  })

  test('mcm clusters shows two agents, the version and a round trip', async () => {
    const clusters = JSON.parse(await alice.must(['clusters', '--json'])) as {
      name: string
      agents: number
      kubernetesVersion: string
    }[]
    expect(clusters).toMatchObject([{ name: 'idc-k8s', agents: 2, kubernetesVersion: 'v1.36.3' }])
  })

  for (const mode of ['exec', 'static', 'proxy'] as const) {
    test(`kubectl lists, reads logs and runs commands with their exit codes, in ${mode} mode`, async () => {
      expect((await kubectl(mode, ['get', 'nodes', '-o', 'name'])).stdout).toBe('node/mcm-test\n')
      expect((await kubectl(mode, ['logs', 'shell'])).stdout).toBe('it began\n')
      expect((await kubectl(mode, ['exec', 'shell', '--', 'echo', 'hello'])).stdout).toBe('hello\n')
      expect((await kubectl(mode, ['exec', 'shell', '--', 'sh', '-c', 'exit 7'])).exitCode).toBe(7)
    })
  }

  test('the API server audits the person, not the agent', async () => {
    await kubectl('exec', ['get', 'configmap', 'audited'])
    const event = (await node.auditEvents()).find(({ requestURI }) =>
      requestURI.includes('/configmaps/audited'),
    )
    expect(event?.impersonatedUser?.username).toBe('mcm:alice')
    expect(event?.user.username).toBe('system:serviceaccount:mcm-system:mcm-impersonator')
  })

  test('one replica killed: the next kubectl goes through the other', async () => {
    const { stdout } = await asAdmin(['-n', 'mcm-system', 'get', 'pods', '-o', 'name'])
    await asAdmin([
      '-n',
      'mcm-system',
      'delete',
      stdout.split('\n')[0]!,
      '--grace-period=0',
      '--force',
    ])
    expect((await kubectl('static', ['get', 'nodes', '-o', 'name'])).stdout).toBe('node/mcm-test\n')
  })

  test('a path dropped in silence is noticed, and used again once it is restored', async () => {
    const rule = ['FORWARD', '-p', 'tcp', '--dport', String(stage.hubPort), '-j', 'DROP']
    await node.run('iptables', ['-I', ...rule])
    await expect
      .poll(async () => (await kubectl('static', ['get', 'nodes'])).stderr, {
        timeout: 40_000,
        interval: 1_000,
      })
      .toContain('no agent of this cluster is connected to the hub')
    await node.run('iptables', ['-D', ...rule])
    await expect
      .poll(async () => (await kubectl('static', ['get', 'nodes', '-o', 'name'])).stdout, {
        timeout: 40_000,
        interval: 1_000,
      })
      .toBe('node/mcm-test\n')
  })

  test('a hub killed and started again: the next kubectl works', async () => {
    await stage.hub.stop('SIGKILL')
    await stage.startHub(node.hostAddress)
    await expect
      .poll(async () => (await kubectl('exec', ['get', 'nodes', '-o', 'name'])).stdout, {
        timeout: 40_000,
        interval: 500,
      })
      .toBe('node/mcm-test\n')
  })

  test('agent.yaml is complete, private and applies as it is', async () => {
    const path = join(scratch, 'agent.yaml')
    await alice.must(['register', 'second', '--output', path, '--no-wait'])
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const result = await asAdmin(['apply', '--dry-run=server', '-f', path])
    expect(result).toMatchObject({ exitCode: 0 })
  })
})
