import type { ClusterChange, DirectoryChange } from '../access/access-difference.ts'
import type { BoundGrant, GrantSubject } from '../access/grant.ts'
import { grantsOf } from '../access/grant.ts'
import { formatTime } from '../directory/time.ts'
import { EXIT_ALL_FAILED, EXIT_DIFFERENT, EXIT_SOME_FAILED } from '../errors.ts'
import type { AccessPlan, ClusterPlan } from './access-plan.ts'

/** A plan as plain words and plain JSON: what `mcm access diff` shows. */

export interface ChangeLine {
  readonly action: 'add' | 'change' | 'remove'
  /** `ClusterRole`, `RoleBinding`, `ClusterRoleBinding`, `names`, `member`, `timed grant`. */
  readonly kind: string
  readonly name: string
  readonly namespace?: string
  /** What it comes to, as a sentence. */
  readonly about: string
  /** Fields that are not as declared. */
  readonly differs?: readonly string[]
}

export interface ClusterDocument {
  readonly cluster: string
  readonly id: string
  readonly changes: readonly ChangeLine[]
  /** Not declared and left: your own. */
  readonly kept: readonly string[]
  readonly problems: readonly string[]
}

export interface AccessDocument {
  readonly clusters: readonly ClusterDocument[]
  readonly people: readonly {
    readonly user: string
    readonly added: readonly string[]
    readonly removed: readonly string[]
    readonly nickname?: string
  }[]
  /** Declared, and nobody has invited them yet. */
  readonly unknown: readonly string[]
  /** In the fleet, and not declared: they stay, without groups and grants. */
  readonly undeclared: readonly string[]
  readonly summary: { readonly add: number; readonly change: number; readonly remove: number }
}

export function accessDocument({ clusters, people }: AccessPlan): AccessDocument {
  const documents = clusters.map(clusterDocument)
  const lines = documents.flatMap(({ changes }) => changes)
  const count = (action: ChangeLine['action']) =>
    lines.filter((line) => line.action === action).length
  return {
    clusters: documents,
    people: people.changes.map(({ user, added, removed, nickname, isRenamed }) => ({
      user,
      added,
      removed,
      ...(isRenamed ? { nickname: nickname ?? '' } : {}),
    })),
    unknown: people.unknown,
    undeclared: people.undeclared,
    summary: {
      add: count('add'),
      change: count('change') + people.changes.length,
      remove: count('remove'),
    },
  }
}

/** Whether anything would have to change. */
export function isDifferent({ summary }: AccessDocument): boolean {
  return summary.add + summary.change + summary.remove > 0
}

/** 0 as declared, EXIT_DIFFERENT; EXIT_SOME_FAILED or EXIT_ALL_FAILED where clusters could not be compared. */
export function exitCodeOfDiff(document: AccessDocument): number {
  const { clusters } = document
  const failed = clusters.filter(({ problems }) => problems.length > 0).length
  if (failed > 0) return failed === clusters.length ? EXIT_ALL_FAILED : EXIT_SOME_FAILED
  return isDifferent(document) ? EXIT_DIFFERENT : 0
}

function clusterDocument(plan: ClusterPlan): ClusterDocument {
  const { cluster, difference, inDirectory, problem } = plan
  const { inCluster = [], kept = [], problems = [] } = difference ?? {}
  return {
    cluster: cluster.name,
    id: cluster.id,
    changes: [
      ...inCluster.map((change) => lineOf(change, cluster.prefix)),
      ...inDirectory.map(lineOfDirectory),
    ],
    kept: kept.map(grantText),
    problems: problem === undefined ? problems : [problem],
  }
}

/** One change as a sentence: `add RoleBinding: user bob ns-dev in test`. */
export function changeLine(change: ClusterChange, prefix: string): string {
  const { action, kind, name, about } = lineOf(change, prefix)
  return `${action} ${kind} ${name}${about === '' ? '' : ` (${about})`}`
}

function lineOf(change: ClusterChange, prefix: string): ChangeLine {
  if (change.kind === 'names') {
    const { added, removed } = change
    const list = (sign: string, names: readonly string[]) => names.map((name) => sign + name)
    const all = [
      ...list('-', [...removed.users, ...removed.groups]),
      ...list('+', [...added.users, ...added.groups]),
    ]
    return { action: 'change', kind: 'names', name: 'mcm-impersonator', about: all.join(' ') }
  }
  const { action, object, differs } = change
  const { name, namespace } = object.metadata
  const about = change.kind === 'binding' ? bindingText(change.object, prefix) : ''
  return {
    action,
    kind: object.kind,
    name,
    ...(namespace === undefined ? {} : { namespace }),
    about,
    ...(differs.length > 0 ? { differs } : {}),
  }
}

function bindingText(binding: Parameters<typeof grantsOf>[0], prefix: string): string {
  const grants = grantsOf(binding, prefix)
  return grants.length > 0 ? grants.map(grantText).join(', ') : `to ${binding.roleRef.name}`
}

function lineOfDirectory(change: DirectoryChange): ChangeLine {
  const { action, kind, expires } = change
  const until = expires && action !== 'remove' ? ` until ${formatTime(expires)}` : ''
  const name = subjectText(change.subject)
  if (kind === 'member') return { action, kind, name, about: `may reach the cluster${until}` }
  return { action, kind, name, about: `${change.group}${until}` }
}

/** `user bob ns-dev in test`. */
export function grantText({ subject, role, namespace }: BoundGrant): string {
  const where = namespace === undefined ? '' : ` in ${namespace}`
  return `${subjectText(subject)} ${role}${where}`
}

function subjectText({ kind, name }: GrantSubject): string {
  return `${kind} ${name}`
}
