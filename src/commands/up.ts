import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { homeAt } from '../device/home.ts'
import { fileSecrets } from '../store/secrets.ts'
import { viewUp, viewUpStep } from '../terminal/up-views.ts'
import { checkUp } from '../up/check.ts'
import { existingCluster, sandboxCluster } from '../up/target-cluster.ts'
import { startUp } from '../up/up.ts'

export default class Up extends McmCommand {
  static override summary =
    'try everything on this machine: hub, agent, login and a kubeconfig in one command'
  static override description =
    'Registers the cluster of a kubeconfig context, or a small built-in sandbox when there is none at hand, and stays until Ctrl-C. ' +
    'Nothing is left behind, neither here nor in the cluster.'
  static override examples = [
    '<%= config.bin %> up --sandbox',
    '<%= config.bin %> up --context my-ctx',
    '<%= config.bin %> up --sandbox --check',
  ]
  static override flags = {
    sandbox: Flags.boolean({
      description: 'a built-in API server (the default without --context)',
      exclusive: ['context'],
    }),
    context: Flags.string({ description: 'kubeconfig context of a cluster of yours' }),
    kubeconfig: Flags.string({
      description: 'kubeconfig with that context',
      dependsOn: ['context'],
    }),
    name: Flags.string({ default: 'demo', description: 'how the cluster is to be called' }),
    user: Flags.string({ default: 'alice', description: 'who you are in the new fleet' }),
    check: Flags.boolean({ description: 'do all of it, verify it, take it away and exit' }),
  }

  async run() {
    const { flags } = await this.parse(Up)
    this.runtime.allowEndMs(30_000)
    const directory = await mkdtemp(join(tmpdir(), 'mcm-up-'))
    try {
      const { deps, openCluster } = await this.#world(directory, flags)
      const options = { version: this.config.version, user: flags.user, clusterName: flags.name }
      const up = await startUp(deps, options, openCluster)
      try {
        const { stop: _stop, ...facts } = up
        if (flags.check) return this.show({ ...facts, checks: await checkUp(up, deps) }, viewUp)
        this.announce({ event: 'up', ...facts }, viewUp)
        await new Promise((resolve) => deps.signal.addEventListener('abort', resolve))
        return undefined
      } finally {
        await up.stop()
      }
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  }

  async #world(
    directory: string,
    flags: { context?: string | undefined; kubeconfig?: string | undefined },
  ) {
    const { runtime } = this
    const { world, signal, kubeconfigFiles: files, screen } = runtime
    const home = homeAt(join(directory, 'home'))
    const ordinary = await this.device({ keychain: 'never' })
    const deps = {
      world,
      signal,
      files,
      directory,
      log: await runtime.openLog(join(directory, 'mcm.log')),
      runtime: runtime.nodeFacts,
      device: { ...ordinary, home, secrets: fileSecrets(home.secrets) },
      self: runtime.self,
      env: { MCM_HOME: home.directory },
      done: (step: string, result: string) => {
        if (!this.jsonEnabled()) this.say(viewUpStep(step, result, screen))
      },
    }
    const location = runtime.kubeconfigLocation(flags.kubeconfig)
    const { context } = flags
    const openCluster = () =>
      context === undefined
        ? sandboxCluster(deps, files, runtime.homeDirectory)
        : existingCluster({ ...location, context, proxyFor: runtime.proxyFor }, files)
    return { deps, openCluster }
  }
}
