/**
 * A whole node with the agent in real pods, a person who registered it, and every way from the one to the other.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type KubectlResult, runKubectl } from '../cluster/kubectl.ts'
import { startNode, type WholeNode } from '../cluster/node.ts'
import { type Person, Stage } from './stage.ts'
import { Ways } from './ways.ts'

/** What `npm run image` writes. */
export const AGENT_IMAGE = join(import.meta.dirname, '..', '..', 'image', 'mcm-agent.tar')
/** Its name on the node. It has a Node.js of its own. */
export async function agentImageName(): Promise<string> {
  const root = join(import.meta.dirname, '..', '..')
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  return `docker.io/library/mcm-agent:${version}`
}

export const CLUSTER_NAME = 'idc-k8s'

export interface NodeStage {
  readonly node: WholeNode
  readonly stage: Stage
  /** Owns the cluster; to the API server `mcm:alice`. */
  readonly alice: Person
  readonly ways: Ways
  /** A folder for the test's own files. */
  readonly scratch: string
  /** Past mcm, with all rights. */
  asAdmin(args: readonly string[], input?: string): Promise<KubectlResult>
  /** As `asAdmin`. @throws Error with kubectl's words unless it exits 0 */
  mustAsAdmin(args: readonly string[], input?: string): Promise<string>
  close(): Promise<void>
}

/** About forty seconds. Both replicas of the agent are up when it resolves. */
export async function openNodeStage(): Promise<NodeStage> {
  const scratch = await mkdtemp(join(tmpdir(), 'mcm-test-verbs-'))
  const node = await startNode({ version: '1.36.3' })
  const ends = [() => rm(scratch, { recursive: true, force: true }), () => node.stop()]
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  try {
    const stage = await Stage.open(node.hostAddress)
    ends.push(() => stage.close())
    await node.importImage(AGENT_IMAGE)
    const alice = await stage.found('alice')
    await registerWithPods(alice, node, scratch)
    const asAdmin = (args: readonly string[], input?: string) =>
      runKubectl('1.36.3', args, { kubeconfig: node.adminKubeconfig, input, timeoutMs: 120_000 })
    const mustAsAdmin = async (args: readonly string[], input?: string) => {
      const { stdout, stderr, exitCode } = await asAdmin(args, input)
      if (exitCode === 0) return stdout
      throw new Error(`kubectl ${args.join(' ')} exited ${exitCode}: ${stderr}`)
    }
    const rollout = ['rollout', 'status', 'deployment/mcm-agent', '--timeout=120s']
    await mustAsAdmin(['-n', 'mcm-system', ...rollout])
    const ways = await Ways.open(alice, node)
    return { node, stage, alice, ways, scratch, asAdmin, mustAsAdmin, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function registerWithPods(owner: Person, node: WholeNode, scratch: string): Promise<void> {
  const kubeconfig = join(scratch, 'admin')
  await writeFile(kubeconfig, await readFile(node.adminKubeconfig), { mode: 0o600 })
  const access = ['--apply', '--kubeconfig', kubeconfig, '--timeout', '120']
  await owner.must(['register', CLUSTER_NAME, ...access], { timeoutMs: 180_000 })
}
