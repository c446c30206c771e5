import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { openChildClusters } from '../device/child-clusters.ts'
import { startChild } from '../device/child-process.ts'
import { requireReachable } from '../device/cluster-lookup.ts'
import { runAttached } from '../device/run-attached.ts'
import { splitAtBoundary } from '../terminal/child-command.ts'

export default class Kubectl extends McmCommand {
  static override summary = 'run kubectl on a cluster, without touching your kubeconfig'
  static override description =
    'Everything behind --cluster goes to the kubectl in your PATH as it stands, --help too. It gets a kubeconfig of its own with this one cluster: ' +
    'through mcm proxy when one runs, else through the hub. Its exit code is that of this command.'
  static override examples = [
    '<%= config.bin %> kubectl --cluster idc-k8s get pods',
    '<%= config.bin %> kubectl --cluster idc-k8s exec web-0 -- env',
  ]
  static override usage = '<%= command.id %> --cluster CLUSTER [words of kubectl]'
  static override enableJsonFlag = false
  static override flags = {
    cluster: Flags.string({ char: 'c', required: true, description: 'name or id of the cluster' }),
  }

  async run() {
    const { own, command } = splitAtBoundary(this.argv)
    const { flags } = await this.parse(Kubectl, own)
    const clusters = await openChildClusters(await this.device(), this.childWorld(), {
      pick: (directory, user) => [requireReachable(directory, user, flags.cluster)],
    })
    const attachment = { ...this.runtime, start: startChild }
    this.end = await runAttached(clusters, ['kubectl', ...command], attachment, 0)
  }
}
