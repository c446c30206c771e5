import { Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import type { FleetSession } from '../../device/fleet-session.ts'
import { listRequests, watchRequests } from '../../device/requests.ts'
import { viewRequestLine, viewRequests } from '../../terminal/request-views.ts'

export default class Requests extends McmCommand {
  static override summary = 'list access requests: yours, for an administrator everybody’s'
  static override description =
    'Those that wait for approval or run at present, as the signed directory has them. With --all also what became of the others.'
  static override examples = [
    '<%= config.bin %> requests',
    '<%= config.bin %> requests --all --json',
    '<%= config.bin %> requests --watch',
  ]
  static override flags = {
    all: Flags.boolean({ description: 'also those that are over' }),
    watch: Flags.boolean({
      description: 'go on, and show each again when it changes; with --json a line each',
      exclusive: ['all'],
    }),
  }

  async run() {
    const { flags } = await this.parse(Requests)
    if (flags.watch) return this.fleet((session) => this.#watch(session))
    const which = flags.all ? 'all' : 'open'
    const requests = await this.fleet(async (session) => listRequests(session, which))
    return this.show(requests, viewRequests)
  }

  async #watch(session: FleetSession): Promise<undefined> {
    for await (const request of watchRequests(session, this.runtime.signal))
      this.announce(request, viewRequestLine)
  }
}
