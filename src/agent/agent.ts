/**
 * The agent of one cluster: everything in it is started here and meets here. Outward it dials hubs, inward it asks its
 * own API server; nothing can dial it but the kubelet for its health. Invariant: it serves nobody before it has read
 * who is revoked and the directory proves the cluster.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { type KubernetesApi, openKubernetes } from '../client/kubernetes.ts'
import { type McmError, messageOf, UnreachableError } from '../errors.ts'
import { undiciUpstream } from '../forward/undici-upstream.ts'
import type { Upstream } from '../forward/upstream.ts'
import type { Impersonation } from '../kube/impersonation.ts'
import { clusterHost, enrolmentHost } from '../protocol/names.ts'
import { fullJitterBackoff } from '../tunnel/backoff.ts'
import type { Log, Running, World } from '../world.ts'
import { mayCaller, type ResourceQuestion } from './access-review.ts'
import type { AuditSink } from './audit-event.ts'
import { openAuthentication } from './authenticate.ts'
import type { AgentConfiguration } from './configuration.ts'
import { type AgentConnection, agentTransport, requireDirect } from './connections.ts'
import { type DirectoryHolder, openDirectoryHolder } from './directory-holder.ts'
import { impersonatorUpstream } from './egress.ts'
import { enrolmentHandlers } from './enrolment.ts'
import { trafficHandlers } from './handlers.ts'
import { startHealth } from './health.ts'
import { hubDialer, hubEndpoints } from './hub-endpoints.ts'
import { type AgentIdentity, loadOrCreateIdentity } from './identity-secret.ts'
import { type Issuance, openIssuance } from './issuance.ts'
import { type ListedNames, startListedNames } from './listed-names.ts'
import { type Principals, startPrincipals } from './principals.ts'
import { startRegistration } from './registration.ts'
import { type RuntimeFacts, requireRuntime } from './runtime-floor.ts'
import { newServerCertificate, renewRegularly } from './server-certificates.ts'
import { type AgentServers, openAgentServers, type ServerSources } from './servers.ts'
import { tokenSource } from './service-token.ts'
import { openSessions, type Session, type Sessions } from './sessions.ts'
import { startTunnels } from './tunnels.ts'
import { userLimits } from './user-limits.ts'

export interface AgentDeps {
  readonly world: World
  readonly log: Log
  readonly runtime: RuntimeFacts
  readonly apiServer: AgentConnection
  /** The forward proxy that the environment names for a hub endpoint, if any. */
  proxyFor(endpoint: string): string | undefined
  /** The log unless told. */
  readonly audit?: AuditSink
  /** Ends the agent. */
  readonly signal: AbortSignal
  /** The join token as it stands in the configuration now. */
  joinToken?(): Promise<AgentConfiguration['joinToken']>
}

export interface AgentOptions {
  readonly configuration: AgentConfiguration
  /** Tells this replica from the others: the pod's name. */
  readonly replica: string
  /** Of mcm. */
  readonly version: string
  /** Where the kubelet asks; without it nowhere. */
  readonly health?: { readonly host: string; readonly port: number }
}

/** Whatever changes without telling anybody (time, above all) is looked at this often. */
const SWEEP_MS = 5_000
const VERSION_REFRESH_MS = 600_000
const START_BACKOFF = { baseMs: 500, capMs: 15_000 }
/** For requests under way when the agent is told to end. */
const STOP_GRACE_MS = 2_000

/**
 * Starts the agent; resolves when it dials. `address` is that of its health, or empty.
 * @throws UsageError MCM_UNSUPPORTED_RUNTIME, MCM_USAGE; StateError MCM_STATE_DAMAGED; AccessDeniedError
 */
export async function startAgent(deps: AgentDeps, options: AgentOptions): Promise<Running> {
  requireRuntime(deps.runtime)
  requireDirect(deps.apiServer.connection)
  const ending = new AbortController()
  const signal = AbortSignal.any([deps.signal, ending.signal])
  const transport = agentTransport(deps.apiServer)
  const api = openKubernetes(transport)
  try {
    const state = await openState(deps, options, api, signal)
    const traffic = await openTraffic(deps, options, api, state)
    const outward = await openOutward(deps, options, api, state, traffic.servers, signal)
    const stop = async () => {
      await outward.tunnels.stop(STOP_GRACE_MS)
      ending.abort()
      traffic.stop()
      await Promise.all([outward.health?.stop(), traffic.upstream.close(), transport.close()])
    }
    const closed = outward.tunnels.closed.then(() => {})
    deps.signal.addEventListener('abort', () => void stop(), { once: true })
    return { address: outward.health?.address ?? '', closed, stop }
  } catch (error) {
    ending.abort()
    await transport.close()
    throw error
  }
}

interface State {
  readonly identity: AgentIdentity
  readonly principals: Principals
  readonly names: ListedNames
  readonly directory: DirectoryHolder
  readonly issuance: Issuance
}

async function openState(
  { world, log }: AgentDeps,
  { configuration }: AgentOptions,
  api: KubernetesApi,
  signal: AbortSignal,
): Promise<State> {
  const background = { world, log, signal }
  const { cluster, fleet } = configuration
  const whenReachable = <T>(work: () => Promise<T>) => untilReachable(work, background)
  const identity = await whenReachable(() => loadOrCreateIdentity(api, configuration, world))
  const directory = await whenReachable(() =>
    openDirectoryHolder(api, { cluster, fleet }, background),
  )
  const principals = startPrincipals(api, { cluster }, background)
  const names = startListedNames(api, background)
  const sources = { configuration, identity, principals, names, directory, world, log }
  return { identity, principals, names, directory, issuance: openIssuance(sources) }
}

interface Traffic {
  readonly servers: AgentServers
  readonly upstream: Upstream
  stop(): void
}

async function openTraffic(
  deps: AgentDeps,
  { configuration }: AgentOptions,
  api: KubernetesApi,
  state: State,
): Promise<Traffic> {
  const { world, log } = deps
  const { cluster } = configuration
  const { identity, directory, principals, names, issuance } = state
  const hosts = { session: clusterHost(cluster), enrolment: enrolmentHost(cluster) }
  const upstream = upstreamOf(deps.apiServer)
  const token = tokenSource(api, { boundTo: identity.secret }, world)
  const apiServer = impersonatorUpstream(upstream, token, log, false)
  const review = (caller: Impersonation, question: ResourceQuestion) =>
    mayCaller(apiServer, caller, question)
  const authentication = openAuthentication({
    world,
    cluster,
    prefix: configuration.prefix,
    issuer: identity.userAuthority ? 'agent' : 'local',
    certificates: principals,
    names,
    directory,
  })
  const sessions = openSessions((session, why) => noteCut(log, session, why))
  const traffic = trafficHandlers({
    world,
    log,
    host: hosts.session,
    authentication,
    apiServer,
    workloads: impersonatorUpstream(upstream, token, log, true),
    token,
    review,
    own: { cluster, issuance, principals, mayCaller: review },
    limits: userLimits(),
    audit: deps.audit ?? ((event) => log.info('audit', { ...event })),
  })
  const enrolment = enrolmentHandlers({ host: hosts.enrolment, issuance, log })
  const { userCaDer } = identity
  const certificates = await newCertificates(world, identity, hosts)
  const servers = openAgentServers({
    world,
    log,
    userCaDer,
    sessions,
    traffic,
    enrolment,
    hosts,
    certificates,
  })
  const renewal = renewRegularly(
    async () => servers.setCertificates(await newCertificates(world, identity, hosts)),
    log,
  )
  const endCutting = cutWhatNoLongerStands(state, sessions, (session) =>
    authentication.requireStillStanding(session.certificate),
  )
  return {
    servers,
    upstream,
    stop: () => {
      renewal()
      endCutting()
      servers.stop()
    },
  }
}

/** A revocation ends what its owner has open, whoever wrote it and wherever it was seen. Gives its own end. */
function cutWhatNoLongerStands(
  { principals, directory, names }: State,
  sessions: Sessions,
  judge: (session: Session) => void,
): () => void {
  const ends = [
    principals.onRevoked(({ user }) => void sessions.cutUnless(judge, user)),
    directory.onChange(() => void sessions.cutUnless(judge)),
    names.onChange(() => void sessions.cutUnless(judge)),
  ]
  const sweep = setInterval(() => sessions.cutUnless(judge), SWEEP_MS).unref()
  return () => {
    clearInterval(sweep)
    for (const end of ends) end()
  }
}

async function openOutward(
  deps: AgentDeps,
  options: AgentOptions,
  api: KubernetesApi,
  state: State,
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

function upstreamOf({ connection }: AgentConnection): Upstream {
  const { host, port, caPem, tlsServerName, insecureSkipTlsVerify } = connection
  return undiciUpstream({
    name: 'the API server',
    host,
    port,
    caPem,
    insecureSkipTlsVerify,
    ...(tlsServerName === undefined ? {} : { serverName: tlsServerName }),
  })
}

async function newCertificates(
  world: World,
  { serverAuthority }: AgentIdentity,
  hosts: ServerSources['hosts'],
): Promise<ServerSources['certificates']> {
  const [session, enrolment] = await Promise.all([
    newServerCertificate(world, serverAuthority, hosts.session),
    newServerCertificate(world, serverAuthority, hosts.enrolment),
  ])
  return { session, enrolment }
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

async function untilReachable<T>(
  work: () => Promise<T>,
  { world, log, signal }: { world: World; log: Log; signal: AbortSignal },
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error
      log.warn('api_server_unreachable', { reason: messageOf(error) })
      await pause(fullJitterBackoff(world.random, attempt, START_BACKOFF), undefined, { signal })
    }
  }
}

function noteCut(log: Log, { id, certificate }: Session, why: unknown): void {
  const { user, device, fingerprint } = certificate
  log.warn('session_cut', {
    session: id,
    user,
    device,
    certificate: fingerprint,
    reason: messageOf(why),
  })
}

function problemOf(problem: McmError | undefined): string {
  return problem ? problem.message : 'not proven yet'
}
