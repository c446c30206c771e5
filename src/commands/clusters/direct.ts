import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { setDirectAddress } from '../../device/direct-address.ts'
import { viewDirect } from '../../terminal/cluster-views.ts'
import { directFlag } from '../../terminal/flag-values.ts'

export default class ClustersDirect extends McmCommand {
  static override summary = 'say where the agent of a cluster is reached while no hub is up'
  static override description =
    'Signs the address into the directory; members of the cluster go there when no hub answers. The agent has to listen: ' +
    'register --direct sets that up, agent --direct-listen does it by hand.'
  static override examples = [
    '<%= config.bin %> clusters direct idc-k8s --address idc.example.com:9443',
    '<%= config.bin %> clusters direct idc-k8s --address 10.0.0.5:30443,30444',
    '<%= config.bin %> clusters direct idc-k8s --none',
  ]
  static override args = {
    cluster: Args.string({ required: true, description: 'name or id of the cluster' }),
  }
  static override flags = {
    address: Flags.string({
      exactlyOne: ['address', 'none'],
      description: 'HOST:PORT[,PORT] of sessions and enrolment (default: the next port)',
    }),
    none: Flags.boolean({ description: 'it has no such address any more' }),
  }

  async run() {
    const { args, flags } = await this.parse(ClustersDirect)
    const { address } = flags
    const direct = address === undefined ? undefined : directFlag('address', address)
    const changed = await this.fleet((session) => setDirectAddress(session, args.cluster, direct))
    return this.show(changed, viewDirect)
  }
}
