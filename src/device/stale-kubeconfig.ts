import { X509Certificate } from 'node:crypto'
import type { ClusterRecord, HubRecord } from '../directory/state.ts'
import {
  type KubeconfigFiles,
  type KubeconfigLocation,
  kubeconfigPaths,
} from '../kubeconfig/file.ts'
import { parseKubeconfig } from '../kubeconfig/merge.ts'
import type { KubeconfigCluster } from '../kubeconfig/model.ts'
import { clusterHost } from '../protocol/names.ts'
import type { Device } from './device.ts'
import { offlineDirectory } from './directory-cache.ts'

/**
 * Whether the kubeconfig that kubectl reads will go on working: it holds certificates of its own, and nobody but the
 * plugin is there to say that the directory names others by now (PROTOCOL §12.2).
 */

/** What to tell whoever uses it, or undefined: all is well, or there is no telling. Never rejects. */
export async function staleKubeconfig(
  device: Device,
  clusterId: string,
  location: KubeconfigLocation,
  files: Pick<KubeconfigFiles, 'readTextIfAny'>,
): Promise<string | undefined> {
  try {
    const { state } = await offlineDirectory(device.home)
    const cluster = state.clusters.get(clusterId)
    if (!cluster) return undefined
    for (const path of kubeconfigPaths(location)) {
      const text = await files.readTextIfAny(path)
      if (!text?.includes(clusterHost(clusterId))) continue
      const entries = parseKubeconfig(text, path).clusters ?? []
      const stale = entries.find(
        (each) => each.cluster && isStale(each.cluster, cluster, state.hubs),
      )
      if (stale) return sentence(path, stale.name, cluster)
    }
    return undefined
  } catch {
    // Somebody else's damaged file is no reason to be without a certificate.
    return undefined
  }
}

/** An entry that goes to the agent by a hub and lacks the newest certificate of either. */
function isStale(
  entry: KubeconfigCluster,
  { id, serverCaDer }: ClusterRecord,
  hubs: readonly HubRecord[],
): boolean {
  const data = entry['certificate-authority-data']
  if (!entry.server?.startsWith(`https://${clusterHost(id)}`) || data === undefined) return false
  const held = certificatesIn(Buffer.from(data, 'base64').toString('utf8'))
  const holds = (der: Buffer) => held.some((each) => each.equals(der))
  const hub = hubs.find(({ endpoints, privateEndpoints }) =>
    [...endpoints, ...privateEndpoints].some((at) => entry['proxy-url'] === `https://${at}`),
  )
  return !holds(serverCaDer) || (hub !== undefined && !holds(hub.certificateDer))
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

function certificatesIn(pem: string): Buffer[] {
  return (pem.match(BLOCK) ?? []).map((block) => new X509Certificate(block).raw)
}

function sentence(path: string, entry: string, { name }: ClusterRecord): string {
  return `mcm: ${entry} in ${path} holds certificates that are being replaced: run mcm kubeconfig ${name} --merge`
}
