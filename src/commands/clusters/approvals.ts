import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { setApprovals } from '../../device/request-policy.ts'
import { viewApprovals } from '../../terminal/request-views.ts'

export default class ClustersApprovals extends McmCommand {
  static override summary = 'say how many administrators have to approve an access request'
  static override description =
    'Signs it into the directory, and the agent goes by it. A request that waits already needs the higher of then and now.'
  static override examples = ['<%= config.bin %> clusters approvals prod --needed 2']
  static override args = {
    cluster: Args.string({ required: true, description: 'name or id of the cluster' }),
  }
  static override flags = {
    needed: Flags.option({
      options: ['1', '2'] as const,
      required: true,
      description: 'how many different people',
    })(),
  }

  async run() {
    const { args, flags } = await this.parse(ClustersApprovals)
    const approvals = flags.needed === '2' ? 2 : 1
    const policy = await this.fleet((session) => setApprovals(session, args.cluster, approvals))
    return this.show(policy, viewApprovals)
  }
}
