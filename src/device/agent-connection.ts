import { X509Certificate } from 'node:crypto'
import { type AgentApi, openAgentApi } from '../client/agent.ts'
import { openInner } from '../client/inner.ts'
import { standingServerCas } from '../directory/overlap.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { ALPN_HTTP2, clusterHost, enrolmentHost } from '../protocol/names.ts'
import type { Credential } from './kept-credential.ts'
import { openWay, type Traveller } from './way-to-agent.ts'

/** The inner layer to one cluster's agent, whatever carries it: its certificate must come from the server CA the directory names. */

/** An inner connection that asks for no certificate and can only enrol. `exporter` is of this connection. */
export async function openEnrolment(
  traveller: Traveller,
  cluster: ClusterRecord,
): Promise<{ agent: AgentApi; exporter(label: string): Buffer }> {
  const host = enrolmentHost(cluster.id)
  const stream = traveller.enrolment ?? (await openWay(traveller, cluster, 'enrolment'))
  const socket = await openInner(stream, {
    host,
    serverCaPem: serverCasPem(cluster, traveller.device.world.now()),
    alpn: [ALPN_HTTP2],
  })
  const exporter = (label: string) => socket.exportKeyingMaterial(32, label, Buffer.alloc(0))
  return { agent: openAgentApi(socket), exporter }
}

/** An inner connection as this device's user. Close it. */
export async function openSession(
  traveller: Traveller,
  cluster: ClusterRecord,
  credential: Credential,
): Promise<AgentApi> {
  const host = clusterHost(cluster.id)
  const stream = await openWay(traveller, cluster, 'session')
  const socket = await openInner(stream, {
    host,
    serverCaPem: serverCasPem(cluster, traveller.device.world.now()),
    certPem: credential.certificatePem,
    keyPem: credential.key,
    alpn: [ALPN_HTTP2],
  })
  return openAgentApi(socket)
}

/** The server CAs of which a cluster's agent may show a certificate, in PEM, one after the other. */
export function serverCasPem(cluster: ClusterRecord, now: Date): string {
  return standingServerCas(cluster, now).map(pemCertificate).join('')
}

/** A DER certificate as PEM (RFC 7468). */
export function pemCertificate(der: Uint8Array): string {
  return new X509Certificate(der).toString()
}
