import type { KubernetesApi } from '../client/kubernetes.ts'
import type { McmError } from '../errors.ts'
import { type PipeAcceptor, pipeAcceptor } from '../pipe/acceptor.ts'
import { PipeBudget } from '../pipe/budget.ts'
import type { AgentDeps, AgentOptions } from './agent-deps.ts'
import type { AgentState } from './agent-state.ts'
import { type DirectListener, listenDirect } from './direct-listener.ts'
import type { PeopleView } from './directory-age.ts'
import { handshakePlaces } from './handshake-places.ts'
import { startHealth } from './health.ts'
import { hubDialer, hubEndpoints } from './hub-endpoints.ts'
import { startRegistration } from './registration.ts'
import type { AgentServers } from './servers.ts'
import { startTunnels } from './tunnels.ts'
import type { Background } from './watched-collection.ts'

const VERSION_REFRESH_MS = 600_000
/** What all pipes may hold before they make their writers wait. The pod has 512 MiB. */
const MAX_PIPED_BYTES = 128 << 20

/**
 * Registers, and once the agent knows who is revoked and the directory proves the cluster, holds the tunnels and
 * serves on the direct address where it has one; answers the kubelet from the start.
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
  const { identity, authorities, directory, people, principals, names, ceiling, witness } = state
  const background = { world, log, signal }
  const { cluster } = configuration
  const proxyFor = (endpoint: string) => deps.proxyFor(endpoint)
  const dial = hubDialer({ agentKey: identity.agentKey, world, proxyFor, directory })
  const registration = startRegistration({
    ...background,
    configuration,
    identity: () => authorities.identity,
    directory,
    dial,
    ...(joinToken ? { joinToken: () => joinToken() } : {}),
  })
  const known = [principals.ready, names.ready, ceiling.ready]
  const begin = Promise.all([registration.proven, ...known]).then(() => {})
  const direct = await listenIfAsked(options, servers, background, {
    begin,
    isProven: () => registration.isProven(),
  })
  const kubernetesVersion = await followVersion(api, signal)
  const pipes = openPipes(background, replica, servers)
  const tunnels = startTunnels({
    ...background,
    cluster,
    dial,
    begin,
    endpoints: () => hubEndpoints(configuration, directory.state, world.now()),
    hello: () => ({
      version,
      cluster,
      replica,
      kubernetesVersion: kubernetesVersion(),
      directory: directory.head,
    }),
    applyDirectory: (append) => witness.takeFromHub(append),
    onStream: (kind, stream, clientAddress) => {
      if (kind === 'pipe') pipes.accept(stream, clientAddress)
      else servers.accept(kind, stream, clientAddress)
    },
  })
  const problems = () => [
    ...(registration.isProven() ? [] : [`registration: ${problemOf(registration.problem())}`]),
    ...(tunnels.isUp() ? [] : ['no tunnel to a hub']),
    ...(principals.isFresh() ? [] : ['the API server is not heard']),
    ...(names.isFresh() ? [] : ['ClusterRole mcm-impersonator is not heard of']),
    ...(ceiling.isFresh() ? [] : ['ClusterRole mcm-ceiling is not heard of']),
    ...(directory.isFresh() ? [] : ['the directory is behind']),
    ...(isConfirmed(people) ? [] : ['no administrator has confirmed the directory for too long']),
  ]
  const notes = () => witness.notes()
  const health = options.health && (await startHealth({ ...options.health, problems, notes }))
  return { tunnels, pipes, direct, health }
}

/** Carriers of pipes, and the sessions on them. */
function openPipes(
  { world, log }: Pick<Background, 'world' | 'log'>,
  replica: string,
  servers: AgentServers,
): PipeAcceptor {
  const places = handshakePlaces()
  return pipeAcceptor({
    world,
    log,
    replica,
    budget: new PipeBudget(MAX_PIPED_BYTES),
    takePlace: (from, carrier) => places.take(from ?? '', carrier),
    onPipe: (pipe, from) => servers.acceptPipe(pipe, from),
  })
}

/** The port is taken at once, so that one that is taken is said at once; nobody is heard before the time. */
async function listenIfAsked(
  { direct }: AgentOptions,
  { acceptDirect: accept }: AgentServers,
  { log, signal }: Pick<Background, 'log' | 'signal'>,
  serving: { readonly begin: Promise<void>; isProven(): boolean },
): Promise<DirectListener | undefined> {
  if (direct === undefined) return undefined
  let hasBegun = false
  void serving.begin.then(() => {
    hasBegun = true
  })
  const isReady = () => hasBegun && serving.isProven()
  const listener = await listenDirect({ ...direct, isReady, accept, log })
  signal.addEventListener('abort', () => void listener.stop(0), { once: true })
  log.info('direct_listening', { host: direct.host, ...listener.ports })
  return listener
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

function isConfirmed(people: PeopleView): boolean {
  try {
    people.requireConfirmed?.()
    return true
  } catch {
    return false
  }
}

function problemOf(problem: McmError | undefined): string {
  return problem ? problem.message : 'not proven yet'
}
