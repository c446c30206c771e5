import type { ClusterRecord } from '../directory/state.ts'
import { messageOf, NotFoundError, UsageError } from '../errors.ts'
import { type LabelTest, labelSelector } from '../kube/label-selector.ts'
import { byName, type Clusters, reachableClusters, requireReachable } from './cluster-lookup.ts'

/** Choosing many clusters at once. A choice that is empty is an error: nothing was done to nobody. */
export interface ClusterSelection {
  /** Every cluster this user may reach. */
  readonly all: boolean
  /** Each a list of names, ids and globs (`ack,edge-*`), or a label selector (`env=prod,region!=eu`). */
  readonly selectors: readonly string[]
  /** A label selector and nothing else, also one of bare keys (`gpu`). */
  readonly labels?: string
}

/**
 * The clusters chosen, each once, by name: names, ids and labels are those of the signed directory.
 * @throws NotFoundError MCM_CLUSTER_UNKNOWN when a part of the choice matches none,
 *   AccessDeniedError MCM_NO_GRANT, UsageError MCM_USAGE
 */
export function selectClusters(
  directory: Clusters,
  user: string,
  { all, selectors, labels }: ClusterSelection,
): ClusterRecord[] {
  const reachable = reachableClusters(directory, user)
  const named = selectors.flatMap((text) =>
    isLabelSelector(text)
      ? withLabels(reachable, text)
      : text.split(',').flatMap((term) => withName(directory, user, reachable, term.trim())),
  )
  const labelled = labels === undefined ? [] : withLabels(reachable, labels)
  const chosen = all ? reachable : [...named, ...labelled]
  if (chosen.length === 0) throw none('there is no cluster you may reach')
  return [...new Map(chosen.map((cluster) => [cluster.id, cluster])).values()].sort(byName)
}

/** Neither a name nor a glob has any of these. */
function isLabelSelector(text: string): boolean {
  return /[=!<>()]/.test(text)
}

function withLabels(reachable: readonly ClusterRecord[], text: string): ClusterRecord[] {
  const holds = readSelector(text)
  const found = reachable.filter(({ labels }) => holds(labels))
  if (found.length === 0) throw none(`no cluster you may reach has labels ${JSON.stringify(text)}`)
  return found
}

function readSelector(text: string): LabelTest {
  try {
    return labelSelector(text)
  } catch (cause) {
    const problem = `label selector ${JSON.stringify(text)}: ${messageOf(cause)}`
    const hint = "write it as for kubectl: 'env=prod,region!=eu' or 'tier in (a,b)'"
    throw new UsageError('MCM_USAGE', problem, { hint, cause })
  }
}

function withName(
  directory: Clusters,
  user: string,
  reachable: readonly ClusterRecord[],
  term: string,
): ClusterRecord[] {
  if (!/[*?]/.test(term)) return [requireReachable(directory, user, term)]
  const pattern = globPattern(term)
  const found = reachable.filter(({ name }) => pattern.test(name))
  if (found.length === 0) throw none(`no cluster you may reach is called ${JSON.stringify(term)}`)
  return found
}

/** `*` is any text, `?` any character. */
function globPattern(glob: string): RegExp {
  const literal = glob.replace(/[\\^$.|+()[\]{}]/g, '\\$&')
  return new RegExp(`^${literal.replaceAll('*', '.*').replaceAll('?', '.')}$`, 'u')
}

function none(problem: string): NotFoundError {
  return new NotFoundError('MCM_CLUSTER_UNKNOWN', problem, {
    hint: 'mcm clusters lists them with their labels',
  })
}
