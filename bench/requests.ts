/** Requests as kubectl makes them, against the same ones straight to the same API server. */
import { readFile } from 'node:fs/promises'
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici'
import { parse } from 'yaml'
import { startApiServer } from '../test/cluster/api-server.ts'
import type { LongRunning } from '../test/e2e/program.ts'
import { Stage } from '../test/e2e/stage.ts'
import { cpuMs, hasProcessFacts } from './process-facts.ts'
import { type Report, runAlone } from './report.ts'
import { median, round, type Timing, time } from './timing.ts'

const SMALL = '/api/v1/namespaces/default'
const LARGE = '/api/v1/namespaces/bulk/configmaps'
const OBJECTS = 56
const OBJECT_BYTES = 900_000
const RUNS = 5
const AT_ONCE = 16
const ROUNDS = 10
const WARM_UP_ROUNDS = 3
const REQUESTS_A_ROUND = 300
const CPU_REQUESTS = 5_000
const AIM = { addedMs: 1, bulkShare: 0.4 }

/** One way to an API server. */
export interface Path {
  readonly origin: string
  readonly dispatcher: Dispatcher
}

interface Kubeconfig {
  readonly clusters: readonly { readonly cluster: Readonly<Record<string, string>> }[]
  readonly users: readonly { readonly user: Readonly<Record<string, string>> }[]
}

/** The way that a kubeconfig with a certificate in it describes. */
export async function pathOf(kubeconfigPath: string, connections = AT_ONCE): Promise<Path> {
  const config = parse(await readFile(kubeconfigPath, 'utf8')) as Kubeconfig
  const cluster = config.clusters[0]!.cluster
  const user = config.users[0]!.user
  const pem = (text: string | undefined) => Buffer.from(text ?? '', 'base64').toString()
  const tls = {
    ca: pem(cluster['certificate-authority-data']),
    cert: pem(user['client-certificate-data']),
    key: pem(user['client-key-data']),
  }
  const uri = cluster['proxy-url']
  const dispatcher = uri
    ? new ProxyAgent({ uri, proxyTls: tls, requestTls: tls, connections })
    : new Agent({ connect: tls, connections })
  return { origin: cluster['server']!, dispatcher }
}

/** @returns the bytes of the answer */
export async function get({ origin, dispatcher }: Path, path: string): Promise<number> {
  const { statusCode, body } = await request(origin + path, { dispatcher })
  let bytes = 0
  for await (const chunk of body) bytes += (chunk as Buffer).length
  if (statusCode !== 200) throw new Error(`${path} answered ${statusCode}`)
  return bytes
}

export async function requests(report: Report): Promise<void> {
  const apiServer = await startApiServer({ version: '1.36.3' })
  // By name: a server name that is an address is nothing a TLS client should send.
  const stage = await Stage.open('localhost')
  try {
    const alice = await stage.found('alice')
    await stage.addCluster(alice, 'bench', apiServer)
    const local = alice.start(['proxy'])
    await local.shows(/https:\/\/127\.0\.0\.1:\d+/)
    const direct = await pathOf(apiServer.adminKubeconfig)
    const hub = await pathOf(await alice.kubeconfig('static'))
    const proxy = await pathOf(await alice.kubeconfig('proxy'))
    await fillBulk(direct)
    await oneAtATime(report, direct, hub, proxy)
    await manyAtOnce(report, direct, hub, proxy)
    const [agent] = stage.agents.values()
    await cpuOfParts(report, hub, proxy, { hub: stage.hub, agent: agent!, proxy: local })
    await bulk(report, direct, hub, proxy)
  } finally {
    await stage.close()
    await apiServer.stop()
  }
}

async function oneAtATime(report: Report, ...paths: readonly Path[]): Promise<void> {
  report.section('small requests (GET one namespace), one at a time, the ways by turns')
  const [direct, hub, proxy] = await byTurns(paths)
  for (const [percentile, key] of [
    ['p50', 'p50Ms'],
    ['p99', 'p99Ms'],
  ] as const) {
    const base = direct![key]
    const cell = (timing: Timing) => `+${round(timing[key] - base)} ms`
    report.add({
      what: `added ${percentile}`,
      direct: `${round(base)} ms`,
      hub: cell(hub!),
      proxy: cell(proxy!),
      ...(percentile === 'p50'
        ? { aim: `≤ ${AIM.addedMs} ms`, isMet: hub![key] - base <= AIM.addedMs }
        : {}),
    })
  }
}

/** Each way's timing as the median of many short runs in turn, so that a busy minute of the machine meets all of them. */
async function byTurns(paths: readonly Path[]): Promise<readonly Timing[]> {
  const rounds: (readonly Timing[])[] = []
  for (let round = 0; round < ROUNDS + WARM_UP_ROUNDS; round++)
    rounds.push(await inTurn(paths, (path) => time(() => get(path, SMALL), REQUESTS_A_ROUND)))
  const measured = rounds.slice(WARM_UP_ROUNDS)
  return paths.map((_path, index) => {
    const of = (key: keyof Timing) => median(measured.map((round) => round[index]![key]))
    return { p50Ms: of('p50Ms'), p99Ms: of('p99Ms'), perSecond: of('perSecond') }
  })
}

async function manyAtOnce(report: Report, ...paths: readonly Path[]): Promise<void> {
  const timings = await inTurn(paths, (path) => time(() => get(path, SMALL), 3_000, AT_ONCE))
  const [direct, hub, proxy] = timings.map(({ perSecond }) => perSecond)
  report.add({
    what: `requests a second, ${AT_ONCE} at once`,
    direct: round(direct!, 0),
    hub: share(hub!, direct!, ''),
    proxy: share(proxy!, direct!, ''),
  })
}

/** What each of our processes works for a request: steadier than any latency on a busy machine. */
async function cpuOfParts(
  report: Report,
  hub: Path,
  proxy: Path,
  parts: Readonly<Record<string, LongRunning>>,
): Promise<void> {
  if (!hasProcessFacts()) return report.missing('CPU a request', 'there is no /proc')
  const used = () => Promise.all(Object.values(parts).map(({ child }) => cpuMs(child.pid!)))
  const cell = async (path: Path) => {
    const before = await used()
    await time(() => get(path, SMALL), CPU_REQUESTS, AT_ONCE)
    const after = await used()
    // The timing warms up with a tenth more.
    const each = after.map((ms, index) => (ms - before[index]!) / (CPU_REQUESTS * 1.1))
    return Object.keys(parts).flatMap((name, index) =>
      each[index]! < 0.01 ? [] : [`${name} ${round(each[index]!)} ms`],
    )
  }
  report.add({
    what: 'CPU a request',
    hub: (await cell(hub)).join(', '),
    proxy: (await cell(proxy)).join(', '),
  })
}

async function bulk(report: Report, ...paths: readonly Path[]): Promise<void> {
  const [direct, hub, proxy] = await inTurn(paths, bulkRate)
  report.add({
    what: `LIST of ${Math.round((OBJECTS * OBJECT_BYTES) / 1e6)} MB, median of ${RUNS}`,
    direct: `${round(direct!, 0)} MB/s`,
    hub: share(hub!, direct!, ' MB/s'),
    proxy: share(proxy!, direct!, ' MB/s'),
    aim: `≥ ${AIM.bulkShare}×`,
    isMet: Math.min(hub!, proxy!) >= AIM.bulkShare * direct!,
  })
}

async function bulkRate(path: Path): Promise<number> {
  const rates: number[] = []
  for (let run = 0; run < RUNS; run++) {
    const started = performance.now()
    const bytes = await get(path, LARGE)
    rates.push(bytes / 1e6 / ((performance.now() - started) / 1000))
  }
  return median(rates)
}

async function inTurn<T>(
  paths: readonly Path[],
  work: (path: Path) => Promise<T>,
): Promise<readonly T[]> {
  const results: T[] = []
  for (const path of paths) results.push(await work(path))
  return results
}

function share(value: number, base: number, unit: string): string {
  return `${round(value, 0)}${unit} (${round(value / base)}×)`
}

async function fillBulk(direct: Path): Promise<void> {
  const post = async (path: string, object: unknown) => {
    const { body } = await request(direct.origin + path, {
      dispatcher: direct.dispatcher,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(object),
    })
    await body.dump()
  }
  await post('/api/v1/namespaces', { metadata: { name: 'bulk' } })
  const value = 'x'.repeat(OBJECT_BYTES)
  for (let index = 0; index < OBJECTS; index++)
    await post(LARGE, { metadata: { name: `c${index}` }, data: { value } })
}

await runAlone(import.meta, requests)
