import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { applyFence, writeFence } from '../../device/fence.ts'
import { viewFence } from '../../terminal/ceiling-views.ts'

export default class ClustersFence extends McmCommand {
  static override summary =
    'let the agent add people whom an identity provider admits, fenced in by the API server'
  static override description =
    'Without it everybody has to be named in a grant before they come. With it the agent may add names to ClusterRole ' +
    "mcm-impersonator, and a ValidatingAdmissionPolicy refuses it everything but names with this cluster's prefix. " +
    'The right is given after the API server was seen to enforce the policy. Needs Kubernetes 1.30 and your own access to the cluster.'
  static override examples = [
    '<%= config.bin %> clusters fence idc-k8s --apply --context idc-admin',
    '<%= config.bin %> clusters fence idc-k8s --output fence.yaml',
  ]
  static override args = {
    cluster: Args.string({ required: true, description: 'name or id of the cluster' }),
  }
  static override flags = {
    apply: Flags.boolean({
      description: 'set it up with your kubeconfig instead of writing a file',
    }),
    context: Flags.string({
      description: 'kubeconfig context to apply with',
      dependsOn: ['apply'],
    }),
    kubeconfig: Flags.string({ description: 'kubeconfig to apply with', dependsOn: ['apply'] }),
    output: Flags.string({
      default: 'fence.yaml',
      description: 'where to write the policy; the right goes into a file beside it, -right',
    }),
  }

  async run() {
    const { args, flags } = await this.parse(ClustersFence)
    const { kubeconfigFiles: files, proxyFor } = this.runtime
    const location = this.runtime.kubeconfigLocation(flags.kubeconfig)
    const context = flags.context === undefined ? {} : { context: flags.context }
    const done = await this.fleet((session) =>
      flags.apply
        ? applyFence(session, args.cluster, { ...location, ...context, proxyFor }, files)
        : writeFence(session, args.cluster, flags.output, files),
    )
    return this.show(done, viewFence)
  }
}
