/**
 * The agent's two inner servers: sessions and enrolment. It turns a byte stream from a tunnel into
 * a connection of somebody, or into its end. Invariant: a chain from elsewhere never sees an HTTP
 * answer.
 */

import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { isMcmError, messageOf } from '../errors.ts'
import { type ListenerHandlers, type ListenerTimeouts, openListener } from '../forward/listener.ts'
import { failureStatus, type Status } from '../kube/status.ts'
import { readUserCertificate, type UserCertificate } from '../pki/user-certificate.ts'
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
import { Session, type Sessions } from './sessions.ts'
import { uuid } from './traffic.ts'

export interface ServerSources {
  readonly world: World
  readonly log: Log
  readonly userCaDer: Buffer
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

export interface AgentServers {
  /** Takes a stream of a tunnel over. @throws UnreachableError when there are too many at once */
  accept(kind: 'session' | 'enrolment', stream: Duplex, clientAddress: string | undefined): void
  setCertificates(certificates: ServerSources['certificates']): void
  stop(): void
}

/** kubectl opens two for each run, the local proxy one for each cluster. */
const MAX_SESSIONS_PER_USER = 512
const ENROLMENT_LIFETIME_MS = 60_000
const EXPORTER_BYTES = 32

export function openAgentServers(sources: ServerSources): AgentServers {
  const traffic = openListener(sources.traffic, sources.timeouts)
  const refusing = openListener<Status>(refusingHandlers(), sources.timeouts)
  const enrolment = openListener(sources.enrolment, sources.timeouts)
  const servers = {
    session: innerServer(sources, 'session', true),
    enrolment: innerServer(sources, 'enrolment', false),
  }
  const begin = {
    session: (connection: InnerConnection, clientAddress: string | undefined, carrier: Duplex) => {
      const session = openSession(sources, connection, clientAddress, carrier)
      const { socket, protocol } = connection
      if (session instanceof Session) traffic.accept(socket, protocol, session)
      else if (session) refusing.accept(socket, protocol, session)
      else socket.destroy()
    },
    enrolment: ({ socket, protocol }: InnerConnection, clientAddress: string | undefined) => {
      const timer = setTimeout(() => socket.destroy(), ENROLMENT_LIFETIME_MS)
      socket.once('close', () => clearTimeout(timer))
      enrolment.accept(socket, protocol, { exporter: exporterOf(socket), clientAddress })
    },
  }
  return {
    accept: (kind, stream, claimedAddress) => {
      const clientAddress = isIP(claimedAddress ?? '') ? claimedAddress : undefined
      servers[kind].accept(stream, clientAddress ?? '', (connection) =>
        begin[kind](connection, clientAddress, stream),
      )
    },
    setCertificates: (certificates) => {
      servers.session.setCertificate(certificates.session)
      servers.enrolment.setCertificate(certificates.enrolment)
    },
    stop: () => {
      sources.sessions.cutAll()
      for (const listener of [traffic, refusing, enrolment]) listener.stop()
    },
  }
}

function innerServer(
  { hosts, certificates, log, handshakeTimeoutMs }: ServerSources,
  kind: 'session' | 'enrolment',
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
  { world, log, userCaDer, sessions }: ServerSources,
  { socket, certificateDer }: InnerConnection,
  clientAddress: string | undefined,
  carrier: Duplex,
): Session | Status | undefined {
  let certificate: UserCertificate
  try {
    certificate = readUserCertificate(certificateDer, userCaDer)
  } catch (error) {
    const isNamed = isMcmError(error) && error.code === 'MCM_FORBIDDEN'
    log.warn('certificate_refused', { reason: messageOf(error), addressByHub: clientAddress })
    return isNamed ? ownStatusOf(error) : undefined
  }
  if (sessions.countOf(certificate.user) >= MAX_SESSIONS_PER_USER) return tooManySessions()
  const session = new Session(uuid(world.random(16)), certificate, clientAddress, socket, carrier)
  sessions.add(session, socket)
  return session
}

function exporterOf(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(EXPORTER_BYTES, ENROLMENT_EXPORTER_LABEL, Buffer.alloc(0))
}

function tooManySessions(): Status {
  const why = `mcm: you have ${MAX_SESSIONS_PER_USER} connections open, more are not taken`
  return failureStatus(429, 'TooManyRequests', why, { retryAfterSeconds: 1 })
}
