import { Args, Flags } from '@oclif/core'
import { clusterRoleName } from '../access/role.ts'
import { McmCommand } from '../command.ts'
import { revokeDevice, revokeUser } from '../device/revoke.ts'
import { ungrant } from '../device/ungrant.ts'
import { viewChanges, viewRevocation } from '../terminal/fleet-views.ts'
import { confirm } from '../terminal/prompt.ts'

export default class Revoke extends McmCommand {
  static override summary = 'end a user, one of their devices, or their rights in some clusters'
  static override description =
    'Without --cluster or --device the user is ended everywhere: devices, invites, sessions, bindings. ' +
    'With --cluster only the rights there are taken away; the user stays in the fleet. ' +
    'Where a hub stands in the way: mcm certs revoke --user NAME --direct.'
  static override examples = [
    '<%= config.bin %> revoke bob --reason left',
    '<%= config.bin %> revoke bob --device old-laptop',
    '<%= config.bin %> revoke bob --cluster idc-k8s --role ns-dev --namespace test',
  ]
  static override args = {
    subject: Args.string({
      required: true,
      description: 'name of the user, or with --group the group',
    }),
  }
  static override flags = {
    device: Flags.string({
      description: 'only this device: its name or id',
      exclusive: ['cluster'],
    }),
    cluster: Flags.string({ multiple: true, description: 'only the rights in this cluster' }),
    role: Flags.string({ description: 'only this role', dependsOn: ['cluster'] }),
    namespace: Flags.string({ description: 'only in this namespace', dependsOn: ['cluster'] }),
    group: Flags.boolean({ description: 'the name is that of a group', dependsOn: ['cluster'] }),
    reason: Flags.string({ default: '', description: 'why, for the directory' }),
    yes: Flags.boolean({ description: 'do not ask' }),
  }

  async run() {
    const { args, flags } = await this.parse(Revoke)
    const { screen, stdin } = this.runtime
    const { subject: name } = args
    if (flags.cluster) {
      const subject = { kind: flags.group ? 'group' : 'user', name } as const
      const role = flags.role === undefined ? {} : { role: clusterRoleName(flags.role) }
      const only = { ...role, ...(flags.namespace ? { namespace: flags.namespace } : {}) }
      const clusters = flags.cluster
      const changes = await this.fleet((session) => ungrant(session, subject, only, clusters))
      return this.show(changes, viewChanges)
    }
    const { device, reason } = flags
    const what = device === undefined ? `user ${name} everywhere` : `device ${device} of ${name}`
    if (!flags.yes) await confirm(screen, stdin, `this ends ${what}`)
    const revocation = await this.fleet((session) =>
      device === undefined
        ? revokeUser(session, name, reason)
        : revokeDevice(session, name, device, reason),
    )
    return this.show(revocation, viewRevocation)
  }
}
