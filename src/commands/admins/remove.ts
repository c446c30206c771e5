import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { removeAdmin } from '../../device/admins.ts'
import { viewAdmins } from '../../terminal/fleet-views.ts'
import { confirm } from '../../terminal/prompt.ts'

export default class AdminsRemove extends McmCommand {
  static override summary = 'end that a user is an administrator of the fleet'
  static override description =
    'The user stays in the fleet and keeps every grant. Statements signed before stay valid.'
  static override examples = ['<%= config.bin %> admins remove bob --yes']
  static override args = {
    user: Args.string({ required: true, description: 'name of the user' }),
  }
  static override flags = { yes: Flags.boolean({ description: 'do not ask' }) }

  async run() {
    const { args, flags } = await this.parse(AdminsRemove)
    const { screen, stdin } = this.runtime
    const what = `this ends that ${args.user} is an administrator`
    if (!flags.yes) await confirm(screen, stdin, what)
    const removed = await this.fleet((session) => removeAdmin(session, args.user))
    return this.show(removed, viewAdmins)
  }
}
