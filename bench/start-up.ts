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
    report.section(`cold start, median of ${RUNS}, against node -e 0`)
    const node = coldStartMs(['-e', '0'])
    const direct = `${round(node, 0)} ms`
    const version = coldStartMs([MCM, '--version'])
    report.add({ what: 'mcm --version', direct, hub: cell(version, node) })
    const credential = coldStartMs([MCM, 'credential', '--cluster', listed[0]!.id], alice.env)
    report.add({
      what: 'mcm credential',
      direct,
      hub: cell(credential, node),
      aim: `≤ ${AIM_MS} ms`,
      isMet: credential <= AIM_MS,
    })
  } finally {
    await stage.close()
    await apiServer.stop()
  }
}

function cell(ms: number, node: number): string {
  return `${round(ms, 0)} ms (${round(ms / node)}×)`
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
