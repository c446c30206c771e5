import { X509Certificate } from 'node:crypto'
import { writtenLeaves, writtenServerCas } from '../directory/overlap.ts'
import type { ClusterRecord, HubRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import {
  type KubeconfigFiles,
  type KubeconfigLocation,
  kubeconfigPaths,
} from '../kubeconfig/file.ts'
import { parseKubeconfig } from '../kubeconfig/merge.ts'
import type { KubeconfigCluster } from '../kubeconfig/model.ts'
import { clusterHost } from '../protocol/names.ts'
import { withFileLock } from '../store/files.ts'
import {
  type CertificateFile,
  readCertificateFile,
  writeCertificateFile,
} from './certificate-file.ts'
import type { Device } from './device.ts'
import { offlineDirectory } from './directory-cache.ts'
import { certificatePath } from './home.ts'

/**
 * Whether the kubeconfig that kubectl reads will go on working: it holds certificates of its own, and nobody but the
 * plugin is there to say that the directory names others by now (PROTOCOL §12.2).
 */

/** What an entry trusts and where it goes. */
export type GivenCluster = Pick<
  KubeconfigCluster,
  'server' | 'proxy-url' | 'certificate-authority-data'
>

/**
 * What to tell whoever uses this very entry, or undefined: all is well, which is remembered under the name `trust` until
 * the directory says otherwise, or there is no telling. Never rejects.
 */
export async function staleEntry(
  device: Device,
  clusterId: string,
  given: GivenCluster,
  trust: string,
): Promise<string | undefined> {
  try {
    const { state } = await offlineDirectory(device.home)
    const cluster = state.clusters.get(clusterId)
    if (!cluster) return undefined
    const now = device.world.now()
    if (isStale(given, cluster, state.hubs, now)) return sentence('the kubeconfig in use', cluster)
    const ends = [cluster, ...state.hubs].flatMap(({ previous }) => previous?.until ?? [])
    const next = ends.filter((each) => each > now).sort((a, b) => a.getTime() - b.getTime())[0]
    await noteChecked(device, clusterId, {
      trust,
      ...(next ? { until: formatTime(next) } : {}),
    })
    return undefined
  } catch {
    return undefined
  }
}

/** Whoever has the lock renews, and looks for itself. */
async function noteChecked(
  device: Device,
  clusterId: string,
  checked: NonNullable<CertificateFile['checked']>,
): Promise<void> {
  const path = certificatePath(device.home, clusterId)
  const note = async () => {
    const file = await readCertificateFile(path)
    if (file) await writeCertificateFile(path, { ...file, checked })
  }
  await withFileLock(path, note, { waitMs: 0 })
}

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
        (each) => each.cluster && isStale(each.cluster, cluster, state.hubs, device.world.now()),
      )
      if (stale) return sentence(`${stale.name} in ${path}`, cluster)
    }
    return undefined
  } catch {
    // Somebody else's damaged file is no reason to be without a certificate.
    return undefined
  }
}

/** An entry that goes to the agent by a hub, and lacks the newest certificate of either or trusts one that is over. */
function isStale(
  entry: GivenCluster,
  cluster: ClusterRecord,
  hubs: readonly HubRecord[],
  now: Date,
): boolean {
  const { id, serverCaDer } = cluster
  const data = entry['certificate-authority-data']
  if (!entry.server?.startsWith(`https://${clusterHost(id)}`) || data === undefined) return false
  const held = certificatesIn(Buffer.from(data, 'base64').toString('utf8'))
  const holds = (der: Buffer) => held.some((each) => each.equals(der))
  const hub = hubs.find(({ endpoints, privateEndpoints }) =>
    [...endpoints, ...privateEndpoints].some((at) => entry['proxy-url'] === `https://${at}`),
  )
  if (!holds(serverCaDer) || (hub !== undefined && !holds(hub.certificateDer))) return true
  const leaves = hubs.flatMap((each) => writtenLeaves(each, now))
  const standing = [...writtenServerCas(cluster, now), ...leaves]
  return held.some((each) => !standing.some((der) => der.equals(each)))
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

function certificatesIn(pem: string): Buffer[] {
  return (pem.match(BLOCK) ?? []).map((block) => new X509Certificate(block).raw)
}

function sentence(entry: string, { name }: ClusterRecord): string {
  return `mcm: ${entry} holds certificates that were replaced, or are being replaced: run mcm kubeconfig ${name} --merge`
}
