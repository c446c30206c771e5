import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeImageTar } from './image-tar.ts'
import { killAfterFirstLine } from './killed-run.ts'
import { runKubectl } from './kubectl.ts'
import type { WholeNode } from './node.ts'
import { startNode, wholeNodeIsPossible } from './node.ts'
import { skipLoudly } from './possibility.ts'
import { runCommand } from './run-command.ts'
import { waitUntil } from './running-process.ts'
import { sweepAbandonedMachines, tracesOf } from './sweep.ts'

const skip = skipLoudly('a whole node with pods', await wholeNodeIsPossible())

describe.skipIf(skip)('a whole node', () => {
  let node: WholeNode
  beforeAll(async () => {
    node = await startNode({ version: '1.36.3' })
    const command = ['sh', '-c', 'echo it began; exec sleep 100000']
    await node.runShellPod({ name: 'shell', command })
  })
  afterAll(() => node?.stop())

  const kubectl = (args: string[], input?: string | Uint8Array) =>
    runKubectl('1.36.3', args, { kubeconfig: node.adminKubeconfig, input })
  const inPod = (script: string, input?: string | Uint8Array) =>
    kubectl(['exec', ...(input ? ['-i'] : []), 'shell', '--', 'sh', '-c', script], input)

  test('is Ready', async () => {
    const { stdout } = await kubectl(['get', 'nodes', '--no-headers'])
    expect(stdout).toMatch(/^mcm-test\s+Ready\s/)
  })

  test('carries exit codes of exec', async () => {
    expect((await inPod('exit 7')).exitCode).toBe(7)
    expect((await inPod('exit 0')).exitCode).toBe(0)
  })

  test('carries stdin of exec to its end', async () => {
    const counted = await inPod('wc -c', Buffer.alloc(1_000_000, 'x'))
    expect(counted.stdout.trim()).toBe('1000000')
  })

  test('shows logs', async () => {
    expect((await kubectl(['logs', 'shell'])).stdout).toBe('it began\n')
  })

  test('makes a Deployment into pods, and deletes a namespace whole', async () => {
    await kubectl(['create', 'namespace', 'team'])
    await kubectl(['create', 'deployment', 'web', '--image=mcm.test/shell:1', '--namespace=team'])
    const wait = ['rollout', 'status', 'deployment/web', '--namespace=team', '--timeout=60s']
    expect((await kubectl(wait)).stdout).toContain('successfully rolled out')
    expect((await kubectl(['delete', 'namespace', 'team', '--timeout=60s'])).exitCode).toBe(0)
  })

  test('lets pods reach the API server as in every cluster', async () => {
    const connect = 'nc -w 3 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT < /dev/null'
    expect((await inPod(connect)).exitCode).toBe(0)
  })

  test('lets pods reach a server of ours, until a rule of the node drops it', async () => {
    const server = createServer((socket) => socket.end('hello\n')).listen(0, node.hostAddress)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const connect = `nc -w 3 ${node.hostAddress} ${port}`
    expect((await inPod(connect)).stdout).toBe('hello\n')
    const rule = `FORWARD -p tcp --dport ${port} -j DROP`.split(' ')
    await node.run('iptables', ['-I', ...rule])
    expect((await inPod(connect)).exitCode).not.toBe(0)
    await node.run('iptables', ['-D', ...rule])
    expect((await inPod(connect)).stdout).toBe('hello\n')
    server.close()
  })

  test('runs an image that was imported', async () => {
    const root = await mkdtemp(join(tmpdir(), 'mcm-test-image-root-'))
    const path = join(root, 'own.tar')
    await runCommand('cp', ['/bin/busybox', root])
    const config = { Entrypoint: ['/busybox', 'sleep', '1000'], User: '65534' }
    await writeImageTar({ path, name: 'mcm.test/own:1', rootDirectory: root, config })
    await node.importImage(path)
    await rm(root, { recursive: true })
    const run = ['run', 'own', '--image=mcm.test/own:1', '--image-pull-policy=Never']
    await kubectl(run)
    const wait = ['wait', 'pod/own', '--for=condition=Ready', '--timeout=60s']
    expect((await kubectl(wait)).stdout).toBe('pod/own condition met\n')
    const id = await kubectl(['exec', 'own', '--', '/busybox', 'id', '-u'])
    expect(id.stdout).toBe('65534\n')
  })

  test('keeps its pods over a restart of the API server', async () => {
    await node.restart()
    expect((await inPod('exit 7')).exitCode).toBe(7)
  })

  test('names in its audit log as whom an exec ran', async () => {
    const binding = ['--clusterrole=cluster-admin', '--user=mcm:alice']
    await kubectl(['create', 'clusterrolebinding', 'alice', ...binding])
    await kubectl(['exec', 'shell', '--as=mcm:alice', '--', 'true'])
    const events = await node.auditEvents()
    const exec = events.filter(({ objectRef }) => objectRef?.subresource === 'exec')
    expect(exec.at(-1)?.impersonatedUser?.username).toBe('mcm:alice')
  })

  test('leaves nothing behind when stopped, and stopping twice is safe', async () => {
    const traces = await tracesOf(node.directory)
    expect(traces.length).toBeGreaterThan(2)
    await node.stop()
    await node.stop()
    await expectNothingLeft(node.directory, traces)
  })
})

describe.skipIf(skip)('a run that was killed', () => {
  test('leaves no process of its node, and the next run removes the rest', async () => {
    const directory = await killAfterFirstLine('start-node.ts')
    const isGone = async () => (await processesOf(directory)) === ''
    await waitUntil('its processes have ended', isGone, { timeoutMs: 10_000 })
    const traces = await tracesOf(directory)
    expect(traces).toContain(directory)
    await sweepAbandonedMachines()
    await expectNothingLeft(directory, traces)
  })
})

async function expectNothingLeft(directory: string, traces: string[]): Promise<void> {
  expect(await processesOf(directory)).toBe('')
  expect(await tracesOf(directory)).toEqual([])
  const listed = await runCommand('ls', ['-d', ...traces])
  expect(listed.stdout).toBe('')
  const mounts = await runCommand('cat', ['/proc/mounts'])
  expect(mounts.stdout).not.toContain(directory)
  const links = await runCommand('ip', ['link'])
  expect(links.stdout).not.toMatch(/mcmt-|cni0/)
}

async function processesOf(directory: string): Promise<string> {
  return (await runCommand('pgrep', ['--full', '--list-full', directory])).stdout
}
