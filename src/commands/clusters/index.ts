import { McmCommand } from '../../command.ts'
import { listClusters } from '../../device/clusters.ts'
import { viewClusters } from '../../terminal/cluster-views.ts'

export default class Clusters extends McmCommand {
  static override summary = 'list the clusters you may see'
  static override description =
    'Names and ids come from the signed directory; whether an agent is connected is what the hub says.'
  static override examples = ['<%= config.bin %> clusters', '<%= config.bin %> clusters --json']

  async run() {
    await this.parse(Clusters)
    return this.show(await this.fleet(listClusters), viewClusters)
  }
}
