import { McmCommand } from '../command.ts'
import { listGroups } from '../device/people.ts'
import { viewGroups } from '../terminal/access-views.ts'

export default class Groups extends McmCommand {
  static override summary = 'list the groups of the fleet'
  static override description =
    'Who is in each group, and the clusters where it is granted something.'
  static override examples = ['<%= config.bin %> groups', '<%= config.bin %> groups --json']

  async run() {
    await this.parse(Groups)
    return this.show(await this.fleet(async (session) => listGroups(session)), viewGroups)
  }
}
