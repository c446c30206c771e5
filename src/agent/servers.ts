/**
 * The agent's two inner servers: sessions and enrolment. It turns a byte stream from a tunnel into
 * a connection of somebody, or into its end. Invariant: a chain from elsewhere never sees an HTTP
 * answer.
 */

import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { isMcmError, messageOf } from '../errors.ts'
import { openListener } from '../forward/listener.ts'
import type { ListenerHandlers, ListenerTimeouts } from '../forward/listener-handlers.ts'
import { failureStatus, type Status } from '../kube/status.ts'
import type { AcceptedPipe } from '../pipe/agent-pipe.ts'
import { PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL } from '../pipe/proof.ts'
import { readUserCertificate, type UserCertificate } from '../pki/user-certificate.ts'
import { networkOf } from '../protocol/address.ts'
import { ENROLMENT_EXPORTER_LABEL } from '../protocol/messages.ts'
import type { Log, World } from '../world.ts'
import type { EnrolmentConnection } from './enrolment.ts'
import { refusingHandlers } from './handlers.ts'
import {
  type InnerCertificate,
  type InnerConnection,
  type InnerServer,
  openInnerServer,
} from './inner-server.ts'
import { ownStatusOf } from './own-status.ts'
import { addressFields, type Origin, Session, type Sessions } from './sessions.ts'
import { sparingLog } from './sparing-log.ts'
import { uuid } from './traffic.ts'

export interface ServerSources {
  readonly world: World
  readonly log: Log
  /** Whose certificates make a session, now. */
  userCas(): readonly Buffer[]
  readonly sessions: Sessions
  readonly traffic: ListenerHandlers<Session>
  readonly enrolment: ListenerHandlers<EnrolmentConnection>
  readonly hosts: { readonly session: string; readonly enrolment: string }
  readonly certificates: {
    readonly session: InnerCertificate
    readonly enrolment: InnerCertificate
  }
  readonly timeouts?: ListenerTimeouts
  readonly handshakeTimeoutMs?: number
}

export type ServerKind = 'session' | 'enrolment'

export interface AgentServers {
  /** Takes a stream of a tunnel over. @throws UnreachableError when there are too many at once */
  accept(kind: ServerKind, stream: Duplex, clientAddress: string | undefined): void
  /** The same for a pipe: a session that outlives the streams which carry it. */
  acceptPipe(pipe: AcceptedPipe, clientAddress: string | undefined): void
  /** The same for a connection to the agent's own address; it takes no place of those above. */
  acceptDirect(kind: ServerKind, stream: Duplex, clientAddress: string): void
  setCertificates(certificates: ServerSources['certificates']): void
  stop(): void
}

/** kubectl opens two for each run, the local proxy one for each cluster. */
const MAX_SESSIONS_PER_USER = 512
/**
 * Of more than so many the idle ones are retired. With a `proxy-url` client-go shares no connection between its clients
 * (`transport/cache.go`): kubectl opens one for each object of `apply -f`, and keeps all of them until it ends.
 */
const KEPT_SESSIONS_PER_USER = 128
const ENROLMENT_LIFETIME_MS = 60_000
const EXPORTER_BYTES = 32

export function openAgentServers(sources: ServerSources): AgentServers {
  const { timeouts } = sources
  const traffic = openListener(sources.traffic, {
    timeouts,
    takesExtendedConnect: true,
    isDistant: true,
  })
  const refusing = openListener<Status>(refusingHandlers(), { timeouts })
  const enrolment = openListener(sources.enrolment, { timeouts })
  const hubServers = innerServers(sources)
  // Anybody can dial the direct address: they fill neither the places of the tunnels nor the log.
  const directSources = { ...sources, log: sparingLog(sources.log, sources.world) }
  const directServers = innerServers(directSources)
  const begin = {
    session: (
      connection: InnerConnection,
      origin: Origin,
      carrier: Duplex,
      pipe?: AcceptedPipe,
    ) => {
      const from = origin.isDirect ? directSources : sources
      const session = openSession(from, connection, origin, carrier, pipe)
      const { socket, protocol } = connection
      if (session instanceof Session) {
        pipe?.arm(pipeExporterOf(socket), session.id, () => session.live.size > 0)
        session.retireIdle = traffic.accept(socket, protocol, session)
        sources.sessions.retireIdle(session.certificate.user, KEPT_SESSIONS_PER_USER)
      } else if (session) refusing.accept(socket, protocol, session)
      else socket.destroy()
    },
    enrolment: ({ socket, protocol }: InnerConnection, origin: Origin) => {
      const timer = setTimeout(() => socket.destroy(), ENROLMENT_LIFETIME_MS)
      socket.once('close', () => clearTimeout(timer))
      enrolment.accept(socket, protocol, { exporter: exporterOf(socket), ...origin })
    },
  }
  return {
    accept: (kind, stream, claimedAddress) => {
      const clientAddress = isIP(claimedAddress ?? '') ? claimedAddress : undefined
      hubServers[kind].accept(stream, clientAddress ?? '', (connection) =>
        begin[kind](connection, { clientAddress, isDirect: false }, stream),
      )
    },
    acceptPipe: (pipe, claimedAddress) => {
      const clientAddress = isIP(claimedAddress ?? '') ? claimedAddress : undefined
      hubServers.session.accept(pipe.stream, clientAddress ?? '', (connection) =>
        begin.session(connection, { clientAddress, isDirect: false }, pipe.stream, pipe),
      )
    },
    acceptDirect: (kind, stream, clientAddress) =>
      directServers[kind].accept(stream, networkOf(clientAddress), (connection) =>
        begin[kind](connection, { clientAddress, isDirect: true }, stream),
      ),
    setCertificates: (certificates) => {
      for (const servers of [hubServers, directServers]) {
        servers.session.setCertificate(certificates.session)
        servers.enrolment.setCertificate(certificates.enrolment)
      }
    },
    stop: () => {
      sources.sessions.cutAll()
      for (const listener of [traffic, refusing, enrolment]) listener.stop()
    },
  }
}

function innerServers(sources: ServerSources): Readonly<Record<ServerKind, InnerServer>> {
  return {
    session: innerServer(sources, 'session', true),
    enrolment: innerServer(sources, 'enrolment', false),
  }
}

function innerServer(
  { hosts, certificates, log, handshakeTimeoutMs }: ServerSources,
  kind: ServerKind,
  demandsCertificate: boolean,
): InnerServer {
  return openInnerServer({
    host: hosts[kind],
    certificate: certificates[kind],
    demandsCertificate,
    log,
    ...(handshakeTimeoutMs === undefined ? {} : { handshakeTimeoutMs }),
  })
}

/** A session; a Status for somebody whose name we refuse; undefined for a stranger. */
function openSession(
  { world, log, userCas, sessions }: ServerSources,
  { socket, certificateDer }: InnerConnection,
  origin: Origin,
  carrier: Duplex,
  pipe: AcceptedPipe | undefined,
): Session | Status | undefined {
  let certificate: UserCertificate
  try {
    certificate = readUserCertificate(certificateDer, userCas())
  } catch (error) {
    const isNamed = isMcmError(error) && error.code === 'MCM_FORBIDDEN'
    log.warn('certificate_refused', { reason: messageOf(error), ...addressFields(origin) })
    return isNamed ? ownStatusOf(error) : undefined
  }
  if (sessions.countOf(certificate.user) >= MAX_SESSIONS_PER_USER) return tooManySessions()
  const id = uuid(world.random(16))
  const session = new Session(id, certificate, origin, socket, carrier, pipe)
  sessions.add(session, socket)
  return session
}

function exporterOf(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(EXPORTER_BYTES, ENROLMENT_EXPORTER_LABEL, Buffer.alloc(0))
}

function pipeExporterOf(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL, Buffer.alloc(0))
}

function tooManySessions(): Status {
  const why = `mcm: you have ${MAX_SESSIONS_PER_USER} connections open, more are not taken`
  return failureStatus(429, 'TooManyRequests', why, { retryAfterSeconds: 1 })
}
