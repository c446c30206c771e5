/**
 * Two clusters behind one hub, for clients that nobody here wrote: a real API server, and the sandbox, in which pods
 * run. Alice owns both. Whoever joins has their own `mcm proxy`, and every way to the real one.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ApiServer, startApiServer } from '../cluster/api-server.ts'
import { runKubectl } from '../cluster/kubectl.ts'
import { type SandboxCluster, startSandboxCluster } from './sandbox-cluster.ts'
import { type Person, Stage } from './stage.ts'
import { Ways } from './ways.ts'

const REAL_NAME = 'idc-k8s'
const SANDBOX_NAME = 'edge'

/** Contexts in every kubeconfig of mcm. */
export const REAL = `mcm-${REAL_NAME}`
export const SANDBOX = `mcm-${SANDBOX_NAME}`

export interface ClientsStage {
  readonly stage: Stage
  readonly apiServer: ApiServer
  readonly sandbox: SandboxCluster
  readonly alice: Person
  /** Alice's. */
  readonly ways: Ways
  /** A folder for the test's own files. */
  readonly scratch: string
  /** Invites somebody to the real cluster and logs them in. `grant`: as `mcm invite` takes it, without the cluster. */
  join(name: string, grant: readonly string[]): Promise<Ways>
  /** kubectl on the real cluster, past mcm, with all rights. Gives stdout. @throws Error with its words */
  asAdmin(args: readonly string[], input?: string): Promise<string>
  close(): Promise<void>
}

/** About fifteen seconds. */
export async function openClientsStage(): Promise<ClientsStage> {
  const scratch = await mkdtemp(join(tmpdir(), 'mcm-test-clients-'))
  const ends: (() => Promise<unknown>)[] = [() => rm(scratch, { recursive: true, force: true })]
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  try {
    const apiServer = await startApiServer({ version: '1.36.3' })
    ends.push(() => apiServer.stop())
    const sandbox = await startSandboxCluster()
    ends.push(() => sandbox.stop())
    const stage = await Stage.open()
    ends.push(() => stage.close())
    const alice = await stage.found('alice')
    await stage.addCluster(alice, REAL_NAME, apiServer)
    await stage.addCluster(alice, SANDBOX_NAME, sandbox)
    const ways = await Ways.open(alice, apiServer)
    const join = async (name: string, grant: readonly string[]) =>
      Ways.open(await stage.join(alice, name, ['--cluster', REAL_NAME, ...grant]), apiServer)
    const asAdmin = async (args: readonly string[], input?: string) => {
      const options = { kubeconfig: apiServer.adminKubeconfig, ...(input ? { input } : {}) }
      const { stdout, stderr, exitCode } = await runKubectl('1.36.3', args, options)
      if (exitCode === 0) return stdout
      throw new Error(`kubectl ${args.join(' ')} exited ${exitCode}: ${stderr}`)
    }
    return { stage, apiServer, sandbox, alice, ways, scratch, join, asAdmin, close }
  } catch (error) {
    await close()
    throw error
  }
}
