import { Args } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { addAdmin } from '../../device/admins.ts'
import { viewAdmins } from '../../terminal/fleet-views.ts'

export default class AdminsAdd extends McmCommand {
  static override summary = "make a user's devices administrators of the fleet"
  static override description =
    'Every device the user has now, and none that comes later. Also for a new device of your own.'
  static override examples = ['<%= config.bin %> admins add bob']
  static override args = {
    user: Args.string({ required: true, description: 'name of the user' }),
  }

  async run() {
    const { args } = await this.parse(AdminsAdd)
    const added = await this.fleet((session) => addAdmin(session, args.user))
    return this.show(added, viewAdmins)
  }
}
