import type { DirectAddress } from '../directory/details.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import type { AgentPresence, ClusterFacts, Presence } from '../protocol/messages.ts'
import { clusterHost } from '../protocol/names.ts'
import { requireAdmin } from './admin.ts'
import { appendStatements } from './append.ts'
import { askProtection } from './ceiling.ts'
import { readCertificateFile } from './certificate-file.ts'
import { byName, requireCluster } from './cluster-lookup.ts'
import { IMPERSONATE_ANY_LABEL } from './cluster-statement.ts'
import type { FleetSession } from './fleet-session.ts'
import { certificatePath } from './home.ts'
import { forgetCertificate } from './logout.ts'
import { ownerOf } from './owner-issued.ts'
import { forgetUserCa, userCaPem } from './user-ca.ts'

/** The clusters of the directory, as this person sees them, with what the hub knows of their agents. */

export interface ClusterSummary {
  readonly name: string
  readonly id: string
  readonly labels: Readonly<Record<string, string>>
  /** connected: at least one agent has a tunnel. Only the hub says this; nothing rests on it. */
  readonly status: 'connected' | 'disconnected'
  /** How many replicas have a tunnel. */
  readonly agents: number
  /** Of the first replica; absent while none is connected. */
  readonly kubernetesVersion?: string
  /** Between hub and agent, the best of them. */
  readonly roundTripMs?: number
  readonly isMember: boolean
  /** Who issues its certificates: local is its owner. */
  readonly issuer: 'agent' | 'local'
  /** RFC 3339; of the certificate kept here. */
  readonly certificateUntil?: string
  /** The owner lets the agent speak for anybody, not only for listed names. */
  readonly impersonatesAny: boolean
}

export interface ClusterDetails extends ClusterSummary {
  readonly replicas: readonly AgentPresence[]
  readonly host: string
  readonly prefix: string
  /** Where the owner issues: who that is, and whether this machine has the key. */
  readonly owner?: { readonly name: string; readonly isHere: boolean }
  readonly agentKey: string
  /** Where the agent is reached while no hub is up; absent when nowhere. */
  readonly direct?: DirectAddress
  /** Until when the CAs before count as well, while they are being replaced; RFC 3339. */
  readonly previousCasUntil?: string
  /** How many have to approve an access request. */
  readonly approvals: 1 | 2
  /** What limits everybody there, as its agent says; absent when it could not be asked. */
  readonly protection?: ClusterFacts
  readonly members: readonly { readonly kind: 'user' | 'group'; readonly name: string }[]
}

/** By name. */
export async function listClusters(session: FleetSession): Promise<ClusterSummary[]> {
  const presence = await session.hub.presence()
  const clusters = [...session.directory.state.clusters.values()].sort(byName)
  return Promise.all(clusters.map((cluster) => summary(session, cluster, presence)))
}

/** @throws NotFoundError MCM_CLUSTER_UNKNOWN */
export async function showCluster(
  session: FleetSession,
  nameOrId: string,
): Promise<ClusterDetails> {
  const cluster = requireCluster(session.directory, nameOrId)
  const presence = await session.hub.presence()
  const { prefix, agentKey, id, direct, approvals = 1 } = cluster
  const isHere = (await userCaPem(session.device, id)) !== undefined
  const owner = { name: ownerOf(session.directory, cluster), isHere }
  return {
    ...(await summary(session, cluster, presence)),
    replicas: replicasOf(presence, id),
    host: clusterHost(id),
    prefix,
    ...(cluster.issuer === 'local' ? { owner } : {}),
    agentKey,
    ...(direct ? { direct } : {}),
    approvals,
    ...previousOf(cluster, session.device.world.now()),
    ...(await protectionOf(session, cluster)),
    members: session.directory.state.members(id),
  }
}

function previousOf({ previous }: ClusterRecord, now: Date) {
  if (previous === undefined || now >= previous.until) return {}
  return { previousCasUntil: formatTime(previous.until) }
}

/** Only a member hears it, and only while an agent is there. */
async function protectionOf(session: FleetSession, cluster: ClusterRecord) {
  const { protection } = await askProtection(session, cluster)
  return protection ? { protection } : {}
}

export interface RemovedCluster {
  readonly name: string
  readonly id: string
  /** What is left in the cluster itself, as commands that take it away. */
  readonly left: readonly string[]
}

/** Takes a cluster out of the directory: nobody reaches it any more. The objects in it stay. */
export async function removeCluster(
  session: FleetSession,
  nameOrId: string,
  reason: string,
): Promise<RemovedCluster> {
  requireAdmin(session, 'remove clusters')
  const { id, name } = requireCluster(session.directory, nameOrId)
  await appendStatements(session, ({ directory, key }) =>
    directory.state.clusters.has(id)
      ? [{ type: 'revoke', detail: { cluster: id, reason }, signers: [key] }]
      : [],
  )
  await forgetCertificate(session.device, id)
  await forgetUserCa(session.device, id)
  return { name, id, left: LEFT_IN_CLUSTER }
}

const LEFT_IN_CLUSTER = [
  'kubectl delete namespace mcm-system',
  'kubectl delete clusterroles,clusterrolebindings -l app.kubernetes.io/managed-by=mcm',
  'kubectl delete rolebindings --all-namespaces -l app.kubernetes.io/managed-by=mcm',
  // After the right behind it. Servers before 1.30 have none.
  'kubectl delete validatingadmissionpolicies,validatingadmissionpolicybindings -l app.kubernetes.io/managed-by=mcm',
]

function replicasOf(presence: Presence, id: string): readonly AgentPresence[] {
  return presence.find((each) => each.id === id)?.agents ?? []
}

async function summary(
  session: FleetSession,
  cluster: ClusterRecord,
  presence: Presence,
): Promise<ClusterSummary> {
  const { id, name, labels, issuer } = cluster
  const replicas = replicasOf(presence, id)
  const [first] = replicas
  const roundTrips = replicas.map(({ roundTripMs }) => roundTripMs).filter((ms) => ms !== null)
  const kept = await readCertificateFile(certificatePath(session.device.home, id))
  const until = kept && formatTime(new Date(kept.notAfter))
  return {
    name,
    id,
    labels,
    status: first ? 'connected' : 'disconnected',
    agents: replicas.length,
    ...(first ? { kubernetesVersion: first.kubernetesVersion } : {}),
    ...(roundTrips.length > 0 ? { roundTripMs: Math.min(...roundTrips) } : {}),
    isMember: session.directory.state.isMember(session.state.user, id, session.device.world.now()),
    issuer,
    ...(until === undefined ? {} : { certificateUntil: until }),
    impersonatesAny: labels[IMPERSONATE_ANY_LABEL] === 'any',
  }
}
