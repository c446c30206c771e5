import { McmCommand } from '../../command.ts'
import { listPeople } from '../../device/people.ts'
import { viewPeople } from '../../terminal/access-views.ts'

export default class Bots extends McmCommand {
  static override summary = 'list the bots of the fleet'
  static override description = 'Programs with an identity of their own; they are in no group.'
  static override examples = ['<%= config.bin %> bots', '<%= config.bin %> bots --json']

  async run() {
    await this.parse(Bots)
    return this.show(await this.fleet(async (session) => listPeople(session, 'bots')), viewPeople)
  }
}
