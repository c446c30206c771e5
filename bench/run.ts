/**
 * The numbers we promise, as ratios against the same thing done straight to the same API server, in one run.
 * `npm run bench`; needs the real kube-apiserver of test/cluster.
 */

import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici'
import { parse } from 'yaml'
import { startApiServer } from '../test/cluster/api-server.ts'
import { MCM } from '../test/e2e/program.ts'
import { Stage } from '../test/e2e/stage.ts'
import { median, round, time } from './timing.ts'

const SMALL = '/api/v1/namespaces/default'
const LARGE = '/api/v1/namespaces/bulk/configmaps'
const OBJECTS = 56
const OBJECT_BYTES = 900_000
const RUNS = 5

interface Path {
  readonly name: string
  readonly origin: string
  readonly dispatcher: Dispatcher
}

interface Kubeconfig {
  readonly clusters: readonly { readonly cluster: Readonly<Record<string, string>> }[]
  readonly users: readonly { readonly user: Readonly<Record<string, string>> }[]
}

async function pathOf(name: string, kubeconfigPath: string): Promise<Path> {
  const config = parse(await readFile(kubeconfigPath, 'utf8')) as Kubeconfig
  const cluster = config.clusters[0]!.cluster
  const user = config.users[0]!.user
  const pem = (text: string | undefined) => Buffer.from(text ?? '', 'base64').toString()
  const tls = {
    ca: pem(cluster['certificate-authority-data']),
    cert: pem(user['client-certificate-data']),
    key: pem(user['client-key-data']),
  }
  const origin = cluster['server']!
  const proxyUrl = cluster['proxy-url']
  const dispatcher = proxyUrl
    ? new ProxyAgent({ uri: proxyUrl, proxyTls: tls, requestTls: tls, connections: 16 })
    : new Agent({ connect: tls, connections: 16 })
  return { name, origin, dispatcher }
}

async function get({ origin, dispatcher }: Path, path: string): Promise<number> {
  const { statusCode, body } = await request(origin + path, { dispatcher })
  let bytes = 0
  for await (const chunk of body) bytes += (chunk as Buffer).length
  if (statusCode !== 200) throw new Error(`${path} answered ${statusCode}`)
  return bytes
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

async function bulkRate(path: Path): Promise<number> {
  const rates: number[] = []
  for (let run = 0; run < RUNS; run++) {
    const started = performance.now()
    const bytes = await get(path, LARGE)
    rates.push(bytes / 1e6 / ((performance.now() - started) / 1000))
  }
  return median(rates)
}

function coldStartMs(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): number {
  const durations = Array.from({ length: 15 }, () => {
    const started = performance.now()
    const { status, stderr } = spawnSync(process.execPath, args, {
      env: { ...process.env, ...env },
    })
    if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr.toString()}`)
    return performance.now() - started
  })
  return median(durations)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

const apiServer = await startApiServer({ version: '1.36.3' })
const stage = await Stage.open()
try {
  const alice = await stage.found('alice')
  await stage.addCluster(alice, 'bench', apiServer)
  const proxy = alice.start(['proxy'])
  await proxy.shows(/https:\/\/127\.0\.0\.1:\d+/)
  const direct = await pathOf('direct', apiServer.adminKubeconfig)
  const paths = [
    direct,
    await pathOf('through the hub', await alice.kubeconfig('static')),
    await pathOf('through mcm proxy', await alice.kubeconfig('proxy')),
  ]
  await fillBulk(direct)

  say('small requests (GET one namespace), one at a time')
  let base = { p50Ms: 0, p99Ms: 0, perSecond: 0 }
  for (const path of paths) {
    const timing = await time(() => get(path, SMALL), 1_000)
    if (path === direct) base = timing
    say(
      `  ${path.name.padEnd(18)} p50 ${round(timing.p50Ms)} ms  p99 ${round(timing.p99Ms)} ms  added p50 ${round(timing.p50Ms - base.p50Ms)} ms  added p99 ${round(timing.p99Ms - base.p99Ms)} ms`,
    )
  }
  say('small requests, 16 at once')
  for (const path of paths) {
    const timing = await time(() => get(path, SMALL), 3_000, 16)
    if (path === direct) base = timing
    say(
      `  ${path.name.padEnd(18)} ${round(timing.perSecond, 0)} requests/s  ${round(timing.perSecond / base.perSecond)}× direct`,
    )
  }
  say(`bulk (LIST of ${Math.round((OBJECTS * OBJECT_BYTES) / 1e6)} MB), median of ${RUNS}`)
  let directRate = 0
  for (const path of paths) {
    const rate = await bulkRate(path)
    if (path === direct) directRate = rate
    say(`  ${path.name.padEnd(18)} ${round(rate, 0)} MB/s  ${round(rate / directRate)}× direct`)
  }
  say('cold start, median of 15')
  const node = coldStartMs(['-e', '0'])
  say(`  node -e 0          ${round(node, 0)} ms`)
  const version = coldStartMs([MCM, '--version'])
  say(`  mcm --version      ${round(version, 0)} ms  ${round(version / node)}× node`)
  const [id] = (JSON.parse(await alice.must(['clusters', '--json'])) as { id: string }[]).map(
    (cluster) => cluster.id,
  )
  const credential = coldStartMs([MCM, 'credential', '--cluster', id!], alice.env)
  say(`  mcm credential     ${round(credential, 0)} ms  ${round(credential / node)}× node`)
  await proxy.stop()
} finally {
  await stage.close()
  await apiServer.stop()
}
process.exit(0)
