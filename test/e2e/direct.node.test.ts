import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { startNode, type WholeNode, wholeNodeIsPossible } from '../cluster/node.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { AGENT_IMAGE } from './node-stage.ts'
import { runProgram } from './program.ts'
import { type Person, Stage } from './stage.ts'

const skip = skipLoudly('a direct address in front of real pods', await wholeNodeIsPossible())
const PORTS = { sessions: 30_443, enrolment: 30_444 }
const WHO = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']

/** Deployment, Service and NetworkPolicy as `mcm register --direct` makes them, with kube-proxy in between. */
describe.skipIf(skip)('agents in real pods behind a node port', () => {
  let node: WholeNode
  let stage: Stage
  let alice: Person
  let scratch: string
  let kubeconfig: string

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'mcm-test-direct-'))
    node = await startNode({ version: '1.36.3' })
    await node.importImage(AGENT_IMAGE)
    stage = await Stage.open(node.hostAddress)
    alice = await stage.found('alice')
    const admin = join(scratch, 'admin')
    await writeFile(admin, await readFile(node.adminKubeconfig), { mode: 0o600 })
    const direct = `${await nodeAddress()}:${PORTS.sessions},${PORTS.enrolment}`
    const flags = ['--apply', '--kubeconfig', admin, '--timeout', '120', '--direct', direct]
    await alice.must(['register', 'idc-k8s', ...flags, '--direct-service', 'NodePort'], {
      timeoutMs: 180_000,
    })
    const proxy = alice.start(['proxy'])
    await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
    kubeconfig = await alice.kubeconfig('proxy')
  })
  afterAll(async () => {
    await stage?.close()
    await node?.stop()
    await rm(scratch, { recursive: true, force: true })
  })

  const asAdmin = (...args: string[]) =>
    runKubectl('1.36.3', args, { kubeconfig: node.adminKubeconfig, timeoutMs: 150_000 })

  async function nodeAddress(): Promise<string> {
    const path = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'
    return (await asAdmin('get', 'nodes', '-o', path)).stdout
  }

  async function whoAmI(): Promise<string> {
    const env = { ...alice.env, KUBECONFIG: kubeconfig }
    const { stdout, stderr } = await runProgram(await kubectlPath('1.36.3'), WHO, { env })
    return stdout || stderr
  }

  test('are reached through the hub while there is one', async () => {
    const rollout = ['rollout', 'status', 'deployment/mcm-agent', '--timeout=120s']
    expect((await asAdmin('-n', 'mcm-system', ...rollout)).stdout).toContain('rolled out')
    await expect.poll(whoAmI, { timeout: 30_000 }).toBe('mcm:alice')
  })

  test('are reached by the node’s ports when it is gone, although no pod is ready then', async () => {
    const before = (await directLines()).length
    await stage.hub.stop('SIGKILL')
    await expect.poll(whoAmI, { timeout: 60_000 }).toBe('mcm:alice')
    expect((await directLines()).length).toBeGreaterThan(before)
    const unready = ['wait', 'pods', '--all', '--for=condition=Ready=false', '--timeout=120s']
    expect(await asAdmin('-n', 'mcm-system', ...unready)).toMatchObject({ exitCode: 0 })
    await expect.poll(whoAmI, { timeout: 30_000 }).toBe('mcm:alice')
  })

  /** Requests that came past the hub, as the agents noted them. */
  async function directLines(): Promise<string[]> {
    const selector = ['-l', 'app.kubernetes.io/name=mcm-agent', '--tail=-1']
    const { stdout } = await asAdmin('-n', 'mcm-system', 'logs', ...selector)
    return stdout.split('\n').filter((line) => line.includes('"address":'))
  }
})
