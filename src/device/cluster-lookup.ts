import type { Directory } from '../directory/directory.ts'
import { type ClusterRecord, WHENEVER } from '../directory/state.ts'
import { AccessDeniedError, NotFoundError, UsageError } from '../errors.ts'

/** Finding a cluster by the name or id a person typed. */

/** All that looking up needs. */
export type Clusters = Pick<Directory, 'state'>

/** @throws NotFoundError MCM_CLUSTER_UNKNOWN with near names, UsageError MCM_USAGE when two have that name */
export function requireCluster(directory: Clusters, nameOrId: string): ClusterRecord {
  const clusters = [...directory.state.clusters.values()]
  const byId = directory.state.clusters.get(nameOrId)
  if (byId) return byId
  const named = clusters.filter(({ name }) => name === nameOrId)
  if (named.length > 1) throw ambiguous(nameOrId, named)
  if (named[0]) return named[0]
  throw unknown(nameOrId, clusters)
}

/** As `requireCluster`, of those the user may reach. @throws AccessDeniedError MCM_NO_GRANT */
export function requireReachable(
  directory: Clusters,
  user: string,
  nameOrId: string,
): ClusterRecord {
  const cluster = requireCluster(directory, nameOrId)
  if (directory.state.isMember(user, cluster.id, WHENEVER)) return cluster
  throw new AccessDeniedError('MCM_NO_GRANT', `${user} is not a member of ${cluster.name}`, {
    hint: `ask an administrator for mcm grant ${user} --cluster ${cluster.name}`,
  })
}

/** The clusters a user may reach, by name. */
export function reachableClusters(directory: Clusters, user: string): ClusterRecord[] {
  return [...directory.state.clusters.values()]
    .filter(({ id }) => directory.state.isMember(user, id, WHENEVER))
    .sort(byName)
}

export function byName(a: ClusterRecord, b: ClusterRecord): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1
}

function unknown(nameOrId: string, clusters: readonly ClusterRecord[]): NotFoundError {
  const near = nearNames(
    nameOrId,
    clusters.map(({ name }) => name),
  )
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : 'mcm clusters lists them'
  return new NotFoundError(
    'MCM_CLUSTER_UNKNOWN',
    `no cluster ${JSON.stringify(nameOrId)} is known to you`,
    { hint },
  )
}

function ambiguous(name: string, clusters: readonly ClusterRecord[]): UsageError {
  const ids = clusters.map(({ id }) => id).join(', ')
  return new UsageError('MCM_USAGE', `${clusters.length} clusters are called ${name}`, {
    hint: `use an id instead: ${ids}`,
  })
}

const MAX_NEAR = 3

/** Names that begin alike or are a few typing errors away, nearest first. */
export function nearNames(wanted: string, names: readonly string[]): string[] {
  const limit = Math.max(2, Math.floor(wanted.length / 3))
  const distanceTo = (name: string) => (name.startsWith(wanted) ? 1 : editDistance(wanted, name))
  return [...new Set(names)]
    .map((name) => ({ name, distance: distanceTo(name) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, MAX_NEAR)
    .map(({ name }) => name)
}

/** Levenshtein distance. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, previous[column]! + 1, current[column - 1]! + 1))
    }
    previous = current
  }
  return previous[to.length]!
}
