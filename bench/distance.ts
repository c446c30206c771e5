/**
 * The same streams with the person 50 ms (there and back) away on a line of 200 Mbit/s, against kubectl
 * straight to the API server over that very distance. As root on Linux, with Go for toxiproxy.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { wholeNodeIsPossible } from '../test/cluster/node.ts'
import { distanceIsPossible } from '../test/distance/toxiproxy.ts'
import { type Report, runAlone } from './report.ts'
import * as measures from './stream-measures.ts'
import { openStreamStage, type StreamStage } from './stream-stage.ts'
import { interleaved, keystrokeLines, onEvery, rateLine, timeLine } from './streams.ts'

const DISTANCE = { roundTripMs: 50, megabitsPerSecond: 200 }
const SIZES = { copyBytes: 200_000_000, logBytes: 100_000_000 }
const RUNS = 1
const QUICK_RUNS = 9
const KEYS = 100
const AIM_BULK = 0.9

export async function distance(report: Report): Promise<void> {
  const { roundTripMs, megabitsPerSecond } = DISTANCE
  report.section(`the same at ${roundTripMs} ms on ${megabitsPerSecond} Mbit/s`)
  for (const possible of [await wholeNodeIsPossible(), await distanceIsPossible()])
    if (!possible.possible) return report.missing('everything at a distance', possible.reason)
  const stage = await openStreamStage(DISTANCE)
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

async function measureAll(report: Report, stage: StreamStage): Promise<void> {
  const { copyBytes, logBytes } = SIZES
  const source = join(stage.scratch, 'source')
  await writeFile(source, Buffer.alloc(copyBytes))
  const gets = await onEvery((way) => measures.getPodsMs(stage, way, QUICK_RUNS))
  report.add(timeLine('kubectl get pods', gets, 1))
  const starts = await onEvery((way) => measures.execStartMs(stage, way, QUICK_RUNS))
  report.add(timeLine('exec start', starts))
  const down = await interleaved((way) => measures.copyDown(stage, way, copyBytes), RUNS)
  report.add(rateLine('cp of 200 MB from the pod', down, AIM_BULK))
  const up = await interleaved((way) => measures.copyUp(stage, way, source, copyBytes), RUNS)
  report.add(rateLine('cp of 200 MB to the pod', up, AIM_BULK))
  const logs = await interleaved((way) => measures.followLogs(stage, way, logBytes), RUNS)
  report.add(rateLine('logs -f of 100 MB', logs, AIM_BULK))
  const forwards = await interleaved((way) => measures.portForwards(stage, way), RUNS)
  report.add(rateLine('50 port-forwards at once', forwards, AIM_BULK))
  await keystrokeLines(report, stage, KEYS, undefined)
}

await runAlone(import.meta, distance)
