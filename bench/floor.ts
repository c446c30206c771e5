/**
 * What Node needs at the least: three bare relays in place of `mcm proxy`, hub and agent, TLS between them, no HTTP/2, no
 * inner layer, nobody judged. What they lose against a straight connection on the same two cores nothing of ours could win.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LongRunning } from '../test/e2e/program.ts'
import { cpuMs } from './process-facts.ts'
import type { Report } from './report.ts'
import * as measures from './stream-measures.ts'
import type { StreamStage } from './stream-stage.ts'
import { median, round } from './timing.ts'

const BARE_RELAY = join(import.meta.dirname, 'fixtures', 'bare-relay.mjs')
const RUNS = 3
const FLOOR = 'floor (three bare relays of Node)'

export interface FloorSizes {
  readonly copyBytes: number
  readonly keys: number
}

/** Lines for `cp` both ways and for a keystroke. `source`: a file of `copyBytes`. */
export async function floorLines(
  report: Report,
  stage: StreamStage,
  source: string,
  { copyBytes, keys }: FloorSizes,
): Promise<void> {
  const far = await startRelay('far', `${stage.node.host}:${stage.node.port}`)
  const middle = await startRelay('middle', far.address)
  const near = await startRelay('near', middle.address)
  try {
    const bare = await throughRelays(stage, near.address)
    const [down, up, cpu]: [number[], number[], number[]] = [[], [], []]
    for (let run = 0; run < RUNS; run++) {
      const before = await cpuMs(middle.pid)
      down.push(await measures.copyDown(bare, 'direct', copyBytes))
      cpu.push(((await cpuMs(middle.pid)) - before) / (copyBytes / 1e6))
      up.push(await measures.copyUp(bare, 'direct', source, copyBytes))
    }
    const { p50Ms, p99Ms } = await measures.keystrokes(bare, 'direct', keys)
    const rates = `${round(median(down), 0)}, ${round(median(up), 0)} MB/s`
    const echo = `${round(p50Ms, 1)}, ${round(p99Ms, 1)} ms`
    report.add({ what: `${FLOOR}: cp from, to the pod`, proxy: rates })
    report.add({ what: `${FLOOR}: CPU of the middle one`, hub: `${round(median(cpu))} ms/MB` })
    report.add({ what: `${FLOOR}: a keystroke beside a download, p50, p99`, proxy: echo })
  } finally {
    for (const { program } of [near, middle, far]) await program.stop('SIGKILL')
  }
}

async function startRelay(role: 'near' | 'middle' | 'far', target: string) {
  const program = new LongRunning(process.execPath, [BARE_RELAY, role, target], {})
  const port = (await program.shows(/^listening on (\d+)$/m))[1]!
  return { program, address: `127.0.0.1:${port}`, pid: program.child.pid! }
}

/** The same stage, its straight way through the relays. */
async function throughRelays(stage: StreamStage, address: string): Promise<StreamStage> {
  const text = await readFile(stage.kubeconfigs.direct, 'utf8')
  const direct = join(stage.scratch, 'floor')
  await writeFile(direct, text.replaceAll(stage.node.url, `https://${address}`), { mode: 0o600 })
  return { ...stage, kubeconfigs: { ...stage.kubeconfigs, direct } }
}
