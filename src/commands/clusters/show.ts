import { Args } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { showCluster } from '../../device/clusters.ts'
import { viewCluster } from '../../terminal/cluster-views.ts'

export default class ClustersShow extends McmCommand {
  static override summary = 'show one cluster: agents, members, certificates'
  static override description =
    'Agents and their versions are what the hub says; everything else stands in the signed directory.'
  static override examples = ['<%= config.bin %> clusters show idc-k8s']
  static override args = {
    cluster: Args.string({ required: true, description: 'name or id of the cluster' }),
  }

  async run() {
    const { args } = await this.parse(ClustersShow)
    const cluster = await this.fleet((session) => showCluster(session, args.cluster))
    return this.show(cluster, viewCluster)
  }
}
