import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { setGroups } from '../../device/people.ts'
import { viewGroupsSet } from '../../terminal/access-views.ts'

export default class UsersGroups extends McmCommand {
  static override summary = 'put a user into groups, and out of all others'
  static override description =
    'A group that is left is left at once, everywhere. A new one counts from the next certificate of a device on: within hours by itself, at once after mcm login there.'
  static override examples = [
    '<%= config.bin %> users groups bob --group dev --group on-call',
    '<%= config.bin %> users groups bob --none',
  ]
  static override args = {
    user: Args.string({ required: true, description: 'name of the user' }),
  }
  static override flags = {
    group: Flags.string({
      multiple: true,
      description: 'all groups of the user',
      exactlyOne: ['group', 'none'],
    }),
    none: Flags.boolean({ description: 'out of every group' }),
  }

  async run() {
    const { args, flags } = await this.parse(UsersGroups)
    const set = await this.fleet((session) => setGroups(session, args.user, flags.group ?? []))
    return this.show(set, viewGroupsSet)
  }
}
