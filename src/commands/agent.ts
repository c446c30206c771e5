import { readFile } from 'node:fs/promises'
import { Flags } from '@oclif/core'
import { AGENT_CONFIGURATION_DIRECTORY, AGENT_HEALTH_PORT } from '../access/agent-workload.ts'
import { startAgent } from '../agent/agent.ts'
import type { AgentDeps, AgentOptions } from '../agent/agent-deps.ts'
import {
  agentTransport,
  connectionInPod,
  connectionOutside,
  waitForConfiguration,
} from '../agent/connections.ts'
import { readMountedConfiguration } from '../agent/mounted-configuration.ts'
import { openKubernetes } from '../client/kubernetes.ts'
import { McmCommand } from '../command.ts'
import { connectionFromKubeconfig } from '../kubeconfig/connect.ts'
import { botLifeFlag, directListenFlag, maximumAgeFlag } from '../terminal/flag-values.ts'
import type { Log } from '../world.ts'

type Inside = Pick<AgentDeps, 'apiServer' | 'joinToken'> & Pick<AgentOptions, 'configuration'>

export default class Agent extends McmCommand {
  static override summary = 'run the agent of one cluster: in its pod, or outside with a kubeconfig'
  static override description =
    'In a pod it needs no flags. Outside, the kubeconfig is used only to ask for tokens of service account mcm-agent; ' +
    'register the cluster with --without-deployment.'
  static override examples = [
    '<%= config.bin %> agent',
    '<%= config.bin %> agent --kubeconfig ~/.kube/config --context my-ctx',
    '<%= config.bin %> agent --direct-listen :9443,9444',
    '<%= config.bin %> agent --directory-max-age 7d',
  ]
  static override flags = {
    kubeconfig: Flags.string({ description: 'run outside the cluster, with this kubeconfig' }),
    context: Flags.string({ description: 'its context (default: the current one)' }),
    replica: Flags.string({ description: 'name of this replica (default: pod or host name)' }),
    'health-port': Flags.integer({
      min: 0,
      max: 65535,
      description: 'port of /healthz and /readyz (default: 8081 in a pod, none outside)',
    }),
    'directory-max-age': Flags.string({
      description:
        'let nobody in when no administrator has confirmed the directory for so long, such as 7d, at least 2d (default: any age)',
    }),
    'bot-max-life': Flags.string({
      description: 'how long a certificate of a bot may live, such as 30d (default: 1d)',
    }),
    'direct-listen': Flags.string({
      description:
        'ADDRESS:PORT[,PORT] of the direct address, sessions and enrolment (default: not at all)',
    }),
  }

  async run() {
    const { flags } = await this.parse(Agent)
    this.runtime.allowEndMs(30_000)
    const { world, signal, env, hostName, proxyFor } = this.runtime
    const log = await this.runtime.openLog()
    const isOutside = flags.kubeconfig !== undefined || flags.context !== undefined
    const inside = isOutside
      ? await this.outside(log, flags.kubeconfig, flags.context)
      : await this.inPod()
    const { configuration, ...deps } = inside
    const port = flags['health-port'] ?? (isOutside ? undefined : AGENT_HEALTH_PORT)
    const direct = directListenFlag(
      'direct-listen',
      flags['direct-listen'],
      this.runtime.anyAddress,
    )
    const age = flags['directory-max-age']
    const maximumAge = age && maximumAgeFlag('directory-max-age', age) / 1000
    const life = flags['bot-max-life']
    const agent = await startAgent(
      {
        ...deps,
        world,
        log,
        signal,
        runtime: this.runtime.nodeFacts,
        proxyFor: (endpoint) => proxyFor(new URL(`https://${endpoint}`)),
      },
      {
        configuration,
        replica: flags.replica ?? env['POD_NAME'] ?? hostName,
        version: this.config.version,
        ...(port === undefined ? {} : { health: { host: this.runtime.anyAddress, port } }),
        ...(direct === undefined ? {} : { direct }),
        ...(maximumAge ? { directoryMaximumAgeSeconds: maximumAge } : {}),
        ...(life ? { botMaximumLifeSeconds: botLifeFlag('bot-max-life', life) } : {}),
      },
    )
    log.info('agent_started', { cluster: configuration.cluster, health: agent.address })
    await agent.closed
  }

  private async inPod(): Promise<Inside> {
    const { env, kubeconfigFiles } = this.runtime
    const configuration = () =>
      readMountedConfiguration(AGENT_CONFIGURATION_DIRECTORY, kubeconfigFiles.readTextIfAny)
    // First: whoever is in no pod shall hear that, and not what its files lack.
    const apiServer = await connectionInPod({
      host: env['KUBERNETES_SERVICE_HOST'],
      port: env['KUBERNETES_SERVICE_PORT'],
      readFile: (path) => readFile(path, 'utf8'),
    })
    return {
      apiServer,
      configuration: await configuration(),
      joinToken: async () => (await configuration()).joinToken,
    }
  }

  private async outside(log: Log, path?: string, context?: string): Promise<Inside> {
    const { world, signal, proxyFor, kubeconfigFiles } = this.runtime
    const location = this.runtime.kubeconfigLocation(path)
    const options = { ...location, proxyFor, ...(context === undefined ? {} : { context }) }
    const owner = await connectionFromKubeconfig(options, kubeconfigFiles)
    const apiServer = connectionOutside(owner, world)
    const api = openKubernetes(agentTransport(apiServer))
    return {
      apiServer,
      configuration: await waitForConfiguration(api, log, signal),
      joinToken: async () => (await waitForConfiguration(api, log, signal)).joinToken,
    }
  }
}
