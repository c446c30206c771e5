import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { requestAccess } from '../device/requests.ts'
import { durationFlag } from '../terminal/flag-values.ts'
import { viewRequest } from '../terminal/request-views.ts'

export default class Request extends McmCommand {
  static override summary = 'ask for a role in a cluster for some time'
  static override description =
    'Administrators see it with mcm requests and approve it or not. Once approved it counts at once and ends by itself; ' +
    'it lapses when nobody has approved it within a day.'
  static override examples = [
    '<%= config.bin %> request --role ops --cluster prod --for 1h --reason "disk full on node-3"',
    '<%= config.bin %> request --role ns-dev --cluster prod --namespace shop --for 30m --reason hotfix',
  ]
  static override flags = {
    role: Flags.string({ required: true, description: 'preset or name of a ClusterRole' }),
    cluster: Flags.string({ required: true, description: 'name or id of the cluster' }),
    namespace: Flags.string({ description: 'only in this namespace' }),
    for: Flags.string({
      required: true,
      description: 'how long, counted from the approval: 30m, 1h, 12h at most',
    }),
    reason: Flags.string({ required: true, description: 'why, for those who decide' }),
  }

  async run() {
    const { flags } = await this.parse(Request)
    const { role, cluster, namespace, reason } = flags
    const where = namespace === undefined ? {} : { namespace }
    const wish = { role, cluster, ...where, forMs: durationFlag('for', flags.for), reason }
    const request = await this.fleet((session) => requestAccess(session, wish))
    return this.show(request, viewRequest)
  }
}
