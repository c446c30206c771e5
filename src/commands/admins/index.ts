import { McmCommand } from '../../command.ts'
import { listAdmins } from '../../device/admins.ts'
import { viewAdmins } from '../../terminal/fleet-views.ts'

export default class Admins extends McmCommand {
  static override summary = 'list the administrators of the fleet'
  static override description =
    'An administrator invites, registers clusters and revokes. It is a device that may, not a name: whoever else uses the name may not.'
  static override examples = ['<%= config.bin %> admins', '<%= config.bin %> admins --json']

  async run() {
    await this.parse(Admins)
    const admins = await this.fleet(async ({ directory }) => listAdmins(directory))
    return this.show(admins, viewAdmins)
  }
}
