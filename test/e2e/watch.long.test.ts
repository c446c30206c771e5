import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiServer, apiServerIsPossible, startApiServer } from '../cluster/api-server.ts'
import { kubectlPath, runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { Stage } from './stage.ts'
import { type Way, Ways } from './ways.ts'

const MINUTES = Number(process.env['MCM_TEST_WATCH_MINUTES'] ?? 35)
const SECONDS = MINUTES * 60
const WAYS: readonly Way[] = ['direct', 'static', 'proxy']
const skip = skipLoudly('a watch of 35 minutes', await apiServerIsPossible('1.36.3'))

interface Arrival {
  readonly type: string
  readonly name: string
  readonly version: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

interface Watched {
  readonly arrivals: readonly Arrival[]
  readonly exitCode: number | null
  readonly stderr: string
  readonly seconds: number
}

describe.skipIf(skip)(`watches of ${MINUTES} minutes`, () => {
  let cluster: ApiServer
  let stage: Stage
  let ways: Ways

  beforeAll(async () => {
    cluster = await startApiServer({ version: '1.36.3' })
    stage = await Stage.open()
    const alice = await stage.found('alice')
    await stage.addCluster(alice, 'idc-k8s', cluster)
    ways = await Ways.open(alice, cluster)
  })
  afterAll(async () => {
    await stage?.close()
    await cluster?.stop()
  })

  const asAdmin = async (args: readonly string[]) => {
    const done = await runKubectl('1.36.3', args, { kubeconfig: cluster.adminKubeconfig })
    if (done.exitCode !== 0) throw new Error(`kubectl ${args.join(' ')}: ${done.stderr}`)
    return done.stdout
  }

  /** The raw watch of a client that reads every byte as it comes. */
  async function watch(way: Way, resourceVersion: string, seconds: number): Promise<Watched> {
    const query = `watch=1&allowWatchBookmarks=true&resourceVersion=${resourceVersion}`
    const path = `/api/v1/namespaces/default/configmaps?${query}&timeoutSeconds=${seconds}`
    const startedAt = Date.now()
    const child = spawn(await kubectlPath('1.36.3'), ['get', '--raw', path], {
      env: { ...process.env, ...ways.env(way) },
    })
    const arrivals: Arrival[] = []
    createInterface(child.stdout).on('line', (line) => {
      const { type, object } = JSON.parse(line)
      const { name = '', resourceVersion: version } = object.metadata
      arrivals.push({ type, name, version, at: Date.now() })
    })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const [exitCode] = await once(child, 'close')
    return { arrivals, exitCode, stderr, seconds: (Date.now() - startedAt) / 1000 }
  }

  /** A client that watches anew by itself, again and again. */
  const waitForDone = (way: Way) => {
    const condition = `--for=jsonpath={.data.done}=yes`
    return ways.start(way, ['wait', 'configmap/goal', condition, `--timeout=${MINUTES + 10}m`])
  }

  test('events come as they happen, bookmarks pass, the end is clean, and a new watch goes on', async () => {
    await asAdmin(['create', 'configmap', 'goal'])
    const version = ['get', 'configmap', 'goal', '-o', 'jsonpath={.metadata.resourceVersion}']
    const start = await asAdmin(version)
    const waiting = await Promise.all(WAYS.map(waitForDone))
    const watches = Promise.all(WAYS.map((way) => watch(way, start, SECONDS)))
    const created = new Map<string, number>()
    const isOver = AbortSignal.timeout(SECONDS * 1000 - 5_000)
    for (let run = 0; !isOver.aborted; run++) {
      await asAdmin(['create', 'configmap', `event-${run}`])
      created.set(`event-${run}`, Date.now())
      await sleep(15_000, undefined, { signal: isOver }).catch(() => {})
    }
    const [direct, ...throughMcm] = await watches
    for (const [index, watched] of [direct!, ...throughMcm].entries()) {
      const added = watched.arrivals.filter(({ type }) => type === 'ADDED')
      const bookmarks = watched.arrivals.filter(({ type }) => type === 'BOOKMARK')
      const late = added.map(({ name, at }) => at - created.get(name)!).sort((a, b) => a - b)
      const way = WAYS[index]!
      console.info(
        `${way}: ${watched.seconds.toFixed(0)} s, ${added.length} events (after the answer of their creation: ` +
          `p50 ${late[late.length >> 1]} ms, max ${late.at(-1)} ms), ${bookmarks.length} bookmarks`,
      )
      expect({ way, exitCode: watched.exitCode, stderr: watched.stderr }).toEqual({
        way,
        exitCode: 0,
        stderr: '',
      })
      expect(added.map(({ name }) => name)).toEqual([...created.keys()])
      expect(added.map(({ version }) => version)).toEqual(
        direct!.arrivals.filter(({ type }) => type === 'ADDED').map(({ version }) => version),
      )
      expect(bookmarks.length).toBeGreaterThanOrEqual(MINUTES - 5)
      expect(late.at(-1)).toBeLessThan(5_000)
      expect(watched.seconds).toBeGreaterThan(SECONDS - 5)
      expect(watched.seconds).toBeLessThan(SECONDS + 30)
    }

    await asAdmin(['create', 'configmap', 'between'])
    for (const [index, { arrivals }] of throughMcm.entries()) {
      const again = await watch(WAYS[index + 1]!, arrivals.at(-1)!.version, 3)
      expect(again).toMatchObject({ exitCode: 0, stderr: '' })
      expect(again.arrivals.map(({ name }) => name)).toContain('between')
    }

    await asAdmin(['patch', 'configmap', 'goal', '-p', '{"data":{"done":"yes"}}'])
    for (const program of waiting) {
      await program.shows(/configmap\/goal condition met/)
      expect(await program.ended).toBe(0)
    }
    const goals = (await cluster.auditEvents()).filter(
      ({ verb, stage: at, requestURI, impersonatedUser }) =>
        verb === 'watch' &&
        at === 'ResponseComplete' &&
        impersonatedUser !== undefined &&
        requestURI.includes('metadata.name%3Dgoal'),
    )
    console.info(`kubectl wait watched ${goals.length} times through mcm`)
    expect(goals.length).toBeGreaterThanOrEqual(MINUTES >= 30 ? 4 : 1)
    expect(goals.filter(({ responseStatus }) => responseStatus?.code !== 200)).toEqual([])
  })
})
