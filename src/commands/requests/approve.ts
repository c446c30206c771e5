import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { approveRequest } from '../../device/request-decision.ts'
import { requestArgument } from '../../terminal/flag-values.ts'
import { confirm } from '../../terminal/prompt.ts'
import { approvalText, viewDecided } from '../../terminal/request-views.ts'

export default class RequestsApprove extends McmCommand {
  static override summary = 'approve an access request of somebody else'
  static override description =
    'Shows what it is and asks; then does it with your own rights there, so you cannot approve what you could not grant, and signs. Where two approvals are needed yours may be the first or the last; with the last it counts at once.'
  static override examples = [
    '<%= config.bin %> requests approve 17',
    '<%= config.bin %> requests approve 17 --yes --json',
  ]
  static override args = {
    request: Args.string({ required: true, description: 'its number, from mcm requests' }),
  }
  static override flags = {
    yes: Flags.boolean({ description: 'do not ask' }),
  }

  async run() {
    const { args, flags } = await this.parse(RequestsApprove)
    const { screen, stdin } = this.runtime
    const decided = await this.fleet((session) =>
      approveRequest(session, requestArgument(args.request), async (request) => {
        if (!flags.yes) await confirm(screen, stdin, approvalText(request))
      }),
    )
    return this.show(decided, viewDecided)
  }
}
