/** Memory of a real hub process per idle tunnel, at a thousand of them. */
import { setTimeout as pause } from 'node:timers/promises'
import { type BenchCluster, BenchHub, type Memory } from './hub-process.ts'
import { hasProcessFacts } from './process-facts.ts'
import { type Report, runAlone } from './report.ts'
import { median, round } from './timing.ts'

const TUNNELS = 1_000
const AT_ONCE = 16
const SAMPLES = 5
const SAMPLE_MS = 1_000
/** Several rounds of pings, so that what opening took has been given back. */
const SETTLE_MS = 10_000
const AIM_KB = 64

export async function idleTunnels(report: Report): Promise<void> {
  report.section(`a hub with ${TUNNELS} idle tunnels, each of a cluster of its own`)
  if (!hasProcessFacts()) return report.missing('memory of the hub', 'there is no /proc')
  const hub = await BenchHub.start()
  try {
    const clusters = await hub.addClusters(TUNNELS)
    // A hub that has just read its directory, not one that has just checked every statement of it.
    await hub.restart()
    const before = await steady(hub)
    await openAll(hub, clusters)
    await pause(SETTLE_MS)
    const after = await steady(hub)
    const perTunnel = (key: keyof Memory) => (after[key] - before[key]) / TUNNELS / 1024
    const resident = perTunnel('residentBytes')
    report.add({
      what: 'resident memory per tunnel, after garbage collection',
      hub: `${round(resident, 1)} KB`,
      aim: `≤ ${AIM_KB} KB`,
      isMet: resident <= AIM_KB,
    })
    report.add({ what: '  of it JavaScript objects', hub: `${round(perTunnel('heapUsed'), 1)} KB` })
  } finally {
    await hub.stop()
  }
}

async function openAll(hub: BenchHub, clusters: readonly BenchCluster[]): Promise<void> {
  const left = [...clusters]
  const lane = async () => {
    for (let cluster = left.pop(); cluster; cluster = left.pop()) await hub.tunnel(cluster)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  await hub.hasLogged('tunnel_opened', clusters.length)
}

async function steady(hub: BenchHub): Promise<Memory> {
  const samples: Memory[] = []
  for (let index = 0; index < SAMPLES; index++) {
    await pause(SAMPLE_MS)
    samples.push(await hub.memory())
  }
  const middle = (key: keyof Memory) => median(samples.map((sample) => sample[key]))
  return { residentBytes: middle('residentBytes'), heapUsed: middle('heapUsed') }
}

await runAlone(import.meta, idleTunnels)
