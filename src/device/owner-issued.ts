import type { Directory } from '../directory/directory.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { IdentityError, NotFoundError, UsageError } from '../errors.ts'

/** Clusters whose owner issues, and what to tell whoever comes to the wrong place for a certificate. */

/** The cluster of a request. @throws NotFoundError MCM_CLUSTER_UNKNOWN; UsageError MCM_USAGE where the agent issues */
export function requireOwnerIssued({ state }: Directory, clusterId: string): ClusterRecord {
  const cluster = state.clusters.get(clusterId)
  if (cluster?.issuer === 'local') return cluster
  if (cluster) throw agentIssues(cluster)
  throw new NotFoundError('MCM_CLUSTER_UNKNOWN', `no cluster ${clusterId} is known to you`, {
    hint: 'mcm clusters lists them; this is for another cluster',
  })
}

/** Who registered a cluster, and on which device, as a person reads it. */
export function ownerOf(directory: Directory, cluster: ClusterRecord): string {
  const { statements, state } = directory
  const signer = statements[registrationOf(directory, cluster)]?.signers[0]
  if (signer === undefined) return 'its owner'
  const known = state.deviceOwner(signer)
  if (known) return `${known.user.name} on ${known.device.name}`
  // Other people's devices are not everybody's to see; who is an administrator is.
  return state.admins.get(signer)?.user ?? 'its owner'
}

/** The number of its first statement: any administrator may have signed a later one. */
function registrationOf({ known }: Directory, { id, seq }: ClusterRecord): number {
  const numbers = [...known].flatMap(([at, each]) =>
    each?.type === 'cluster' && each.detail.id === id ? [at] : [],
  )
  return Math.min(seq, ...numbers)
}

/** For a person: nobody but the owner can give them this. */
export function ownerSigns(directory: Directory, cluster: ClusterRecord): IdentityError {
  const owner = ownerOf(directory, cluster)
  return new IdentityError(
    'MCM_OWNER_SIGNS',
    `the certificates of ${cluster.name} are signed by ${owner}`,
    {
      hint: `mcm certs request ${cluster.name}, and send them what it prints`,
    },
  )
}

/** For somebody who would sign without the key. */
export function notTheOwner(directory: Directory, cluster: ClusterRecord): IdentityError {
  const message = `the user CA of ${cluster.name} is not on this machine`
  return new IdentityError('MCM_OWNER_SIGNS', message, {
    hint: `sign it where the cluster was registered: ${ownerOf(directory, cluster)}`,
  })
}

/** There is nothing to ask an owner for. */
export function agentIssues({ name }: ClusterRecord): UsageError {
  return new UsageError('MCM_USAGE', `the agent of ${name} issues its certificates itself`, {
    hint: 'mcm login fetches them',
  })
}
