import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { openChildClusters } from '../device/child-clusters.ts'
import { startChild } from '../device/child-process.ts'
import { reachableClusters, requireReachable } from '../device/cluster-lookup.ts'
import { runAttached } from '../device/run-attached.ts'
import { viewShellHint } from '../terminal/each-views.ts'

export default class Shell extends McmCommand {
  static override summary = 'open your shell with a kubeconfig of its own'
  static override description =
    'As exec, with the shell of SHELL. Without --cluster it has every cluster you may reach and none of them is current. ' +
    "Your prompt can show MCM_CLUSTER and MCM_CLUSTERS: PS1='($MCM_CLUSTERS) $ '."
  static override examples = [
    '<%= config.bin %> shell --cluster idc-k8s',
    '<%= config.bin %> shell',
  ]
  static override enableJsonFlag = false
  static override flags = {
    cluster: Flags.string({
      char: 'c',
      multiple: true,
      description: 'name or id of a cluster; the first is the current one',
    }),
    mode: Flags.option({
      options: ['exec', 'proxy'] as const,
      description: 'the way (default: proxy when mcm proxy runs, else exec)',
    })(),
  }

  async run() {
    const { flags } = await this.parse(Shell)
    const named = flags.cluster
    const opened = await openChildClusters(await this.device(), this.childWorld(), {
      ...(flags.mode ? { mode: flags.mode } : {}),
      pick: (directory, user) =>
        named?.map((name) => requireReachable(directory, user, name)) ??
        reachableClusters(directory, user),
    })
    const isClear = named !== undefined || opened.clusters.length === 1
    this.say(
      viewShellHint(
        opened.clusters.map(({ name }) => name),
        isClear,
      ),
    )
    const attachment = { ...this.runtime, start: startChild }
    const shell = this.runtime.env['SHELL'] || '/bin/sh'
    this.end = await runAttached(opened, [shell], attachment, isClear ? 0 : undefined)
  }
}
