import { resolve } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { requireCluster } from '../device/cluster-lookup.ts'
import { kubeconfigFor } from '../device/kubeconfig.ts'
import { UsageError } from '../errors.ts'
import { kubeconfigToWrite, mergeIntoFile, removeFromFile } from '../kubeconfig/file.ts'
import { mergeEntries } from '../kubeconfig/merge.ts'
import type { KubeconfigEntries } from '../kubeconfig/model.ts'
import { viewKubeconfigChange, viewKubeconfigText } from '../terminal/kubeconfig-views.ts'

export default class Kubeconfig extends McmCommand {
  static override summary = 'make contexts for plain kubectl'
  static override description =
    'Prints a kubeconfig, or merges its entries into yours, changing nothing else there.\n\n' +
    'Which mode suits which client:\n' +
    '  exec    kubectl and its plugins, helm and what else is made with client-go or kube-rs (feature http-proxy): keys stay in the keychain, no daemon\n' +
    '  static  the same clients where no plugin can run (CI, credentialPluginPolicy: DenyAll): certificate and key are in the file, until they expire\n' +
    '  proxy   every client: the official ones for Python, JavaScript and Java, and fabric8, work only so. It needs mcm proxy running\n' +
    'exec, port-forward and other streams work in each, over WebSocket and SPDY.\n\n' +
    'Behind a corporate proxy (HTTPS_PROXY) use mode proxy: no client reaches a hub through another proxy, mcm proxy does. Go clients then need ' +
    'nothing else, Python NO_PROXY=127.0.0.1,localhost, and kube-rs that proxy itself in NO_PROXY, as HOST:PORT or as a bare address; ' +
    'what mcm kubectl, exec, shell and each start has all of it. In mode exec and static neither variable counts, but kube-rs goes ' +
    'past a hub that is in NO_PROXY so.\n\n' +
    'A client that says it cannot connect to c-….clusters.mcm.internal got no answer from the hub: that name is in no DNS.'
  static override examples = [
    '<%= config.bin %> kubeconfig idc-k8s --merge',
    '<%= config.bin %> kubeconfig --all --merge',
    '<%= config.bin %> kubeconfig idc-k8s --mode static --output ci.kubeconfig',
    '<%= config.bin %> kubeconfig --remove',
  ]
  static override args = {
    cluster: Args.string({ description: 'name or id; or --all' }),
  }
  static override flags = {
    all: Flags.boolean({ description: 'every cluster you may reach' }),
    output: Flags.string({ description: 'write it to this file, mode 0600', exclusive: ['merge'] }),
    merge: Flags.boolean({
      description: 'put the entries into your kubeconfig',
      exclusive: ['remove'],
    }),
    remove: Flags.boolean({ description: "take mcm's entries out of your kubeconfig" }),
    mode: Flags.option({
      options: ['exec', 'proxy', 'static'] as const,
      default: 'exec',
      description: 'how kubectl gets its certificate',
    })(),
    namespace: Flags.string({ description: 'namespace of the contexts' }),
    use: Flags.boolean({ description: 'make it the current context', dependsOn: ['merge'] }),
    kubeconfig: Flags.string({ description: 'the file to change (default: as kubectl chooses)' }),
  }

  async run() {
    const { args, flags } = await this.parse(Kubeconfig)
    if (flags.remove) return this.#remove(args.cluster, flags.kubeconfig)
    requireChoice(args.cluster, flags.all === true)
    const entries = await this.fleet((session) =>
      kubeconfigFor(session, {
        clusters: args.cluster === undefined ? [] : [args.cluster],
        mode: flags.mode,
        ...(flags.namespace === undefined ? {} : { namespace: flags.namespace }),
        self: this.runtime.self,
        env: this.runtime.selfEnv,
      }),
    )
    if (flags.merge) return this.#merge(entries, flags)
    const kubeconfig = mergeEntries(undefined, entries, { file: 'kubeconfig' })
    if (flags.output !== undefined) return this.#write(flags.output, kubeconfig, entries)
    if (this.jsonEnabled() && entries.some(({ holdsKey }) => holdsKey)) throw keyInJson()
    return this.show({ kubeconfig }, viewKubeconfigText)
  }

  async #write(output: string, text: string, entries: readonly KubeconfigEntries[]) {
    const file = resolve(output)
    await this.runtime.kubeconfigFiles.writeFileAtomic(file, text, 0o600)
    const contexts = entries.map(({ name }) => name)
    return this.show({ file, contexts, isChanged: true, removed: [] }, viewKubeconfigChange)
  }

  async #merge(
    entries: readonly KubeconfigEntries[],
    flags: { use: boolean; kubeconfig?: string },
  ) {
    const files = this.runtime.kubeconfigFiles
    const location = this.runtime.kubeconfigLocation(flags.kubeconfig)
    const contexts = entries.map(({ name }) => name)
    const file = await kubeconfigToWrite(location, files, contexts[0])
    const current = flags.use && contexts[0] ? { current: contexts[0] } : {}
    const isChanged = await mergeIntoFile(file, entries, files, current)
    return this.show({ file, contexts, isChanged, removed: [] }, viewKubeconfigChange)
  }

  async #remove(cluster: string | undefined, path: string | undefined) {
    const files = this.runtime.kubeconfigFiles
    const file = await kubeconfigToWrite(this.runtime.kubeconfigLocation(path), files)
    const id =
      cluster === undefined
        ? undefined
        : await this.fleet(async ({ directory }) => requireCluster(directory, cluster).id)
    const removed = await removeFromFile(file, files, id)
    const isChanged = removed.length > 0
    return this.show({ file, contexts: [], isChanged, removed }, viewKubeconfigChange)
  }
}

/** JSON ends up in logs of pipelines; whoever wants the file says where. */
function keyInJson(): UsageError {
  return new UsageError('MCM_USAGE', 'a key would stand in the JSON', {
    hint: 'write it to a file: --output FILE, or --merge',
  })
}

function requireChoice(cluster: string | undefined, all: boolean): void {
  if ((cluster !== undefined) !== all) return
  throw new UsageError('MCM_USAGE', cluster ? 'a cluster or --all, not both' : 'which cluster?', {
    hint: 'mcm kubeconfig CLUSTER --merge, or mcm kubeconfig --all --merge',
  })
}
