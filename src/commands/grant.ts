import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { grantRole } from '../device/grant.ts'
import { durationFlag, timeFlag } from '../terminal/flag-values.ts'
import { viewChanges } from '../terminal/fleet-views.ts'

export default class Grant extends McmCommand {
  static override summary = 'give a user or group a role in clusters'
  static override description =
    'Writes an ordinary binding with your own rights there, and lets the user see and reach the cluster. ' +
    'Roles: admin, ops, dev, ro for a whole cluster, ns-dev and ns-ro for a namespace, or the name of any ClusterRole.'
  static override examples = [
    '<%= config.bin %> grant bob --role ns-dev --cluster idc-k8s --namespace test',
    '<%= config.bin %> grant dev --group --role ro --cluster idc-k8s --cluster edge-1',
    '<%= config.bin %> grant bob --role ops --cluster idc-k8s --for 8h',
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
    for: Flags.string({
      description: 'ends by itself after so long: 30m, 8h, 7d',
      exclusive: ['expires'],
    }),
    expires: Flags.string({ description: 'ends by itself at this time: 2030-01-31T18:00:00Z' }),
  }

  async run() {
    const { args, flags } = await this.parse(Grant)
    const subject = { kind: flags.group ? 'group' : 'user', name: args.subject } as const
    const { role, namespace } = flags
    const wish = { subject, role, ...(namespace === undefined ? {} : { namespace }) }
    const lasting = flags.for === undefined ? undefined : durationFlag('for', flags.for)
    const until = flags.expires === undefined ? undefined : timeFlag('expires', flags.expires)
    const changes = await this.fleet((session) => {
      const now = session.device.world.now().getTime()
      const end = lasting === undefined ? until : new Date(now + lasting)
      return grantRole(session, { ...wish, ...(end ? { expires: end } : {}) }, flags.cluster)
    })
    return this.show(changes, viewChanges)
  }
}
