import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { type ChildClusters, openChildClusters } from '../device/child-clusters.ts'
import { startChild, startUntilExit } from '../device/child-process.ts'
import { selectClusters } from '../device/cluster-selection.ts'
import { type ClusterRun, exitCodeOfRuns, runOnEach } from '../device/each-cluster.ts'
import { EXIT_ALL_FAILED, EXIT_SOME_FAILED, UsageError } from '../errors.ts'
import { printsTable, requireChildCommand, splitAtBoundary } from '../terminal/child-command.ts'
import { openEachScreen } from '../terminal/each-screen.ts'
import { runsDocument, viewRunning } from '../terminal/each-views.ts'
import { durationFlag } from '../terminal/flag-values.ts'
import { openProgress } from '../terminal/progress.ts'

export default class Each extends McmCommand {
  static override summary = 'run a command on many clusters at once'
  static override description =
    'A SELECTOR is a list of names and globs (ack,edge-*), or labels as kubectl selects by them (env=prod,region!=eu). ' +
    "Lines are shown behind their cluster's name; the tables of kubectl get become one. Each run has a kubeconfig of its own with one cluster, and MCM_CLUSTER in its environment. " +
    `Exit code: 0 when all went well, ${EXIT_SOME_FAILED} when some failed, ${EXIT_ALL_FAILED} when all failed, 130 after Ctrl-C, which ends every run.`
  static override examples = [
    '<%= config.bin %> each --all -- kubectl get nodes',
    "<%= config.bin %> each 'env=prod,region!=eu' --json -- kubectl get deployments -o json",
    "<%= config.bin %> each 'edge-*' --parallel 20 --timeout 30s -- helm list",
  ]
  static override usage = '<%= command.id %> SELECTOR... [flags] -- PROGRAM [its words]'
  static override args = {
    selector: Args.string({
      multiple: true,
      ignoreStdin: true,
      description: 'names, globs or labels; several add up',
    }),
  }
  static override flags = {
    all: Flags.boolean({ description: 'every cluster you may reach' }),
    labels: Flags.string({ description: 'a label selector, also of a bare key: gpu' }),
    parallel: Flags.integer({ default: 10, min: 1, max: 200, description: 'how many at a time' }),
    timeout: Flags.string({ description: 'how long each may take: 30s, 5m (default: no limit)' }),
    merge: Flags.boolean({
      allowNo: true,
      description: 'one table of all tables (default: for kubectl get)',
    }),
    mode: Flags.option({
      options: ['exec', 'proxy'] as const,
      description: 'the way (default: proxy when mcm proxy runs, else exec)',
    })(),
  }

  async run() {
    const { own, command } = splitAtBoundary(this.argv)
    const { args, flags } = await this.parse(Each, own)
    const selectors = args.selector ?? []
    requireChildCommand(command, 'mcm each SELECTOR -- PROGRAM…')
    const timeoutMs = flags.timeout && durationFlag('timeout', flags.timeout)
    requireSelection(selectors.length > 0 || flags.labels !== undefined, flags.all === true)
    const opened = await openChildClusters(await this.device(), this.childWorld(), {
      ...(flags.mode ? { mode: flags.mode } : {}),
      pick: (directory, user) =>
        selectClusters(directory, user, {
          all: flags.all === true,
          selectors,
          ...(flags.labels === undefined ? {} : { labels: flags.labels }),
        }),
    })
    try {
      const runs = await this.#runAll(opened, command, {
        ...flags,
        ...(timeoutMs ? { timeoutMs } : {}),
      })
      this.end = { exitCode: exitCodeOfRuns(runs), signal: null }
      return this.jsonEnabled() ? runsDocument(runs, command) : undefined
    } finally {
      opened.remove()
    }
  }

  async #runAll(
    { clusters, environment }: ChildClusters,
    command: readonly string[],
    flags: { parallel: number; merge?: boolean | undefined; timeoutMs?: number },
  ): Promise<ClusterRun[]> {
    const { screen, signal, atExit } = this.runtime
    this.runtime.allowEndMs(10_000)
    const progress = openProgress(screen, { quiet: this.jsonEnabled() })
    const names = clusters.map(({ name }) => name)
    const shown = openEachScreen(screen, progress, names, flags.merge ?? printsTable(command))
    let running: readonly string[] = []
    const targets = clusters.map((cluster) => ({
      name: cluster.name,
      id: cluster.id,
      environment: () => environment([cluster], cluster),
    }))
    const { parallel, timeoutMs } = flags
    const runs = await progress.step(
      () => viewRunning(running, names.length),
      () =>
        runOnEach(targets, {
          start: startUntilExit(startChild, atExit),
          command,
          parallel,
          ...(timeoutMs === undefined ? {} : { timeoutMs }),
          signal,
          lines: this.jsonEnabled() ? {} : shown.lines,
          onRunning: (now) => {
            running = now
          },
        }),
    )
    if (!this.jsonEnabled()) await shown.finish(runs)
    return runs
  }
}

function requireSelection(isSelected: boolean, all: boolean): void {
  if (isSelected !== all) return
  const problem = all ? 'a selection or --all, not both' : 'which clusters?'
  throw new UsageError('MCM_USAGE', problem, {
    hint: 'mcm each SELECTOR -- PROGRAM…, or mcm each --all -- PROGRAM…',
  })
}
