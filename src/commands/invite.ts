import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { createInvite } from '../device/invite.ts'
import { durationFlag } from '../terminal/flag-values.ts'
import { viewInvite } from '../terminal/fleet-views.ts'

export default class Invite extends McmCommand {
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
    group: Flags.string({
      multiple: true,
      description: 'a group of the user (default: as now)',
      exclusive: ['bot'],
    }),
    expires: Flags.string({ default: '24h', description: 'how long the link works: 30m, 24h, 7d' }),
    bot: Flags.boolean({ description: 'a program, not a person; in no group' }),
    cluster: Flags.string({
      multiple: true,
      description: 'grant --role there as well',
      dependsOn: ['role'],
    }),
    role: Flags.string({ description: 'role to grant with --cluster', dependsOn: ['cluster'] }),
    namespace: Flags.string({ description: 'grant it only there', dependsOn: ['cluster'] }),
  }

  async run() {
    const { args, flags } = await this.parse(Invite)
    const { role, namespace, cluster } = flags
    const first = { role: role ?? '', clusters: cluster ?? [], ...(namespace ? { namespace } : {}) }
    const invite = await this.fleet((session) =>
      createInvite(session, {
        user: args.user,
        ...(flags.group === undefined ? {} : { groups: flags.group }),
        expiresInMs: durationFlag('expires', flags.expires),
        bot: flags.bot === true,
        ...(role === undefined ? {} : { grant: first }),
      }),
    )
    this.say(`invite for ${invite.user}, once, until ${invite.expires}:`)
    for (const { cluster, problem } of invite.clusters)
      if (problem) this.say(`${cluster}: ${problem}; run mcm grant there again`)
    // The link is what was asked for; nowhere else does it leave its Secret.
    return { ...this.show(invite, viewInvite), link: invite.link.reveal() }
  }
}
