import { Args, Flags } from '@oclif/core'
import { DIRECT_SERVICES, type DirectExposure } from '../access/agent-workload.ts'
import { McmCommand } from '../command.ts'
import { readCeilingWish } from '../device/ceiling-wish.ts'
import { registerCluster } from '../device/registering.ts'
import type { DirectAddress } from '../directory/details.ts'
import { viewRegistered } from '../terminal/cluster-views.ts'
import { botLifeFlag, directFlag, maximumAgeFlag, pairsFlag } from '../terminal/flag-values.ts'

export default class Register extends McmCommand {
  static override summary = 'bring a cluster into the fleet'
  static override description =
    'Writes agent.yaml, or with --apply puts it into the cluster of a kubeconfig context, and waits until the agent has come. ' +
    'Ctrl-C is safe: run it again and it goes on.'
  static override examples = [
    '<%= config.bin %> register idc-k8s --apply --context idc-admin',
    '<%= config.bin %> register idc-k8s --output agent.yaml --label region=eu',
    '<%= config.bin %> register idc-k8s --apply --direct idc.example.com:9443',
    '<%= config.bin %> register edge --issuer local',
    '<%= config.bin %> register prod --apply --ceiling no-exec,no-secrets',
  ]
  static override args = {
    name: Args.string({ required: true, description: 'how the cluster is to be called' }),
  }
  static override flags = {
    apply: Flags.boolean({
      description: 'apply it with your kubeconfig instead of writing a file',
    }),
    context: Flags.string({
      description: 'kubeconfig context to apply with',
      dependsOn: ['apply'],
    }),
    kubeconfig: Flags.string({ description: 'kubeconfig to apply with', dependsOn: ['apply'] }),
    output: Flags.string({ default: 'agent.yaml', description: 'where to write it, mode 0600' }),
    image: Flags.string({ description: 'image of the agent (docker.io/library/mcm-agent)' }),
    'image-pull-secret': Flags.string({
      multiple: true,
      description: 'Secret in mcm-system that lets the nodes pull the image',
    }),
    'host-alias': Flags.string({
      multiple: true,
      description: 'NAME=ADDRESS the pods shall know, where DNS does not know the hub',
    }),
    replicas: Flags.integer({ default: 2, min: 1, max: 9, description: 'how many agents' }),
    'without-deployment': Flags.boolean({
      description: 'everything but the Deployment: you run mcm agent elsewhere',
    }),
    label: Flags.string({ multiple: true, description: 'NAME=VALUE, shown and selectable' }),
    prefix: Flags.string({ description: 'before every user and group name in the cluster (mcm:)' }),
    endpoint: Flags.option({
      options: ['public', 'private'] as const,
      default: 'public',
      description: "which of the hub's endpoints the agent tries first",
    })(),
    issuer: Flags.option({
      options: ['agent', 'local'] as const,
      description: 'who issues certificates: the agent, or you on this machine (default: agent)',
    })(),
    direct: Flags.string({
      description: 'HOST:PORT[,PORT] at which people reach the agent itself while no hub is up',
    }),
    'direct-service': Flags.option({
      options: DIRECT_SERVICES,
      default: 'LoadBalancer',
      description:
        'kind of Service that leads there; with NodePort the ports are those of the nodes',
    })(),
    impersonate: Flags.option({
      options: ['listed', 'any'] as const,
      default: 'listed',
      description: 'whom the agent may speak for; any makes its token as strong as cluster-admin',
    })(),
    ceiling: Flags.string({
      description:
        'what nobody does there through mcm: read-only, no-exec, no-secrets, several with commas, or a file with rules',
    }),
    'directory-max-age': Flags.string({
      description:
        'let nobody in there when no administrator has confirmed the directory for so long, such as 7d, at least 2d (default: any age); without a hub for longer nobody gets in, administrators neither, until the argument is taken out of the Deployment',
    }),
    'bot-max-life': Flags.string({
      description:
        'how long a certificate of a bot may live there, in static kubeconfigs, such as 30d (default: 1d)',
    }),
    timeout: Flags.integer({ default: 900, min: 0, description: 'seconds to wait for the agent' }),
    wait: Flags.boolean({ default: true, allowNo: true, description: 'wait for the agent' }),
  }

  async run() {
    const { args, flags } = await this.parse(Register)
    const { kubeconfigFiles, proxyFor } = this.runtime
    const location = this.runtime.kubeconfigLocation(flags.kubeconfig)
    const context = flags.context === undefined ? {} : { context: flags.context }
    const image = flags.image ?? `docker.io/library/mcm-agent:${this.config.version}`
    const direct = flags.direct === undefined ? undefined : directFlag('direct', flags.direct)
    const age = flags['directory-max-age']
    if (age !== undefined) maximumAgeFlag('directory-max-age', age)
    const life = flags['bot-max-life']
    if (life !== undefined) botLifeFlag('bot-max-life', life)
    const workload = {
      image,
      replicas: flags.replicas,
      imagePullSecrets: flags['image-pull-secret'] ?? [],
      hostAliases: hostAliases(pairsFlag('host-alias', flags['host-alias'] ?? [])),
      ...(direct ? { direct: exposure(direct, flags['direct-service']) } : {}),
      ...(age === undefined ? {} : { directoryMaximumAge: age }),
      ...(life === undefined ? {} : { botMaximumLife: life }),
    }
    const ceiling =
      flags.ceiling === undefined
        ? undefined
        : await readCeilingWish(flags.ceiling, kubeconfigFiles)
    const registered = await this.fleet((session) =>
      registerCluster(
        session,
        {
          name: args.name,
          labels: pairsFlag('label', flags.label ?? []),
          endpoint: flags.endpoint,
          impersonateAny: flags.impersonate === 'any',
          ...(flags.issuer === undefined ? {} : { issuer: flags.issuer }),
          ...(flags.prefix === undefined ? {} : { prefix: flags.prefix }),
          ...(direct ? { direct } : {}),
          ...(ceiling ? { ceiling } : {}),
          ...(flags['without-deployment'] ? {} : { workload }),
        },
        {
          output: flags.output,
          ...(flags.wait ? { waitMs: flags.timeout * 1000 } : {}),
          ...(flags.apply ? { apply: { ...location, ...context, proxyFor } } : {}),
        },
        kubeconfigFiles,
      ),
    )
    return this.show(registered, viewRegistered)
  }
}

function exposure(direct: DirectAddress, service: DirectExposure['service']): DirectExposure {
  const [sessions, enrolment] = [direct.sessions, direct.enrolment].map((endpoint) =>
    Number(endpoint.slice(endpoint.lastIndexOf(':') + 1)),
  )
  return { service, sessions: sessions!, enrolment: enrolment! }
}

function hostAliases(addresses: Readonly<Record<string, string>>) {
  return Object.entries(addresses).map(([name, ip]) => ({ ip, hostnames: [name] }))
}
