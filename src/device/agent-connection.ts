import { X509Certificate } from 'node:crypto'
import { type AgentApi, openAgentApi } from '../client/agent.ts'
import { openInner } from '../client/inner.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { ALPN_HTTP2, clusterHost, enrolmentHost } from '../protocol/names.ts'
import type { Credential } from './credentials.ts'
import type { FleetSession } from './fleet-session.ts'

/** The inner layer to one cluster's agent, through the hub: its certificate must come from the server CA the directory names. */

const PORT = 443

/** An inner connection that asks for no certificate and can only enrol. `exporter` is of this connection. */
export async function openEnrolment(
  session: FleetSession,
  cluster: ClusterRecord,
): Promise<{ agent: AgentApi; exporter(label: string): Buffer }> {
  const host = enrolmentHost(cluster.id)
  const stream = await session.hub.connect(`${host}:${PORT}`)
  const socket = await openInner(stream, {
    host,
    serverCaPem: pemCertificate(cluster.serverCaDer),
    alpn: [ALPN_HTTP2],
  })
  const exporter = (label: string) => socket.exportKeyingMaterial(32, label, Buffer.alloc(0))
  return { agent: openAgentApi(socket), exporter }
}

/** An inner connection as this device's user. Close it. */
export async function openSession(
  session: FleetSession,
  cluster: ClusterRecord,
  credential: Credential,
): Promise<AgentApi> {
  const host = clusterHost(cluster.id)
  const stream = await session.hub.connect(`${host}:${PORT}`)
  const socket = await openInner(stream, {
    host,
    serverCaPem: pemCertificate(cluster.serverCaDer),
    certPem: credential.certificatePem,
    keyPem: credential.key,
    alpn: [ALPN_HTTP2],
  })
  return openAgentApi(socket)
}

/** A DER certificate as PEM (RFC 7468). */
export function pemCertificate(der: Uint8Array): string {
  return new X509Certificate(der).toString()
}
