import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { type AgentApi, openAgentApi } from '../client/agent.ts'
import { type InnerOptions, openInner } from '../client/inner.ts'
import { standingServerCas } from '../directory/overlap.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { UnreachableError } from '../errors.ts'
import { ALPN_HTTP2, clusterHost, enrolmentHost } from '../protocol/names.ts'
import type { Credential } from './kept-credential.ts'
import { openWay, type Traveller, type Way } from './way-to-agent.ts'

/** The inner layer to one cluster's agent, whatever carries it: its certificate must come from the server CA the directory names. */

/** An inner connection that asks for no certificate and can only enrol. `exporter` is of this connection. */
export async function openEnrolment(
  traveller: Traveller,
  cluster: ClusterRecord,
): Promise<{ agent: AgentApi; exporter(label: string): Buffer }> {
  const { enrolment } = traveller
  const way = async (): Promise<Way> =>
    enrolment ? { stream: enrolment, isByHub: false } : openWay(traveller, cluster, 'enrolment')
  const host = enrolmentHost(cluster.id)
  const { socket, agent } = await openAgent(way, traveller, cluster, { host })
  const exporter = (label: string) => socket.exportKeyingMaterial(32, label, Buffer.alloc(0))
  return { agent, exporter }
}

/** An inner connection as this device's user. Close it. */
export async function openSession(
  traveller: Traveller,
  cluster: ClusterRecord,
  credential: Credential,
): Promise<AgentApi> {
  const way = () => openWay(traveller, cluster, 'session')
  const { agent } = await openAgent(way, traveller, cluster, {
    host: clusterHost(cluster.id),
    certPem: credential.certificatePem,
    keyPem: credential.key,
  })
  return agent
}

/** A hub that stands in the way may do so at once, in the handshake, or in silence at any time after it. */
async function openAgent(
  way: () => Promise<Way>,
  { device, hindered }: Traveller,
  cluster: ClusterRecord,
  options: Pick<InnerOptions, 'host' | 'certPem' | 'keyPem'>,
): Promise<{ socket: TLSSocket; agent: AgentApi }> {
  const serverCaPem = serverCasPem(cluster, device.world.now())
  const noteHub = (isByHub: boolean) => void (isByHub && hindered?.add(cluster.id))
  const taken = await way().catch((error: unknown) => {
    // Where there was no way at all the direct address has been tried.
    noteHub(!(error instanceof UnreachableError))
    throw error
  })
  try {
    const socket = await openInner(taken.stream, { ...options, serverCaPem, alpn: [ALPN_HTTP2] })
    return { socket, agent: openAgentApi(socket, () => noteHub(taken.isByHub)) }
  } catch (error) {
    noteHub(taken.isByHub)
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
