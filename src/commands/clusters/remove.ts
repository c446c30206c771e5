import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { removeCluster } from '../../device/clusters.ts'
import { viewRemoved } from '../../terminal/cluster-views.ts'
import { confirm } from '../../terminal/prompt.ts'

export default class ClustersRemove extends McmCommand {
  static override summary = 'take a cluster out of the fleet'
  static override description =
    'Nobody reaches it through mcm any more. What mcm put into the cluster stays there; the commands that delete it are shown.'
  static override examples = ['<%= config.bin %> clusters remove old-k8s --yes']
  static override args = {
    cluster: Args.string({ required: true, description: 'name or id of the cluster' }),
  }
  static override flags = {
    yes: Flags.boolean({ description: 'do not ask' }),
    reason: Flags.string({ default: '', description: 'why, for the directory' }),
  }

  async run() {
    const { args, flags } = await this.parse(ClustersRemove)
    const { screen, stdin } = this.runtime
    if (!flags.yes) await confirm(screen, stdin, `this ends everybody's access to ${args.cluster}`)
    const removed = await this.fleet((session) =>
      removeCluster(session, args.cluster, flags.reason),
    )
    return this.show(removed, viewRemoved)
  }
}
