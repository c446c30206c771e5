import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import type { Invite, InviteOptions } from '../device/invite.ts'
import { durationFlag } from '../terminal/flag-values.ts'
import { viewInvite } from '../terminal/fleet-views.ts'

interface InviteFlags {
  readonly expires: string
  readonly cluster?: readonly string[] | undefined
  readonly role?: string | undefined
  readonly namespace?: string | undefined
}

/** A command that makes a link for somebody: what it asks for, and how it shows the link. */
export abstract class InviteCommand extends McmCommand {
  static readonly inviteFlags = {
    expires: Flags.string({ default: '24h', description: 'how long the link works: 30m, 24h, 7d' }),
    cluster: Flags.string({
      multiple: true,
      description: 'grant --role there as well',
      dependsOn: ['role'],
    }),
    role: Flags.string({ description: 'role to grant with --cluster', dependsOn: ['cluster'] }),
    namespace: Flags.string({ description: 'grant it only there', dependsOn: ['cluster'] }),
  }

  /** @throws UsageError MCM_USAGE for a length of time that is none */
  protected inviteOptions(flags: InviteFlags): Pick<InviteOptions, 'expiresInMs' | 'grant'> {
    const { role, namespace, cluster: clusters = [] } = flags
    const expiresInMs = durationFlag('expires', flags.expires)
    if (role === undefined) return { expiresInMs }
    return { expiresInMs, grant: { role, clusters, ...(namespace ? { namespace } : {}) } }
  }

  /** `what` the link is, before the name: `invite for`. */
  protected showInvite(what: string, invite: Invite) {
    this.say(`${what} ${invite.user}, once, until ${invite.expires}:`)
    for (const { cluster, problem } of invite.clusters)
      if (problem) this.say(`${cluster}: ${problem}; run mcm grant there again`)
    // The link is what was asked for; nowhere else does it leave its Secret.
    return { ...this.show(invite, viewInvite), link: invite.link.reveal() }
  }
}
