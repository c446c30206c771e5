import { McmCommand } from '../../command.ts'
import { listPeople } from '../../device/people.ts'
import { viewPeople } from '../../terminal/access-views.ts'

export default class Users extends McmCommand {
  static override summary = 'list the people of the fleet'
  static override description =
    'As the signed directory says it: administrators see everybody, others themselves.'
  static override examples = ['<%= config.bin %> users', '<%= config.bin %> users --json']

  async run() {
    await this.parse(Users)
    return this.show(await this.fleet(async (session) => listPeople(session, 'people')), viewPeople)
  }
}
