import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { openChildClusters } from '../device/child-clusters.ts'
import { startChild } from '../device/child-process.ts'
import { requireReachable } from '../device/cluster-lookup.ts'
import { runAttached } from '../device/run-attached.ts'
import { requireChildCommand, splitAtBoundary } from '../terminal/child-command.ts'

export default class Exec extends McmCommand {
  static override summary = 'run any program with a kubeconfig of its own'
  static override description =
    'KUBECONFIG names a file that only you can read, with the clusters given and nothing else; the first is the current context. It goes when the program ends. ' +
    'Through mcm proxy when one runs, else through the hub, which suits kubectl, helm, client-go and kube-rs; Python, JavaScript, Java and fabric8 need mcm proxy. ' +
    'MCM_CLUSTER and MCM_CLUSTERS hold the names. Exit code and signals are those of the program.'
  static override examples = [
    '<%= config.bin %> exec --cluster idc-k8s -- helm list --all-namespaces',
    '<%= config.bin %> exec --cluster ack --cluster idc-k8s -- ./compare.sh',
  ]
  static override usage =
    '<%= command.id %> --cluster CLUSTER [--cluster CLUSTER] [--mode exec|proxy] -- PROGRAM [its words]'
  static override enableJsonFlag = false
  static override flags = {
    cluster: Flags.string({
      char: 'c',
      required: true,
      multiple: true,
      multipleNonGreedy: true,
      description: 'name or id of a cluster; again for more',
    }),
    mode: Flags.option({
      options: ['exec', 'proxy'] as const,
      description: 'the way (default: proxy when mcm proxy runs, else exec)',
    })(),
  }

  async run() {
    const { own, command } = splitAtBoundary(this.argv)
    const { flags } = await this.parse(Exec, own)
    requireChildCommand(command, 'mcm exec --cluster CLUSTER -- PROGRAM…')
    const clusters = await openChildClusters(await this.device(), this.childWorld(), {
      ...(flags.mode ? { mode: flags.mode } : {}),
      pick: (directory, user) =>
        flags.cluster.map((name) => requireReachable(directory, user, name)),
    })
    this.end = await runAttached(clusters, command, { ...this.runtime, start: startChild }, 0)
  }
}
