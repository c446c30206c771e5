import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { grantRole } from '../device/grant.ts'
import { viewChanges } from '../terminal/fleet-views.ts'

export default class Grant extends McmCommand {
  static override summary = 'give a user or group a role in clusters'
  static override description =
    'Writes an ordinary binding with your own rights there, and lets the user see and reach the cluster. ' +
    'Roles: admin, ops, dev, ro for a whole cluster, ns-dev and ns-ro for a namespace, or the name of any ClusterRole.'
  static override examples = [
    '<%= config.bin %> grant bob --role ns-dev --cluster idc-k8s --namespace test',
    '<%= config.bin %> grant dev --group --role ro --cluster idc-k8s --cluster edge-1',
  ]
  static override args = {
    subject: Args.string({
      required: true,
      description: 'name of the user, or with --group the group',
    }),
  }
  static override flags = {
    role: Flags.string({ required: true, description: 'preset or name of a ClusterRole' }),
    cluster: Flags.string({
      required: true,
      multiple: true,
      description: 'name or id of a cluster',
    }),
    namespace: Flags.string({ description: 'only in this namespace' }),
    group: Flags.boolean({ description: 'the name is that of a group' }),
  }

  async run() {
    const { args, flags } = await this.parse(Grant)
    const subject = { kind: flags.group ? 'group' : 'user', name: args.subject } as const
    const { role, namespace } = flags
    const wish = { subject, role, ...(namespace === undefined ? {} : { namespace }) }
    const changes = await this.fleet((session) => grantRole(session, wish, flags.cluster))
    return this.show(changes, viewChanges)
  }
}
