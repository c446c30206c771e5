import type { ClusterDetails, ClusterSummary, RemovedCluster } from '../device/clusters.ts'
import type { ClusterAddress } from '../device/direct-address.ts'
import type { Registered } from '../device/register.ts'
import type { Unfinished } from '../device/registering.ts'
import { lifetimeText } from '../directory/bot-lifetime.ts'
import { ceilingText, enforcedText, nextStep } from './ceiling-views.ts'
import type { Screen } from './screen.ts'
import { type Column, renderFields, renderTable } from './table.ts'

/** Clusters as text. Each view takes the object that --json prints. */

export function viewClusters(clusters: readonly ClusterSummary[], screen: Screen): string {
  if (clusters.length === 0) return 'no clusters yet\n'
  const { style } = screen
  const columns: Column<ClusterSummary>[] = [
    { title: 'name', cell: ({ name }) => name, isFixed: true },
    { title: 'id', cell: ({ id }) => id, isFixed: true },
    {
      title: 'status',
      cell: ({ status }) => status,
      style: (text, { status }) => (status === 'connected' ? style.green(text) : style.red(text)),
      isFixed: true,
    },
    { title: 'agents', cell: ({ agents }) => String(agents), isFixed: true },
    { title: 'version', cell: ({ kubernetesVersion }) => kubernetesVersion ?? '-' },
    { title: 'round trip', cell: ({ roundTripMs }) => milliseconds(roundTripMs ?? null) },
    { title: 'certificate until', cell: ({ certificateUntil }) => certificateUntil ?? '-' },
    ...(clusters.some(({ issuer }) => issuer === 'local')
      ? [{ title: 'issuer', cell: ({ issuer }: ClusterSummary) => issuer, isFixed: true }]
      : []),
    { title: 'labels', cell: ({ labels }) => labelText(labels) },
    ...(clusters.some(({ impersonatesAny }) => impersonatesAny)
      ? [{ title: 'warning', cell: warning }]
      : []),
  ]
  return renderTable(clusters, columns, screen.width)
}

export function viewCluster(cluster: ClusterDetails, screen: Screen): string {
  const head = renderFields({
    name: cluster.name,
    id: cluster.id,
    host: cluster.host,
    status: cluster.status,
    labels: labelText(cluster.labels) || undefined,
    'impersonation prefix': cluster.prefix,
    'certificates issued by': issuerText(cluster),
    'agent key': cluster.agentKey,
    'direct address': cluster.direct && directText(cluster.direct),
    'CAs before count until': cluster.previousCasUntil,
    'access requests need': cluster.approvals === 2 ? 'two approvals' : undefined,
    ceiling: cluster.protection && ceilingText(cluster.protection),
    'ceiling enforced by': cluster.protection && enforcedText(cluster.protection),
    'to have it whole': cluster.protection && nextStep(cluster.name, cluster.protection),
    'a bot’s certificate lives': cluster.protection && botLifeText(cluster.protection),
    'confirmed by an administrator': cluster.protection?.directory && confirmedText(cluster),
    'directory warning': cluster.protection?.directory && directoryWarning(cluster),
    members: cluster.members.map(({ kind, name }) => `${kind} ${name}`).join(', ') || 'nobody',
    'your certificate until': cluster.certificateUntil ?? 'none kept here',
    warning: warning(cluster) || undefined,
  })
  if (cluster.replicas.length === 0) return head
  const columns: Column<ClusterDetails['replicas'][number]>[] = [
    { title: 'replica', cell: ({ replica }) => replica },
    { title: 'version', cell: ({ version }) => version },
    { title: 'kubernetes', cell: ({ kubernetesVersion }) => kubernetesVersion },
    { title: 'since', cell: ({ since }) => since, isFixed: true },
    { title: 'round trip', cell: ({ roundTripMs }) => milliseconds(roundTripMs), isFixed: true },
  ]
  return `${head}\n${renderTable(cluster.replicas, columns, screen.width)}`
}

export function viewRegistered(cluster: Registered | Unfinished): string {
  if ('expires' in cluster) {
    return renderFields({
      begun: `${cluster.name} (${cluster.id})`,
      'good until': cluster.expires,
      next: `mcm register ${cluster.name} goes on when the agent is there`,
    })
  }
  return renderFields({
    registered: `${cluster.name} (${cluster.id})`,
    'certificate until': cluster.certificateUntil ?? 'not yet: the next kubectl gets it',
    next: `mcm kubeconfig ${cluster.name} --merge`,
  })
}

export function viewDirect({ name, id, direct }: ClusterAddress): string {
  return renderFields({ cluster: `${name} (${id})`, 'direct address': directText(direct) })
}

function directText(direct: ClusterAddress['direct']): string {
  return direct ? `${direct.sessions}, enrolment ${direct.enrolment}` : 'none'
}

export function viewRemoved(cluster: RemovedCluster): string {
  const left = cluster.left.map((command) => `  ${command}`).join('\n')
  return `removed: ${cluster.name} (${cluster.id})\nwhat is left in the cluster goes with:\n${left}\n`
}

function issuerText({ owner }: ClusterDetails): string {
  if (owner === undefined) return 'its agent'
  return owner.isHere ? 'its owner: this machine has the key' : `its owner: ${owner.name}`
}

function botLifeText({ botMaximumLife }: NonNullable<ClusterDetails['protection']>) {
  return botMaximumLife === undefined ? undefined : `${lifetimeText(botMaximumLife)} at most`
}

function confirmedText({ protection }: ClusterDetails): string {
  const { confirmed, maximumAge } = protection?.directory ?? {}
  const age = maximumAge === undefined ? '' : `, and lets nobody in when older than ${maximumAge} s`
  return `${confirmed ?? 'never'}${age}`
}

/** Somebody has seen more of the directory than the hub shows this cluster. */
function directoryWarning({ protection }: ClusterDetails): string | undefined {
  const { heard, withheld } = protection?.directory ?? {}
  const of = ({ head, since }: NonNullable<typeof heard>) =>
    `statement ${head.seq} (since ${since})`
  if (withheld) return `the hub withholds from this cluster ${of(withheld)}; look at the hub`
  return heard ? `no hub shows this cluster ${of(heard)}; look at the hub` : undefined
}

function milliseconds(value: number | null): string {
  return value === null ? '-' : `${Math.round(value)} ms`
}

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',')
}

function warning({ impersonatesAny }: ClusterSummary): string {
  return impersonatesAny ? 'its agent may speak for anybody (--impersonate any)' : ''
}
