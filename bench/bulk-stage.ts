/**
 * The three ways of `stream-stage.ts` for machines on which no whole node is possible: to an API server without pods that
 * pours and swallows bytes as fast as they are taken.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LongRunning } from '../test/e2e/program.ts'
import { Stage } from '../test/e2e/stage.ts'
import { FIXTURES } from '../test/e2e/streams-stage.ts'
import type { StreamStage } from './stream-stage.ts'

export type BulkStage = Omit<StreamStage, 'node' | 'lastWords'>

export async function openBulkStage(): Promise<BulkStage> {
  const scratch = await mkdtemp(join(tmpdir(), 'mcm-bench-'))
  const ends: (() => Promise<unknown>)[] = [() => rm(scratch, { recursive: true, force: true })]
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  try {
    const apiServer = new LongRunning(
      process.execPath,
      [join(FIXTURES, 'streams-api-server.ts')],
      {},
    )
    ends.push(() => apiServer.stop('SIGKILL'))
    const direct = join(scratch, 'direct')
    const [line] = await apiServer.shows(/^\{.*\}$/m)
    await writeFile(direct, JSON.parse(line).kubeconfig, { mode: 0o600 })
    const stage = await Stage.open()
    ends.push(() => stage.close())
    const alice = await stage.found('alice')
    await stage.addCluster(alice, 'bench', { adminKubeconfig: direct })
    await alice.start(['proxy']).shows(/https:\/\/127\.0\.0\.1:\d+/)
    const [hub, proxy] = [await alice.kubeconfig('static'), await alice.kubeconfig('proxy')]
    const hubPid = stage.hub.child.pid!
    return { kubeconfigs: { direct, hub, proxy }, env: alice.env, hubPid, scratch, close }
  } catch (error) {
    await close()
    throw error
  }
}
