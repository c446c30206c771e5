/** How long the programs take that kubectl and people wait for, against Node doing nothing. */
import { spawnSync } from 'node:child_process'
import { startApiServer } from '../test/cluster/api-server.ts'
import { MCM } from '../test/e2e/program.ts'
import { Stage } from '../test/e2e/stage.ts'
import { type Report, runAlone } from './report.ts'
import { median, round } from './timing.ts'

const RUNS = 15
const AIM_MS = 80

export async function startUp(report: Report): Promise<void> {
  const apiServer = await startApiServer({ version: '1.36.3' })
  const stage = await Stage.open('localhost')
  try {
    const alice = await stage.found('alice')
    await stage.addCluster(alice, 'bench', apiServer)
    await alice.kubeconfig('exec')
    const listed = JSON.parse(await alice.must(['clusters', '--json'])) as { id: string }[]
    report.section(`cold start, median of ${RUNS}`)
    const node = coldStartMs(['-e', '0'])
    const line = (name: string, ms: number) =>
      `${name}: ${round(ms, 0)} ms, ${round(ms / node)}× node -e 0 (${round(node, 0)} ms)`
    report.add({ what: line('mcm --version', coldStartMs([MCM, '--version'])) })
    const credential = coldStartMs([MCM, 'credential', '--cluster', listed[0]!.id], alice.env)
    const isMet = credential <= AIM_MS
    report.add({ what: line('mcm credential', credential), aim: `≤ ${AIM_MS} ms`, isMet })
  } finally {
    await stage.close()
    await apiServer.stop()
  }
}

function coldStartMs(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): number {
  const durations = Array.from({ length: RUNS }, () => {
    const started = performance.now()
    const { status, stderr } = spawnSync(process.execPath, args, {
      env: { ...process.env, ...env },
    })
    if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr.toString()}`)
    return performance.now() - started
  })
  return median(durations)
}

await runAlone(import.meta, startUp)
