import type { KubernetesApi } from '../client/kubernetes.ts'
import type { McmError } from '../errors.ts'
import type { AgentDeps, AgentOptions } from './agent.ts'
import type { AgentState } from './agent-state.ts'
import { startHealth } from './health.ts'
import { hubDialer, hubEndpoints } from './hub-endpoints.ts'
import { startRegistration } from './registration.ts'
import type { AgentServers } from './servers.ts'
import { startTunnels } from './tunnels.ts'

const VERSION_REFRESH_MS = 600_000

/**
 * Registers and holds the tunnels, once the agent knows who is revoked and the directory proves the
 * cluster; answers the kubelet from the start.
 */
export async function openOutward(
  deps: AgentDeps,
  options: AgentOptions,
  api: KubernetesApi,
  state: AgentState,
  servers: AgentServers,
  signal: AbortSignal,
) {
  const { world, log, joinToken } = deps
  const { configuration, replica, version } = options
  const { identity, directory, principals, names } = state
  const background = { world, log, signal }
  const { cluster } = configuration
  const proxyFor = (endpoint: string) => deps.proxyFor(endpoint)
  const dial = await hubDialer({ agentKey: identity.agentKey, world, proxyFor })
  const registration = startRegistration({
    ...background,
    configuration,
    identity,
    directory,
    dial,
    ...(joinToken ? { joinToken: () => joinToken() } : {}),
  })
  const kubernetesVersion = await followVersion(api, signal)
  const tunnels = startTunnels({
    ...background,
    cluster,
    dial,
    begin: Promise.all([registration.proven, principals.ready, names.ready]).then(() => {}),
    endpoints: () => hubEndpoints(configuration, directory.state),
    hello: () => ({
      version,
      cluster,
      replica,
      kubernetesVersion: kubernetesVersion(),
      directory: directory.head,
    }),
    applyDirectory: (append) => directory.apply(append),
    onStream: (kind, stream, clientAddress) => servers.accept(kind, stream, clientAddress),
  })
  const problems = () => [
    ...(registration.isProven() ? [] : [`registration: ${problemOf(registration.problem())}`]),
    ...(tunnels.isUp() ? [] : ['no tunnel to a hub']),
    ...(principals.isFresh() ? [] : ['the API server is not heard']),
    ...(directory.isFresh() ? [] : ['the directory is behind']),
  ]
  const health = options.health && (await startHealth({ ...options.health, problems }))
  return { tunnels, health }
}

/** The version the API server says it has, kept up to date; empty while it says none. */
async function followVersion(api: KubernetesApi, signal: AbortSignal): Promise<() => string> {
  let version = ''
  const read = async () => {
    const answer = await api.get<{ gitVersion?: string }>('/version').catch(() => undefined)
    version = answer?.gitVersion ?? version
  }
  await read()
  const timer = setInterval(() => void read(), VERSION_REFRESH_MS).unref()
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  return () => version
}

function problemOf(problem: McmError | undefined): string {
  return problem ? problem.message : 'not proven yet'
}
