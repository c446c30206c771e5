import type { Directory } from '../directory/directory.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { TrustError } from '../errors.ts'
import { type AccessMode, type KubeconfigEntries, kubeconfigEntries } from '../kubeconfig/model.ts'
import { checkHubCertificate } from '../pki/hub-certificate.ts'
import { clusterHost } from '../protocol/names.ts'
import { pemCertificate } from './agent-connection.ts'
import { reachableClusters, requireCluster } from './cluster-lookup.ts'
import { credentialInSession } from './credentials.ts'
import type { FleetSession } from './fleet-session.ts'
import { inOrder } from './hub-connection.ts'
import { localProxy } from './local-proxy.ts'

/** Entries for plain kubectl, made only of what the verified directory says. */

export interface KubeconfigOptions {
  /** Names or ids; none: every cluster this user may reach. */
  readonly clusters: readonly string[]
  readonly mode: 'exec' | 'proxy' | 'static'
  readonly namespace?: string
  /** How kubectl starts this mcm, and with what in its environment. */
  readonly self: { readonly command: string; readonly args: readonly string[] }
  readonly env: Readonly<Record<string, string>>
}

/** @throws NotFoundError MCM_CLUSTER_UNKNOWN, and for static mode as `credentialFor` */
export async function kubeconfigFor(
  session: FleetSession,
  options: KubeconfigOptions,
): Promise<KubeconfigEntries[]> {
  const { directory, state } = session
  const clusters =
    options.clusters.length > 0
      ? options.clusters.map((name) => requireCluster(directory, name))
      : reachableClusters(directory, state.user)
  const hub = hubReference(session, directory)
  return Promise.all(
    clusters.map(async (cluster) =>
      kubeconfigEntries(
        {
          name: cluster.name,
          clusterId: cluster.id,
          serverCaPem: pemCertificate(cluster.serverCaDer),
          hub,
          mode: await accessMode(session, options, cluster),
          ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
        },
        clusterHost(cluster.id),
      ),
    ),
  )
}

/** The hub this connection goes to; its leaf is checked once more, since kubectl will trust it. */
function hubReference(
  { state, connection, device }: FleetSession,
  directory: Directory,
): { endpoint: string; certificatePem: string } {
  const { pin, endpoint } = connection.candidate
  const hub = directory.state.hubs.find((each) => each.pin === pin) ?? directory.state.hubs[0]
  if (!hub) {
    throw new TrustError('MCM_DIRECTORY_INVALID', 'the directory names no hub', {
      hint: 'an administrator has to sign one: mcm login with the start link again',
    })
  }
  const endpoints = inOrder(hub, state.endpoint)
  checkHubCertificate(hub.certificateDer, { endpoints, now: device.world.now() })
  return {
    endpoint: endpoints.includes(endpoint) ? endpoint : endpoints[0]!,
    certificatePem: pemCertificate(hub.certificateDer),
  }
}

async function accessMode(
  session: FleetSession,
  options: KubeconfigOptions,
  cluster: ClusterRecord,
): Promise<AccessMode> {
  if (options.mode === 'static') {
    const { certificatePem, key } = await credentialInSession(session, cluster.id)
    return { kind: 'static', certificatePem, key }
  }
  if (options.mode === 'proxy') {
    const { port, caPem, client } = await localProxy(session.device)
    const server = `https://127.0.0.1:${port}/${cluster.id}`
    return { kind: 'proxy', server, caPem, certificatePem: client.certPem, key: client.keyPem }
  }
  const args = [...options.self.args, 'credential', '--cluster', cluster.id]
  return { kind: 'exec', command: options.self.command, args, env: options.env }
}
