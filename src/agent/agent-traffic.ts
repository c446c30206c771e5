import type { Duplex } from 'node:stream'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { messageOf, UnreachableError } from '../errors.ts'
import { undiciUpstream } from '../forward/undici-upstream.ts'
import type { Upstream } from '../forward/upstream.ts'
import type { Impersonation } from '../kube/impersonation.ts'
import { clusterHost, enrolmentHost } from '../protocol/names.ts'
import type { Log, World } from '../world.ts'
import { mayCaller, type ResourceQuestion } from './access-review.ts'
import { noteAdmittedCertificates } from './admitted-certificates.ts'
import type { AgentDeps } from './agent-deps.ts'
import type { AgentState } from './agent-state.ts'
import type { AuditEvent } from './audit-event.ts'
import { openAuthentication } from './authenticate.ts'
import type { Authorities } from './authorities.ts'
import type { AgentConfiguration } from './configuration.ts'
import type { AgentConnection } from './connections.ts'
import { impersonatorUpstream } from './egress.ts'
import { enrolmentHandlers } from './enrolment.ts'
import { trafficHandlers } from './handlers.ts'
import type { ImpersonationSupport } from './impersonation-support.ts'
import { replaceOnUse } from './replaced-certificates.ts'
import {
  type CertificateRenewal,
  newServerCertificate,
  renewRegularly,
} from './server-certificates.ts'
import {
  type AgentServers,
  openAgentServers,
  type ServerKind,
  type ServerSources,
} from './servers.ts'
import { tokenSource } from './service-token.ts'
import { openSessions, type Session, type Sessions } from './sessions.ts'
import { sparingLog } from './sparing-log.ts'
import { userLimits } from './user-limits.ts'

/** Whatever changes without telling anybody (time, above all) is looked at this often. */
const SWEEP_MS = 5_000
/** What one user's unread bytes may take of this process. The pod has 512 MiB. */
const MAX_BUFFERED_BYTES = 64 * 1024 * 1024

/** Everything between a stream from a tunnel and the API server. */
export interface Traffic {
  readonly servers: AgentServers
  readonly upstream: Upstream
  stop(): void
}

/** Opens both inner servers and the way to the API server. */
export async function openTraffic(
  deps: AgentDeps,
  configuration: AgentConfiguration,
  api: KubernetesApi,
  state: AgentState,
  support: ImpersonationSupport,
): Promise<Traffic> {
  const { world, log } = deps
  const { cluster } = configuration
  const { identity, authorities, people, principals, names, ceiling, issuance, uses, witness } =
    state
  const audit = deps.audit ?? ((event: AuditEvent) => log.info('audit', { ...event }))
  const replace = replaceOnUse(principals, world, log)
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
    authorities,
    noteAdmitted: noteAdmittedCertificates(principals, world, log),
    names,
    directory: people,
  })
  const sessions = openSessions((session, why) => noteCut(log, session, why))
  const traffic = trafficHandlers({
    world,
    log,
    host: hosts.session,
    authentication,
    ceiling,
    apiServer,
    workloads: impersonatorUpstream(upstream, token, log, true),
    token,
    review,
    own: {
      cluster,
      principals,
      deviceOwner: (device) => people.state.deviceOwner(device)?.user.name,
      devicesOf: (user) => [...(people.state.users.get(user)?.devices.keys() ?? [])],
      log,
      authorities,
      uses,
      witness,
      mayCaller: review,
      protection: async () => ({
        names: names.current(),
        ceiling: ceiling.current(),
        server: await support.current(),
      }),
    },
    limits: userLimits(),
    audit: (event) => {
      uses.note(event)
      replace(event)
      audit(event)
    },
  })
  const enrolment = enrolmentHandlers({
    host: hosts.enrolment,
    issuance,
    log: sparingLog(log, world),
  })
  const certificates = await newCertificates(world, authorities, hosts)
  const servers = openAgentServers({
    world,
    log,
    userCas: () => authorities.userCas(),
    sessions,
    traffic,
    enrolment,
    hosts,
    certificates,
  })
  const renewal = renewRegularly(
    world,
    async () => servers.setCertificates(await newCertificates(world, authorities, hosts)),
    log,
  )
  const endFollowing = authorities.onChange(() => renewal.renew())
  const endCutting = cutWhatNoLongerStands(state, sessions, (session) =>
    authentication.requireStillStanding(session.certificate, session),
  )
  return {
    servers: {
      ...servers,
      accept: whenRenewed(servers.accept, renewal),
      acceptDirect: whenRenewed(servers.acceptDirect, renewal),
      acceptPipe: (pipe, clientAddress) => {
        const accept = () => servers.acceptPipe(pipe, clientAddress)
        whenRenewed(accept, renewal)('session', pipe.stream, clientAddress)
      },
    },
    upstream,
    stop: () => {
      renewal.stop()
      endFollowing()
      endCutting()
      servers.stop()
    },
  }
}

/** The machine may have slept past the certificates' time: a stream that comes then waits for new ones. */
function whenRenewed<Address>(
  accept: (kind: ServerKind, stream: Duplex, clientAddress: Address) => void,
  renewal: CertificateRenewal,
): typeof accept {
  return (kind, stream, clientAddress) => {
    const due = renewal.whenDue()
    if (due === undefined) return accept(kind, stream, clientAddress)
    stream.on('error', () => {})
    void due.then(() => {
      try {
        if (!stream.destroyed) accept(kind, stream, clientAddress)
      } catch {
        stream.destroy()
      }
    })
  }
}

/**
 * A revocation ends what its owner has open, whoever wrote it and wherever it was seen. Gives its
 * own end.
 */
function cutWhatNoLongerStands(
  { principals, directory, names, ceiling, authorities }: AgentState,
  sessions: Sessions,
  judge: (session: Session) => void,
): () => void {
  const ends = [
    principals.onRevoked(({ user }) => void sessions.cutUnless(judge, user)),
    directory.onChange(() => void sessions.cutUnless(judge)),
    names.onChange(() => void sessions.cutUnless(judge)),
    authorities.onChange(() => void sessions.cutUnless(judge)),
    // What runs was let in under another ceiling; which of it this one allows, nobody knows any more.
    ceiling.onReplaced(() => void sessions.cutUnless(newCeiling)),
  ]
  const sweep = setInterval(() => sessions.cutUnless(judge), SWEEP_MS).unref()
  const measure = setInterval(() => sessions.cutOverBudget(MAX_BUFFERED_BYTES, tooFull()), 1_000)
  measure.unref()
  return () => {
    clearInterval(sweep)
    clearInterval(measure)
    for (const end of ends) end()
  }
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
  { serverAuthority }: Pick<Authorities, 'serverAuthority'>,
  hosts: ServerSources['hosts'],
): Promise<ServerSources['certificates']> {
  const [session, enrolment] = await Promise.all([
    newServerCertificate(world, serverAuthority, hosts.session),
    newServerCertificate(world, serverAuthority, hosts.enrolment),
  ])
  return { session, enrolment }
}

function newCeiling(): never {
  throw new UnreachableError('MCM_CONFLICT', 'the owner has set another ceiling for this cluster')
}

function tooFull(): UnreachableError {
  return new UnreachableError('MCM_TIMEOUT', 'more bytes wait to be taken than one user may send')
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
