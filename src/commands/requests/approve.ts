import { Args } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { approveRequest } from '../../device/request-decision.ts'
import { requestArgument } from '../../terminal/flag-values.ts'
import { viewDecided } from '../../terminal/request-views.ts'

export default class RequestsApprove extends McmCommand {
  static override summary = 'approve an access request of somebody else'
  static override description =
    'Writes the binding with your own rights there, so you cannot approve what you could not grant, and signs. Where two approvals are needed yours may be the first or the last; with the last it counts at once.'
  static override examples = ['<%= config.bin %> requests approve 17']
  static override args = {
    request: Args.string({ required: true, description: 'its number, from mcm requests' }),
  }

  async run() {
    const { args } = await this.parse(RequestsApprove)
    const decided = await this.fleet((session) =>
      approveRequest(session, requestArgument(args.request)),
    )
    return this.show(decided, viewDecided)
  }
}
