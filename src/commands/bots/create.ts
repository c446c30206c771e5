import { Args, Flags } from '@oclif/core'
import { InviteCommand } from '../../command/invite-command.ts'
import { createBot } from '../../device/bots.ts'
import { botLifeFlag } from '../../terminal/flag-values.ts'

export default class BotsCreate extends InviteCommand {
  static override summary = 'make a link that brings a program into the fleet'
  static override description =
    'A bot is in no group and may do what is granted to it by name. Where it runs, log in with the link and write a static kubeconfig: its certificates last a day or what --for says, and renew by the key of that machine. A cluster whose owner allows bots less gives it none. ' +
    'A CI system that gives its jobs tokens needs no link: mcm oidc set --workload.'
  static override examples = [
    '<%= config.bin %> bots create deploy --cluster idc-k8s --role ns-dev --namespace test',
    '<%= config.bin %> bots create backup --expires 1h',
    '<%= config.bin %> bots create nightly --for 30d --cluster idc-k8s --role ro',
  ]
  static override args = {
    bot: Args.string({ required: true, description: 'name of the bot, as clusters will see it' }),
  }
  static override flags = {
    ...InviteCommand.inviteFlags,
    for: Flags.string({
      description:
        'how long each of its certificates lives, and so a static kubeconfig: 30m, 24h, 30d (default: a day; each cluster’s owner sets a maximum)',
    }),
  }

  async run() {
    const { args, flags } = await this.parse(BotsCreate)
    const options = {
      ...{ user: args.bot, ...this.inviteOptions(flags) },
      ...(flags.for === undefined ? {} : { lifetimeSeconds: botLifeFlag('for', flags.for) }),
    }
    const invite = await this.fleet((session) => createBot(session, options))
    return this.showInvite('link for bot', invite)
  }
}
