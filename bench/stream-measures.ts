/** What people do with streams, timed on one way. */
import type { ChildProcess } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { Agent, get as httpGet } from 'node:http'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { request } from 'undici'
import { end, runMs, startKubectl, untilPrintedMs, wordsOf } from './kubectl.ts'
import { untilQuiet } from './quiet.ts'
import { get, type Path, pathOf } from './requests.ts'
import type { StreamStage, Way } from './stream-stage.ts'
import { median, percentile } from './timing.ts'

export const POD = 'bench'
const LOGGER = 'logger'
const HTTP_PORT = 8080
const FORWARDED_BYTES = 2_000_000
const FORWARDS = 50
const LOG_LINE = 'x'.repeat(999)
const LOG_PATH = `/api/v1/namespaces/default/pods/${LOGGER}/log`
const STALLED = 100
const DOWNLOAD_SETTLE_MS = 2_000
const STANDING_MS = 30_000
const KEY_PAUSE_MS = 10

export interface Sizes {
  readonly copyBytes: number
  readonly logBytes: number
}

/** Pods with a file to copy, a web server, and a long log. */
export async function startPods(stage: StreamStage, { copyBytes, logBytes }: Sizes): Promise<void> {
  const files = `head -c ${copyBytes} /dev/zero > /tmp/big; head -c ${FORWARDED_BYTES} /dev/zero > /tmp/two`
  const serve = `httpd -p ${HTTP_PORT} -h /tmp`
  const script = `${files}; ${serve}; touch /tmp/ready; exec sleep 1000000`
  await stage.node.runShellPod({ name: POD, command: ['sh', '-c', script] })
  const lines = `yes ${LOG_LINE} | head -c ${logBytes + LOG_LINE.length}; exec sleep 1000000`
  await stage.node.runShellPod({ name: LOGGER, command: ['sh', '-c', lines] })
  await runMs(stage, 'direct', exec('sh', '-c', 'until [ -f /tmp/ready ]; do sleep 0.1; done'))
  await untilPrintedMs(stage, 'direct', ['logs', '-f', LOGGER], logBytes)
}

const exec = (...command: readonly string[]) => ['exec', POD, '--', ...command]

/** Milliseconds of a whole `kubectl exec … true`. */
export async function execStartMs(stage: StreamStage, way: Way, runs: number): Promise<number> {
  return medianOf(runs, () => runMs(stage, way, exec('true')))
}

/** Milliseconds of a whole `kubectl get pods`. */
export async function getPodsMs(stage: StreamStage, way: Way, runs: number): Promise<number> {
  return medianOf(runs, () => runMs(stage, way, ['get', 'pods']))
}

/** Megabytes a second of `kubectl cp` out of the pod. */
export async function copyDown(stage: StreamStage, way: Way, bytes: number): Promise<number> {
  const target = join(stage.scratch, 'down')
  const ms = await runMs(stage, way, ['cp', `default/${POD}:tmp/big`, target])
  await rm(target)
  return rate(bytes, ms)
}

/** Megabytes a second of `kubectl cp` into the pod. `source`: a file of so many bytes. */
export async function copyUp(
  stage: StreamStage,
  way: Way,
  source: string,
  bytes: number,
): Promise<number> {
  const ms = await runMs(stage, way, ['cp', source, `default/${POD}:tmp/up`])
  await runMs(stage, 'direct', exec('rm', '/tmp/up'))
  return rate(bytes, ms)
}

/** Megabytes a second of `kubectl logs -f`. */
export async function followLogs(stage: StreamStage, way: Way, bytes: number): Promise<number> {
  return rate(bytes, await untilPrintedMs(stage, way, ['logs', '-f', LOGGER], bytes))
}

/** Megabytes a second of fifty connections at once through one `kubectl port-forward`. */
export async function portForwards(stage: StreamStage, way: Way): Promise<number> {
  const args = ['port-forward', `pod/${POD}`, `:${HTTP_PORT}`]
  const child = await startKubectl(stage, way, args, ['ignore', 'pipe'])
  try {
    const port = await forwardedPort(child)
    const agent = new Agent({ keepAlive: false, maxSockets: FORWARDS })
    await fetchThrough(agent, port)
    const started = performance.now()
    await Promise.all(Array.from({ length: FORWARDS }, () => fetchThrough(agent, port)))
    return rate(FORWARDS * FORWARDED_BYTES, performance.now() - started)
  } finally {
    await end(child)
  }
}

function forwardedPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      const port = /127\.0\.0\.1:(\d+)/.exec(text)?.[1]
      if (port) resolve(Number(port))
    })
    child.once('close', () => reject(new Error(`port-forward ended: ${wordsOf(child)}`)))
  })
}

function fetchThrough(agent: Agent, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = httpGet({ host: '127.0.0.1', port, path: '/two', agent }, (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      response.once('end', () => {
        if (bytes === FORWARDED_BYTES) resolve()
        else reject(new Error(`a forwarded answer has ${bytes} bytes`))
      })
      response.once('error', reject)
    })
    asked.once('error', reject)
  })
}

export interface Echo {
  readonly p50Ms: number
  readonly p99Ms: number
}

/** How long a typed character takes to come back, beside a download that takes all it can get. */
export async function keystrokes(stage: StreamStage, way: Way, count: number): Promise<Echo> {
  const download = await startKubectl(
    stage,
    way,
    exec('sh', '-c', 'while :; do cat /tmp/big; done'),
  )
  const typing = ['exec', '-i', POD, '--', 'cat']
  const shell = await startKubectl(stage, way, typing, ['pipe', 'pipe'])
  try {
    await echoMs(shell)
    await pause(DOWNLOAD_SETTLE_MS)
    const durations: number[] = []
    for (let key = 0; key < count; key++) {
      durations.push(await echoMs(shell))
      await pause(KEY_PAUSE_MS)
    }
    if (download.exitCode !== null) throw new Error(`the download ended: ${wordsOf(download)}`)
    return { p50Ms: percentile(durations, 0.5), p99Ms: percentile(durations, 0.99) }
  } finally {
    await Promise.all([end(shell), end(download)])
  }
}

function echoMs(shell: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const onEnd = () => reject(new Error(`the shell ended: ${wordsOf(shell)}`))
    const started = performance.now()
    shell.stdout!.once('data', () => {
      shell.off('close', onEnd)
      resolve(performance.now() - started)
    })
    shell.once('close', onEnd)
    shell.stdin!.write('x')
  })
}

export interface BesideStalled {
  /** Megabytes a second before and after, and while a hundred others read nothing. */
  readonly alone: number
  readonly beside: number
  /** Until everything between them and the log had stopped; undefined where that did not come. */
  readonly standingMs: number | undefined
}

/**
 * What a hundred readers that do not read leave to somebody who does. Not before they stand: each has buffers on its way,
 * those of kernels above all, and until these are full it is one of a hundred and one readers of as many logs.
 */
export async function besideStalledReaders(
  stage: StreamStage,
  way: Way,
  bytes: number,
): Promise<BesideStalled> {
  const path = await pathOf(stage.kubeconfigs[way], STALLED + 2)
  const logRate = async () => {
    const started = performance.now()
    await get(path, LOG_PATH)
    return rate(bytes, performance.now() - started)
  }
  const logRates = async () => [await logRate(), await logRate(), await logRate()]
  const before = await logRates()
  const stop = await stallReaders(path)
  const standingMs = await untilQuiet(STANDING_MS)
  const beside = median(await logRates())
  stop()
  await untilQuiet(STANDING_MS)
  const alone = median([...before, ...(await logRates())])
  await path.dispatcher.destroy()
  return { alone, beside, standingMs }
}

async function stallReaders({ origin, dispatcher }: Path): Promise<() => void> {
  const stalled = Array.from({ length: STALLED }, async () => {
    const { body } = await request(origin + LOG_PATH, { dispatcher })
    // Whoever stalls for long may be ended; that is the hub's right.
    body.on('error', () => {})
    return body
  })
  const bodies = await Promise.all(stalled)
  return () => {
    for (const body of bodies) body.destroy()
  }
}

async function medianOf(runs: number, work: () => Promise<number>): Promise<number> {
  await work()
  const results: number[] = []
  for (let run = 0; run < runs; run++) results.push(await work())
  return median(results)
}

function rate(bytes: number, ms: number): number {
  return bytes / 1e6 / (ms / 1_000)
}
