import { Args } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { denyRequest, exitCodeOfDecision } from '../../device/request-decision.ts'
import { requestArgument } from '../../terminal/flag-values.ts'
import { viewDecided } from '../../terminal/request-views.ts'

export default class RequestsDeny extends McmCommand {
  static override summary = 'deny an access request that waits'
  static override description = 'It stays in the list of mcm requests --all, with your name.'
  static override examples = ['<%= config.bin %> requests deny 17']
  static override args = {
    request: Args.string({ required: true, description: 'its number, from mcm requests' }),
  }

  async run() {
    const { args } = await this.parse(RequestsDeny)
    const decided = await this.fleet((session) =>
      denyRequest(session, requestArgument(args.request)),
    )
    this.end = { exitCode: exitCodeOfDecision(decided), signal: null }
    return this.show(decided, viewDecided)
  }
}
