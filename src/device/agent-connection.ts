import { X509Certificate } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { type AgentApi, openAgentApi } from '../client/agent.ts'
import { type InnerOptions, openInner } from '../client/inner.ts'
import { standingServerCas } from '../directory/overlap.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { UnreachableError } from '../errors.ts'
import { ALPN_HTTP2, clusterHost, enrolmentHost } from '../protocol/names.ts'
import type { Credential } from './kept-credential.ts'
import { openWay, type Traveller } from './way-to-agent.ts'

/** The inner layer to one cluster's agent, whatever carries it: its certificate must come from the server CA the directory names. */

/** An inner connection that asks for no certificate and can only enrol. `exporter` is of this connection. */
export async function openEnrolment(
  traveller: Traveller,
  cluster: ClusterRecord,
): Promise<{ agent: AgentApi; exporter(label: string): Buffer }> {
  const way = async () => traveller.enrolment ?? openWay(traveller, cluster, 'enrolment')
  const socket = await openInnerOn(way, traveller, cluster, { host: enrolmentHost(cluster.id) })
  const exporter = (label: string) => socket.exportKeyingMaterial(32, label, Buffer.alloc(0))
  return { agent: openAgentApi(socket), exporter }
}

/** An inner connection as this device's user. Close it. */
export async function openSession(
  traveller: Traveller,
  cluster: ClusterRecord,
  credential: Credential,
): Promise<AgentApi> {
  const way = () => openWay(traveller, cluster, 'session')
  const socket = await openInnerOn(way, traveller, cluster, {
    host: clusterHost(cluster.id),
    certPem: credential.certificatePem,
    keyPem: credential.key,
  })
  return openAgentApi(socket)
}

async function openInnerOn(
  way: () => Promise<Duplex>,
  { device, hindered }: Traveller,
  cluster: ClusterRecord,
  options: Pick<InnerOptions, 'host' | 'certPem' | 'keyPem'>,
): Promise<TLSSocket> {
  const serverCaPem = serverCasPem(cluster, device.world.now())
  let stream: Duplex | undefined
  try {
    stream = await way()
    return await openInner(stream, { ...options, serverCaPem, alpn: [ALPN_HTTP2] })
  } catch (error) {
    // Where there was no way at all the direct address has been tried.
    if (stream || !(error instanceof UnreachableError)) hindered?.add(cluster.id)
    throw error
  }
}

/** The server CAs of which a cluster's agent may show a certificate, in PEM, one after the other. */
export function serverCasPem(cluster: ClusterRecord, now: Date): string {
  return standingServerCas(cluster, now).map(pemCertificate).join('')
}

/** A DER certificate as PEM (RFC 7468). */
export function pemCertificate(der: Uint8Array): string {
  return new X509Certificate(der).toString()
}
