import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import type { CertificateUse, IssuedCertificate } from '../protocol/messages.ts'
import { readCertificateFile } from './certificate-file.ts'
import { withCluster } from './cluster-access.ts'
import { reachableClusters } from './cluster-lookup.ts'
import { type ClusterProblem, problemAt } from './cluster-problem.ts'
import { selectClusters } from './cluster-selection.ts'
import { certificatePath } from './home.ts'
import { noDirectAddress, type Traveller } from './way-to-agent.ts'

/** Certificates of many clusters, each as the agent that has issued it says. */

export interface CertificateRow {
  /** Name of the cluster. */
  readonly cluster: string
  readonly clusterId: string
  readonly user: string
  readonly device: { readonly id: string; readonly name?: string }
  readonly serial: string
  readonly fingerprint: string
  /** RFC 3339, as all times here. */
  readonly issued: string
  readonly expires: string
  readonly state: 'stands' | 'replaced' | 'revoked' | 'purged'
  /** When it came to that; absent while it stands. */
  readonly since?: string
  readonly lastUsed?: CertificateUse
  /** The one that this machine has. */
  readonly isThis: boolean
}

export interface CertificateList {
  /** By cluster, user, device, and the time they end. */
  readonly certificates: readonly CertificateRow[]
  /** Clusters that could not be asked. */
  readonly problems: readonly ClusterProblem[]
}

export interface CertificateQuery {
  /** As for `selectClusters`; none: every cluster this user may reach. */
  readonly clusters: readonly string[]
  /** Everybody's, for whoever may list the agent's Secrets in that cluster. */
  readonly all: boolean
  /** Only this user's. */
  readonly user?: string
  /** Those in the bin instead of those on the list. */
  readonly bin: boolean
  /** A cluster whose agent could not be brought what it lacks of the directory is a problem; it is waited for. */
  readonly bringsDirectory?: boolean
}

/** Every cluster is asked, whoever answers for another. @throws NotFoundError MCM_CLUSTER_UNKNOWN, AccessDeniedError MCM_NO_GRANT, UsageError */
export async function listCertificates(
  session: Traveller,
  query: CertificateQuery,
): Promise<CertificateList> {
  const clusters = chosenClusters(session, query.clusters)
  const outcomes = await session.device.progress.step(
    `certificates of ${clusters.length} clusters`,
    () => Promise.all(clusters.map((cluster) => certificatesIn(session, cluster, query))),
  )
  return {
    certificates: outcomes.flatMap(({ certificates }) => certificates),
    problems: outcomes.flatMap(({ problems }) => problems),
  }
}

/** Those named, or every one this user may reach. @throws UnreachableError where the hub is left out and none has an address */
export function chosenClusters(
  { directory, state, isDirect }: Traveller,
  selectors: readonly string[],
): readonly ClusterRecord[] {
  const clusters =
    selectors.length === 0
      ? reachableClusters(directory, state.user)
      : selectClusters(directory, state.user, { all: false, selectors })
  const isNowhere = clusters.length > 0 && clusters.every(({ direct }) => direct === undefined)
  if (isDirect && isNowhere) throw noDirectAddress(clusters)
  return clusters
}

async function certificatesIn(
  session: Traveller,
  cluster: ClusterRecord,
  { all, user, bin, bringsDirectory }: CertificateQuery,
): Promise<CertificateList> {
  const problems: ClusterProblem[] = []
  const unbrought = (problem: string) => void problems.push({ cluster: cluster.name, problem })
  const isOfOthers = all || (user !== undefined && user !== session.state.user)
  try {
    const issued = await withCluster(
      session,
      cluster,
      ({ agent }) => agent.certificates(isOfOthers ? 'all' : 'self', bin ? 'bin' : 'list'),
      bringsDirectory ? unbrought : undefined,
    )
    const kept = await readCertificateFile(certificatePath(session.device.home, cluster.id))
    const rows = issued
      .filter((each) => user === undefined || each.user === user)
      .map((each) => rowOf(session, cluster, each, each.fingerprint === kept?.fingerprint))
    return { certificates: rows.sort(byOwner), problems }
  } catch (error) {
    return { certificates: [], problems: [problemAt(cluster, error)] }
  }
}

function rowOf(
  { directory }: Traveller,
  { id, name }: ClusterRecord,
  certificate: IssuedCertificate,
  isThis: boolean,
): CertificateRow {
  const { user, device, serial, fingerprint, notBefore, notAfter, lastUsed } = certificate
  const known = directory.state.users.get(user)?.devices.get(device)
  return {
    cluster: name,
    clusterId: id,
    user,
    device: { id: device, ...(known ? { name: known.name } : {}) },
    serial,
    fingerprint,
    issued: notBefore,
    expires: notAfter,
    ...stateOf(certificate, known?.revoked),
    ...(lastUsed ? { lastUsed } : {}),
    isThis,
  }
}

/** What ends it most counts; the directory may know more than the agent has written. */
function stateOf({ revoked, replaced, purged }: IssuedCertificate, deviceRevoked?: Date) {
  const ended = revoked ?? (deviceRevoked && formatTime(deviceRevoked))
  if (purged !== undefined) return { state: 'purged', since: purged } as const
  if (ended !== undefined) return { state: 'revoked', since: ended } as const
  if (replaced !== undefined) return { state: 'replaced', since: replaced } as const
  return { state: 'stands' } as const
}

function byOwner(a: CertificateRow, b: CertificateRow): number {
  return sortKey(a) < sortKey(b) ? -1 : 1
}

function sortKey({ user, device, expires, serial }: CertificateRow): string {
  return [user, device.name ?? device.id, expires, serial].join('\u0000')
}
