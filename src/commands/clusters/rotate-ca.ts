import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { DEFAULT_OVERLAP_MS, rotateAuthorities } from '../../device/rotate-authorities.ts'
import { overlapFlag } from '../../terminal/flag-values.ts'
import { viewRotated } from '../../terminal/rotation-views.ts'

export default class ClustersRotateCa extends McmCommand {
  static override summary = 'replace the CAs of a cluster'
  static override description =
    'Its agent makes new ones; nothing is installed anew and what runs goes on. Those before count as well until the overlap is over; ' +
    'then what they signed is refused, and connections that were opened with it end. Whoever uses mcm notices nothing. Kubeconfigs for plain ' +
    'kubectl have to be refreshed once before that: mcm kubeconfig --merge. It takes the right to update the Secret of the agent’s keys.'
  static override examples = [
    '<%= config.bin %> clusters rotate-ca idc-k8s',
    '<%= config.bin %> clusters rotate-ca idc-k8s --overlap 7d',
    '<%= config.bin %> clusters rotate-ca idc-k8s --overlap 0',
  ]
  static override args = {
    cluster: Args.string({ required: true, description: 'name or id of the cluster' }),
  }
  static override flags = {
    overlap: Flags.string({
      description: 'how long those before count as well (default: 24h); 0 when a key was stolen',
    }),
  }

  async run() {
    const { args, flags } = await this.parse(ClustersRotateCa)
    const overlapMs =
      flags.overlap === undefined ? DEFAULT_OVERLAP_MS : overlapFlag('overlap', flags.overlap)
    const rotated = await this.fleet((session) =>
      rotateAuthorities(session, args.cluster, overlapMs),
    )
    return this.show(rotated, viewRotated)
  }
}
