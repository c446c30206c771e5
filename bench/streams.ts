/**
 * Streams through mcm against the same kubectl straight to the same API server, on a whole real node: exec,
 * cp, logs, port-forward, a keystroke beside a download, and readers that stall. As root on Linux only; elsewhere
 * bulk alone, to an API server without pods.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { wholeNodeIsPossible } from '../test/cluster/node.ts'
import { openBulkStage } from './bulk-stage.ts'
import { floorLines } from './floor.ts'
import { runMs } from './kubectl.ts'
import { cpuMs } from './process-facts.ts'
import { type Line, type Report, runAlone } from './report.ts'
import * as measures from './stream-measures.ts'
import { openStreamStage, type StreamStage, WAYS, type Way } from './stream-stage.ts'
import { median, round } from './timing.ts'

const SIZES = { copyBytes: 500_000_000, logBytes: 100_000_000, bulkBytes: 300_000_000 }
const RUNS = 3
const EXEC_RUNS = 9
const KEYS = 300
const AIM = { bulk: 0.5, p50Ms: 5, p99Ms: 15, hubMs: 2.4, stalled: 0.8 }

export async function streams(report: Report): Promise<void> {
  report.section('streams, kubectl 1.36.3 on a whole real node')
  const possible = await wholeNodeIsPossible()
  if (!possible.possible) {
    report.missing('every stream of a pod', possible.reason)
    return bulkWithoutPods(report)
  }
  const stage = await openStreamStage()
  try {
    await measures.startPods(stage, SIZES)
    await measureAll(report, stage)
  } catch (error) {
    process.stderr.write(await stage.lastWords())
    throw error
  } finally {
    await stage.close()
  }
}

/** Without aims: those are for pods, and a kubelet is slower than this API server. */
async function bulkWithoutPods(report: Report): Promise<void> {
  const stage = await openBulkStage()
  const rateOf = (args: readonly string[]) =>
    interleaved(async (way) => SIZES.bulkBytes / 1000 / (await runMs(stage, way, args)))
  try {
    const source = join(stage.scratch, 'source')
    await writeFile(source, Buffer.alloc(SIZES.bulkBytes))
    const pour = `/streams/pour?bytes=${SIZES.bulkBytes}`
    report.add(rateLine('300 MB from an API server alone', await rateOf(['get', '--raw', pour])))
    const count = ['create', '--raw', '/streams/count?id=bulk', '-f', source]
    report.add(rateLine('300 MB to an API server alone', await rateOf(count)))
  } finally {
    await stage.close()
  }
}

async function measureAll(report: Report, stage: StreamStage): Promise<void> {
  const source = join(stage.scratch, 'source')
  await writeFile(source, Buffer.alloc(SIZES.copyBytes))
  const { copyBytes, logBytes } = SIZES
  report.add(
    timeLine('exec start', await onEvery((way) => measures.execStartMs(stage, way, EXEC_RUNS))),
  )
  const cpu = { from: 0, to: 0 }
  const down = await interleaved((way) =>
    hubCpuOf(stage, way, cpu, 'from', () => measures.copyDown(stage, way, copyBytes)),
  )
  report.add(rateLine('cp of 500 MB from the pod', down, AIM.bulk))
  const up = await interleaved((way) =>
    hubCpuOf(stage, way, cpu, 'to', () => measures.copyUp(stage, way, source, copyBytes)),
  )
  report.add(rateLine('cp of 500 MB to the pod', up, AIM.bulk))
  report.add(hubLine(cpu))
  const logs = await interleaved((way) => measures.followLogs(stage, way, logBytes))
  report.add(rateLine('logs -f of 100 MB', logs, AIM.bulk))
  const forwards = await interleaved((way) => measures.portForwards(stage, way))
  report.add(rateLine('50 port-forwards at once', forwards, AIM.bulk))
  await keystrokeLines(report, stage, KEYS, AIM)
  await floorLines(report, stage, source, { copyBytes, keys: KEYS })
  await stalledLine(report, stage)
}

/** Two lines: a typed character's way there and back beside a download, in the middle and at its worst. */
export async function keystrokeLines(
  report: Report,
  stage: StreamStage,
  keys: number,
  aim: { readonly p50Ms: number; readonly p99Ms: number } | undefined,
): Promise<void> {
  const echoes = await onEvery((way) => measures.keystrokes(stage, way, keys))
  for (const [name, key] of [
    ['p50', 'p50Ms'],
    ['p99', 'p99Ms'],
  ] as const) {
    const worst = Math.max(echoes.hub[key], echoes.proxy[key])
    report.add({
      what: `a keystroke beside a flat-out download, ${name}`,
      ...cells((way) => `${round(echoes[way][key], 1)} ms`),
      ...(aim ? { aim: `≤ ${aim[key]} ms`, isMet: worst <= aim[key] } : {}),
    })
  }
}

/** Without a verdict where the machine never had so little to do that readers could be said to stand. */
async function stalledLine(report: Report, stage: StreamStage): Promise<void> {
  const rates = await onEvery((way) => measures.besideStalledReaders(stage, way, SIZES.logBytes))
  const kept = (way: Way) => rates[way].beside / rates[way].alone
  const standing = (way: Way) => {
    const { standingMs } = rates[way]
    return standingMs === undefined
      ? 'never stood'
      : `stood after ${round(standingMs / 1_000, 0)} s`
  }
  const isJudged = WAYS.every((way) => rates[way].standingMs !== undefined)
  report.add({
    what: 'rate kept beside 100 stalled readers',
    ...cells(
      (way) => `${round(kept(way))}× of ${round(rates[way].alone, 0)} MB/s, ${standing(way)}`,
    ),
    aim: `≥ ${AIM.stalled}×`,
    ...(isJudged ? { isMet: Math.min(kept('hub'), kept('proxy')) >= AIM.stalled } : {}),
  })
}

/** Takes what the hub uses while `work` runs on the way without `mcm proxy`. */
async function hubCpuOf(
  stage: StreamStage,
  way: Way,
  cpu: { from: number; to: number },
  direction: 'from' | 'to',
  work: () => Promise<number>,
): Promise<number> {
  const before = await cpuMs(stage.hubPid)
  const result = await work()
  const used = (await cpuMs(stage.hubPid)) - before
  if (way === 'hub') cpu[direction] = used / (SIZES.copyBytes / 1e6)
  return result
}

function hubLine({ from, to }: { from: number; to: number }): Line {
  return {
    what: 'CPU of the hub during cp from, to the pod',
    hub: `${round(from)}, ${round(to)} ms/MB`,
    aim: `≤ ${AIM.hubMs} ms/MB`,
    isMet: Math.max(from, to) <= AIM.hubMs,
  }
}

export type OnEvery<T> = Readonly<Record<Way, T>>

/** One way after the other. */
export async function onEvery<T>(work: (way: Way) => Promise<T>): Promise<OnEvery<T>> {
  const results: Partial<Record<Way, T>> = {}
  for (const way of WAYS) results[way] = await work(way)
  return results as OnEvery<T>
}

/** The ways in turn, several times, so that what else this machine does falls on all of them. */
export async function interleaved(
  work: (way: Way) => Promise<number>,
  runs = RUNS,
): Promise<OnEvery<number>> {
  const rounds: OnEvery<number>[] = []
  for (let run = 0; run < runs; run++) rounds.push(await onEvery(work))
  const middle = (way: Way) => median(rounds.map((each) => each[way]))
  return { direct: middle('direct'), hub: middle('hub'), proxy: middle('proxy') }
}

/** Milliseconds, with what mcm adds. `aimShare`: at most so many times direct, by `mcm proxy`. */
export function timeLine(what: string, ms: OnEvery<number>, aimShare?: number): Line {
  return {
    what,
    direct: `${round(ms.direct, 0)} ms`,
    hub: `${round(ms.hub, 0)} ms (${round(ms.hub / ms.direct)}×)`,
    proxy: `${round(ms.proxy, 0)} ms (${round(ms.proxy / ms.direct)}×)`,
    ...(aimShare === undefined
      ? {}
      : { aim: `proxy ≤ ${aimShare}×`, isMet: ms.proxy <= aimShare * ms.direct }),
  }
}

/** Megabytes a second. `aimShare`: at least so many times direct, by either way. */
export function rateLine(what: string, rates: OnEvery<number>, aimShare?: number): Line {
  const share = (rate: number) => `${round(rate, 0)} MB/s (${round(rate / rates.direct)}×)`
  return {
    what,
    direct: `${round(rates.direct, 0)} MB/s`,
    hub: share(rates.hub),
    proxy: share(rates.proxy),
    ...(aimShare === undefined
      ? {}
      : {
          aim: `≥ ${aimShare}×`,
          isMet: Math.min(rates.hub, rates.proxy) >= aimShare * rates.direct,
        }),
  }
}

function cells(text: (way: Way) => string): Pick<Line, 'direct' | 'hub' | 'proxy'> {
  return { direct: text('direct'), hub: text('hub'), proxy: text('proxy') }
}

await runAlone(import.meta, streams)
