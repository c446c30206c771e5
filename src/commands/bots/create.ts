import { Args } from '@oclif/core'
import { InviteCommand } from '../../command/invite-command.ts'
import { createBot } from '../../device/bots.ts'

export default class BotsCreate extends InviteCommand {
  static override summary = 'make a link that brings a program into the fleet'
  static override description =
    'A bot is in no group and may do what is granted to it by name. Where it runs, log in with the link and write a static kubeconfig: its certificates last a day, and renew by the key of that machine. ' +
    'A CI system that gives its jobs tokens needs no link: mcm oidc set --workload.'
  static override examples = [
    '<%= config.bin %> bots create deploy --cluster idc-k8s --role ns-dev --namespace test',
    '<%= config.bin %> bots create backup --expires 1h',
  ]
  static override args = {
    bot: Args.string({ required: true, description: 'name of the bot, as clusters will see it' }),
  }
  static override flags = InviteCommand.inviteFlags

  async run() {
    const { args, flags } = await this.parse(BotsCreate)
    const options = { user: args.bot, ...this.inviteOptions(flags) }
    const invite = await this.fleet((session) => createBot(session, options))
    return this.showInvite('link for bot', invite)
  }
}
