import { standingLeaves, writtenLeaves, writtenServerCas } from '../directory/overlap.ts'
import type { ClusterRecord, HubRecord } from '../directory/state.ts'
import { TrustError } from '../errors.ts'
import { type AccessMode, type KubeconfigEntries, kubeconfigEntries } from '../kubeconfig/model.ts'
import { checkHubCertificate } from '../pki/hub-certificate.ts'
import { clusterHost } from '../protocol/names.ts'
import { pemCertificate } from './agent-connection.ts'
import { reachableClusters, requireCluster } from './cluster-lookup.ts'
import { markedCopied } from './copied-credential.ts'
import { credentialInSession } from './credentials.ts'
import type { FleetSession } from './fleet-session.ts'
import { inOrder } from './hub-connection.ts'
import { type LocalProxy, localProxy } from './local-proxy.ts'

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

/** What entries are made of: a connection to the hub, or only the directory kept here. */
export type KubeconfigSource = Pick<FleetSession, 'device' | 'state' | 'directory'> &
  Partial<Pick<FleetSession, 'connection'>>

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
  const modes = await Promise.all(clusters.map((cluster) => accessMode(session, options, cluster)))
  const chosen = clusters.map((cluster, index) => ({ cluster, mode: modes[index]! }))
  return clusterEntries(session, chosen, options.namespace)
}

export interface ChosenCluster {
  readonly cluster: ClusterRecord
  readonly mode: AccessMode
}

/** The entries of clusters, in their order. @throws TrustError when the directory names no hub, or its leaf cannot be trusted */
export function clusterEntries(
  source: KubeconfigSource,
  chosen: readonly ChosenCluster[],
  namespace?: string,
): KubeconfigEntries[] {
  const hub = hubReference(source)
  return chosen.map(({ cluster, mode }) => {
    const { id, name } = cluster
    const serverCas = writtenServerCas(cluster, source.device.world.now())
    const serverCaPem = serverCas.map(pemCertificate).join('')
    const access = { name, clusterId: id, serverCaPem, hub, mode }
    const place = namespace === undefined ? {} : { namespace }
    return kubeconfigEntries({ ...access, ...place }, clusterHost(id))
  })
}

/** The hub this connection goes to; its leaf (both, during a rotation) is checked once more, since kubectl will trust it. */
function hubReference({ state, connection, device, directory }: KubeconfigSource): {
  endpoint: string
  certificatePem: string
} {
  const candidate = connection?.candidate
  const { hubs } = directory.state
  const now = device.world.now()
  const isShown = (each: HubRecord) =>
    standingLeaves(each, now).some(({ pin }) => pin === candidate?.pin)
  const hub = hubs.find(isShown) ?? hubs[0]
  if (!hub) {
    throw new TrustError('MCM_DIRECTORY_INVALID', 'the directory names no hub', {
      hint: 'an administrator has to sign one: mcm login with the start link again',
    })
  }
  const endpoints = inOrder(hub, state.endpoint)
  const leaves = writtenLeaves(hub, now)
  for (const der of leaves) checkHubCertificate(der, { endpoints, now })
  return {
    endpoint: endpoints.find((each) => each === candidate?.endpoint) ?? endpoints[0]!,
    certificatePem: leaves.map(pemCertificate).join(''),
  }
}

async function accessMode(
  session: FleetSession,
  options: KubeconfigOptions,
  cluster: ClusterRecord,
): Promise<AccessMode> {
  if (options.mode === 'static') {
    const credential = await credentialInSession(session, cluster.id)
    const { certificatePem, key } = await markedCopied(session.device, cluster.id, credential)
    return { kind: 'static', certificatePem, key }
  }
  if (options.mode === 'proxy') return proxyAccess(await localProxy(session.device), cluster)
  return pluginAccess(options, cluster)
}

/** Through `mcm proxy` on this machine. */
export function proxyAccess(
  { port, caPem, client }: LocalProxy,
  cluster: ClusterRecord,
): AccessMode {
  const server = `https://127.0.0.1:${port}/${cluster.id}`
  return { kind: 'proxy', server, caPem, certificatePem: client.certPem, key: client.keyPem }
}

/** Through the hub, with `mcm credential` as plugin. */
export function pluginAccess(
  { self, env }: Pick<KubeconfigOptions, 'self' | 'env'>,
  cluster: ClusterRecord,
): AccessMode {
  const args = [...self.args, 'credential', '--cluster', cluster.id]
  return { kind: 'exec', command: self.command, args, env }
}
