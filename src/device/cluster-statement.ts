import { DEFAULT_PREFIX } from '../access/identity.ts'
import {
  type ClusterDetail,
  type Detail,
  type DirectAddress,
  detailText,
} from '../directory/details.ts'
import type { verifyPublication } from '../directory/proofs.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { TrustError } from '../errors.ts'
import { keyId } from '../protocol/keys.ts'
import type { Draft } from './append.ts'
import type { FleetSession } from './fleet-session.ts'

/** What an owner signs about a cluster: what it is, and that they are a member of it. */

/** Shown wherever the cluster is: its owner let the agent speak for anybody. */
export const IMPERSONATE_ANY_LABEL = 'mcm.dev/impersonate'

/** What the owner has chosen about a cluster. */
export interface ClusterWish {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly prefix?: string
  readonly impersonateAny?: boolean
  /** Who issues its certificates; the agent unless told. */
  readonly issuer?: ClusterDetail['issuer']
  /** Where the agent listens itself. */
  readonly direct?: DirectAddress
}

type Published = Awaited<ReturnType<typeof verifyPublication>>

/** The statements that are missing. @throws TrustError MCM_PAIRING_MISMATCH when the cluster has another agent by now */
export function registrationDrafts(
  { directory, key, state }: FleetSession,
  options: ClusterWish,
  published: Published,
): Draft[] {
  const { cluster: id, serverCa, userCa } = published
  const agentKey = keyId(published.agentKey)
  const known = directory.state.clusters.get(id)
  if (known && known.agentKey !== agentKey) throw otherCluster(id)
  const cluster: Draft = {
    ...clusterDetail(options, { id, serverCa, userCa, agentKey }),
    signers: [key],
  }
  const member: Draft = {
    type: 'member',
    detail: { action: 'add', subject: { kind: 'user', name: state.user }, cluster: id },
    signers: [key],
  }
  const isMember = known && directory.state.isMember(state.user, id)
  return [...(known ? [] : [cluster]), ...(isMember ? [] : [member])]
}

/** What the directory says of a cluster, for signing it anew with something changed. */
export function clusterDetailOf(cluster: Omit<ClusterRecord, 'seq'>): ClusterDetail {
  const { id, name, labels, agentKey, issuer, prefix, direct, approvals, previous } = cluster
  return {
    ...{ id, name, labels, ...authoritiesOf(cluster), agentKey, issuer, prefix },
    ...(direct ? { direct } : {}),
    ...(approvals ? { approvals } : {}),
    ...(previous
      ? { previous: { ...authoritiesOf(previous), until: formatTime(previous.until) } }
      : {}),
  }
}

function authoritiesOf({
  serverCaDer,
  userCaDer,
}: Pick<ClusterRecord, 'serverCaDer' | 'userCaDer'>) {
  return { serverCa: serverCaDer.toString('base64'), userCa: userCaDer.toString('base64') }
}

/** @throws UsageError MCM_BAD_REQUEST for labels or a name that could not be signed in the end */
export function requireSignable(options: ClusterWish): void {
  detailText(clusterDetail(options, UNPUBLISHED))
}

interface PublishedDetail {
  readonly id: string
  readonly serverCa: string
  readonly userCa: string
  /** Key id. */
  readonly agentKey: string
}

/** In the form of what an agent will publish. */
const UNPUBLISHED: PublishedDetail = {
  id: 'c-aaaaaaaaaa',
  serverCa: 'AAAA',
  userCa: 'AAAA',
  agentKey: 'A'.repeat(43),
}

function clusterDetail(
  { name, prefix, labels, impersonateAny, issuer, direct }: ClusterWish,
  published: PublishedDetail,
): Detail & { type: 'cluster' } {
  const { id, serverCa, userCa, agentKey } = published
  const marked = impersonateAny ? { ...labels, [IMPERSONATE_ANY_LABEL]: 'any' } : { ...labels }
  const chosen = {
    issuer: issuer ?? 'agent',
    prefix: prefix ?? DEFAULT_PREFIX,
    ...(direct ? { direct } : {}),
  }
  return {
    type: 'cluster',
    detail: { id, name, labels: marked, serverCa, userCa, agentKey, ...chosen },
  }
}

function otherCluster(id: string): TrustError {
  return new TrustError('MCM_PAIRING_MISMATCH', `cluster ${id} has another agent key by now`, {
    hint: 'nothing was signed; register it under another name',
  })
}
