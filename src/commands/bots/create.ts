import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { createBot } from '../../device/bots.ts'
import { botLifeFlag, durationFlag } from '../../terminal/flag-values.ts'
import { viewInvite } from '../../terminal/fleet-views.ts'

export default class BotsCreate extends McmCommand {
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
    for: Flags.string({
      description:
        'how long each of its certificates lives, and so a static kubeconfig: 30m, 24h, 30d (default: a day; each cluster’s owner sets a maximum)',
    }),
    expires: Flags.string({ default: '24h', description: 'how long the link works: 30m, 24h, 7d' }),
    cluster: Flags.string({
      multiple: true,
      description: 'grant --role there as well',
      dependsOn: ['role'],
    }),
    role: Flags.string({ description: 'role to grant with --cluster', dependsOn: ['cluster'] }),
    namespace: Flags.string({ description: 'grant it only there', dependsOn: ['cluster'] }),
  }

  async run() {
    const { args, flags } = await this.parse(BotsCreate)
    const { role, namespace, cluster } = flags
    const first = { role: role ?? '', clusters: cluster ?? [], ...(namespace ? { namespace } : {}) }
    const invite = await this.fleet((session) =>
      createBot(session, {
        user: args.bot,
        expiresInMs: durationFlag('expires', flags.expires),
        ...(flags.for === undefined ? {} : { lifetimeSeconds: botLifeFlag('for', flags.for) }),
        ...(role === undefined ? {} : { grant: first }),
      }),
    )
    this.say(`link for bot ${invite.user}, once, until ${invite.expires}:`)
    for (const { cluster, problem } of invite.clusters)
      if (problem) this.say(`${cluster}: ${problem}; run mcm grant there again`)
    // The link is what was asked for; nowhere else does it leave its Secret.
    return { ...this.show(invite, viewInvite), link: invite.link.reveal() }
  }
}
