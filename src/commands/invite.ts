import { Args, Flags } from '@oclif/core'
import { InviteCommand } from '../command/invite-command.ts'
import { createInvite } from '../device/invite.ts'

export default class Invite extends InviteCommand {
  static override summary = 'make a link that brings a person or another device into the fleet'
  static override description =
    'Send the link over a channel you trust: whoever uses it first is that user. It works once. ' +
    'What they may do is granted separately.'
  static override examples = [
    '<%= config.bin %> invite bob',
    '<%= config.bin %> invite bob --group dev --group on-call --expires 2h',
    '<%= config.bin %> invite deploy --bot',
    '<%= config.bin %> invite bob --cluster idc-k8s --role ns-dev --namespace test',
  ]
  static override args = {
    user: Args.string({ required: true, description: 'name of the user, as clusters will see it' }),
  }
  static override flags = {
    ...InviteCommand.inviteFlags,
    group: Flags.string({
      multiple: true,
      description: 'a group of the user (default: as now)',
      exclusive: ['bot'],
    }),
    bot: Flags.boolean({ description: 'a program, not a person; in no group' }),
  }

  async run() {
    const { args, flags } = await this.parse(Invite)
    const options = {
      user: args.user,
      ...(flags.group === undefined ? {} : { groups: flags.group }),
      bot: flags.bot === true,
      ...this.inviteOptions(flags),
    }
    const invite = await this.fleet((session) => createInvite(session, options))
    return this.showInvite('invite for', invite)
  }
}
