/**
 * A whole real node with pods, an agent and a hub, and the three ways of the same kubectl to it: straight
 * to the API server, through the hub without any mcm process, and through a warm `mcm proxy`. With a
 * distance, the person is that far from everything else, whichever way is taken.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startNode, type WholeNode } from '../test/cluster/node.ts'
import { type Distance, startToxiproxy } from '../test/distance/toxiproxy.ts'
import { LongRunning, MCM } from '../test/e2e/program.ts'
import { type Person, Stage } from '../test/e2e/stage.ts'

export const WAYS = ['direct', 'hub', 'proxy'] as const
export type Way = (typeof WAYS)[number]

export interface StreamStage {
  readonly node: WholeNode
  readonly kubeconfigs: Readonly<Record<Way, string>>
  /** For kubectl: the person's own, so that nothing of this machine's is used. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly hubPid: number
  /** A folder in memory where there is one. */
  readonly scratch: string
  /** The last lines that hub, agent, API server and kubelet logged. */
  lastWords(): Promise<string>
  close(): Promise<void>
}

const WORDS = 4_000
const CONNECT_PROXY = join(import.meta.dirname, 'fixtures', 'connect-proxy.mjs')

export async function openStreamStage(distance?: Distance): Promise<StreamStage> {
  const ends: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  try {
    const scratch = await scratchDirectory()
    ends.push(() => rm(scratch, { recursive: true, force: true }))
    const node = await startNode({ version: '1.36.3' })
    ends.push(() => node.stop())
    const stage = await Stage.open(node.hostAddress)
    ends.push(() => stage.close())
    const alice = await stage.found('alice')
    await stage.addCluster(alice, 'bench', node)
    const place = { node, stage, alice, scratch, ends }
    const kubeconfigs = distance ? await farAway(place, distance) : await nearby(place)
    const hubPid = stage.hub.child.pid!
    const lastWords = () => wordsOf(node, [stage.hub, ...stage.agents.values()])
    return { node, kubeconfigs, env: alice.env, hubPid, scratch, lastWords, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function wordsOf(node: WholeNode, programs: readonly LongRunning[]): Promise<string> {
  const logs = ['kube-apiserver.log', 'kubelet.log', 'containerd.log'].map((name) =>
    readFile(join(node.directory, name), 'utf8').catch(String),
  )
  const texts = [...programs.map(({ stderr }) => stderr), ...(await Promise.all(logs))]
  return texts.map((text) => text.slice(-WORDS)).join('\n---\n')
}

interface Place {
  readonly node: WholeNode
  readonly stage: Stage
  readonly alice: Person
  readonly scratch: string
  readonly ends: (() => Promise<unknown>)[]
}

async function nearby({ node, alice }: Place): Promise<Record<Way, string>> {
  await alice.start(['proxy']).shows(/https:\/\/127\.0\.0\.1:\d+/)
  const [hub, proxy] = [await alice.kubeconfig('static'), await alice.kubeconfig('proxy')]
  return { direct: node.adminKubeconfig, hub, proxy }
}

/**
 * kubectl's own connections go through relays because its kubeconfigs name them; those of `mcm proxy`
 * because it goes through a forward proxy that is as far away.
 */
async function farAway(place: Place, distance: Distance): Promise<Record<Way, string>> {
  const { node, stage, alice, scratch, ends } = place
  const toxiproxy = await startToxiproxy()
  ends.push(() => toxiproxy.stop())
  const forward = new LongRunning(process.execPath, [CONNECT_PROXY], {})
  ends.push(() => forward.stop('SIGKILL'))
  const forwardPort = (await forward.shows(/^listening on (\d+)$/m))[1]!
  const toApi = await toxiproxy.relay(`${node.host}:${node.port}`)
  const toHub = await toxiproxy.relay(`${node.hostAddress}:${stage.hubPort}`, node.hostAddress)
  const toForward = await toxiproxy.relay(`127.0.0.1:${forwardPort}`)
  const proxyEnv = { ...alice.env, HTTPS_PROXY: `http://${toForward.endpoint}`, NO_PROXY: '' }
  const proxy = new LongRunning(process.execPath, [MCM, 'proxy'], proxyEnv)
  ends.push(() => proxy.stop('SIGKILL'))
  await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
  const through = async (name: string, path: string, from: string, to: string) => {
    const text = await readFile(path, 'utf8')
    if (!text.includes(from)) throw new Error(`${path} does not name ${from}`)
    const moved = join(scratch, name)
    await writeFile(moved, text.replaceAll(from, to), { mode: 0o600 })
    return moved
  }
  const hubEndpoint = `${node.hostAddress}:${stage.hubPort}`
  const kubeconfigs = {
    direct: await through('direct', node.adminKubeconfig, node.url, `https://${toApi.endpoint}`),
    hub: await through('hub', await alice.kubeconfig('static'), hubEndpoint, toHub.endpoint),
    proxy: await alice.kubeconfig('proxy'),
  }
  for (const relay of [toApi, toHub, toForward]) await relay.setDistance(distance)
  return kubeconfigs
}

async function scratchDirectory(): Promise<string> {
  const inMemory = mkdtemp('/dev/shm/mcm-bench-')
  return inMemory.catch(() => mkdtemp(join(tmpdir(), 'mcm-bench-')))
}
