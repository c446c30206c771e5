import { Args } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { endRequest, exitCodeOfDecision } from '../../device/request-decision.ts'
import { requestArgument } from '../../terminal/flag-values.ts'
import { viewDecided } from '../../terminal/request-views.ts'

export default class RequestsEnd extends McmCommand {
  static override summary =
    'take back a request of yours or the access it gave; for an administrator anybody’s'
  static override description =
    'What it gave ends at once in its cluster, and whatever runs with it is cut.'
  static override examples = ['<%= config.bin %> requests end 17']
  static override args = {
    request: Args.string({ required: true, description: 'its number, from mcm requests' }),
  }

  async run() {
    const { args } = await this.parse(RequestsEnd)
    const decided = await this.fleet((session) =>
      endRequest(session, requestArgument(args.request)),
    )
    this.end = { exitCode: exitCodeOfDecision(decided), signal: null }
    return this.show(decided, viewDecided)
  }
}
