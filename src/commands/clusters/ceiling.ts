import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { applyCeiling, showCeiling, writeCeiling } from '../../device/ceiling.ts'
import { readCeilingWish } from '../../device/ceiling-wish.ts'
import { viewCeiling } from '../../terminal/ceiling-views.ts'

export default class ClustersCeiling extends McmCommand {
  static override summary =
    'show or set what nobody does in a cluster through mcm, whatever they are granted'
  static override description =
    'A ceiling called read-only: nothing is changed, nobody goes into a container. no-exec: no exec, attach, port-forward or proxy. ' +
    'no-secrets: Secrets are neither read nor written. Several with commas. A file has rules: as a ClusterRole has them, of what is ' +
    'allowed. It is set with your own access to the cluster, never through mcm; what is open there is cut.'
  static override examples = [
    '<%= config.bin %> clusters ceiling idc-k8s',
    '<%= config.bin %> clusters ceiling idc-k8s --set read-only --apply --context idc-admin',
    '<%= config.bin %> clusters ceiling idc-k8s --set no-exec,no-secrets --output ceiling.yaml',
    '<%= config.bin %> clusters ceiling idc-k8s --set none --apply --context idc-admin',
  ]
  static override args = {
    cluster: Args.string({ required: true, description: 'name or id of the cluster' }),
  }
  static override flags = {
    set: Flags.string({
      description:
        'none, read-only, no-exec, no-secrets, several with commas, or a file with rules',
    }),
    apply: Flags.boolean({
      dependsOn: ['set'],
      description: 'set it with your kubeconfig instead of writing a file',
    }),
    context: Flags.string({
      description: 'kubeconfig context to apply with',
      dependsOn: ['apply'],
    }),
    kubeconfig: Flags.string({ description: 'kubeconfig to apply with', dependsOn: ['apply'] }),
    legacy: Flags.boolean({
      dependsOn: ['apply'],
      description:
        'the API server has no constrained impersonation any more: write the list of names so that the agent alone enforces the ceiling',
    }),
    output: Flags.string({ default: 'ceiling.yaml', description: 'where to write it' }),
  }

  async run() {
    const { args, flags } = await this.parse(ClustersCeiling)
    const { kubeconfigFiles: files, proxyFor } = this.runtime
    const { cluster } = args
    if (flags.set === undefined)
      return this.show(await this.fleet((session) => showCeiling(session, cluster)), viewCeiling)
    const wish = await readCeilingWish(flags.set, files)
    const location = this.runtime.kubeconfigLocation(flags.kubeconfig)
    const context = flags.context === undefined ? {} : { context: flags.context }
    const connect = { ...location, ...context, proxyFor }
    const set = await this.fleet((session) =>
      flags.apply
        ? applyCeiling(session, cluster, wish, { connect, isLegacy: flags.legacy }, files)
        : writeCeiling(session, cluster, wish, flags.output, files),
    )
    return this.show(set, viewCeiling)
  }
}
