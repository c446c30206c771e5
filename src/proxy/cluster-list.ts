import { messageOf, NotFoundError } from '../errors.ts'
import type { Log, World } from '../world.ts'
import type { ProxyCluster } from './cluster.ts'
import type { ClusterUpstream } from './cluster-upstream.ts'
import { ATTEMPT_MS, withinDeadline } from './deadline.ts'

/**
 * Which clusters there are now, and the way to each: made at first use, kept while the cluster stays the
 * same, closed when it goes or becomes another (its CA changed, and not by a rotation).
 */
export interface ClusterList {
  /**
   * The way to the cluster with that id or display name; the list is read again when it is not known, and when it
   * was read a while ago.
   * @throws NotFoundError MCM_CLUSTER_UNKNOWN, and whatever reading the list throws
   */
  find(idOrName: string): Promise<ClusterUpstream>
  /** Every five seconds. What runs with nobody asking for anything hears of new CAs, too. */
  beat(): void
  close(): Promise<void>
}

/** How long a list counts for the clusters on it. */
const FRESH_MS = 5_000
/** How long it is let be while something is open and nobody asks. */
const UNASKED_MS = 30_000

export interface ClusterListDeps {
  readonly world: World
  readonly log: Log
  clusters(): Promise<readonly ProxyCluster[]>
  open(cluster: ProxyCluster): ClusterUpstream
}

export function clusterList(deps: ClusterListDeps): ClusterList {
  const opened = new Map<string, ClusterUpstream>()
  let known: readonly ProxyCluster[] = []
  let readAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined

  function read(): Promise<void> {
    const attempt = () => deps.clusters().then(adopt)
    reading ??= withinDeadline(attempt(), 'the hub', ATTEMPT_MS).finally(() => {
      reading = undefined
    })
    return reading
  }

  function adopt(clusters: readonly ProxyCluster[]): void {
    known = clusters
    readAt = deps.world.now().getTime()
    for (const [id, upstream] of opened) {
      const now = clusters.find((cluster) => isSame(cluster, upstream.cluster))
      if (now) {
        upstream.follow(now)
        continue
      }
      opened.delete(id)
      deps.log.info('cluster closed', { cluster: id })
      void upstream.close()
    }
  }

  function readBehind(): void {
    read().catch((error) => deps.log.warn('clusters not read', { reason: messageOf(error) }))
  }

  /** A list that is not fresh but holds the cluster serves; it is read again behind the request's back. */
  async function lookUp(idOrName: string): Promise<ProxyCluster> {
    const now = deps.world.now().getTime()
    const isFresh = now >= readAt && now - readAt < FRESH_MS
    const present = byIdOrName(known, idOrName)
    if (present && !isFresh) readBehind()
    if (present) return present
    await withinDeadline(read(), 'the hub')
    const found = byIdOrName(known, idOrName)
    if (found) return found
    throw unknown(idOrName)
  }

  return {
    find: async (idOrName) => {
      const found = await lookUp(idOrName)
      // As it is by now: what was read meanwhile may have closed the way to it as it was.
      const cluster = byIdOrName(known, found.id) ?? found
      const upstream = opened.get(cluster.id) ?? deps.open(cluster)
      opened.set(cluster.id, upstream)
      return upstream
    },
    beat: () => {
      const all = [...opened.values()]
      for (const upstream of all) upstream.beat()
      const ageMs = deps.world.now().getTime() - readAt
      if (ageMs >= UNASKED_MS && all.some((upstream) => upstream.isInUse)) readBehind()
    },
    close: async () => {
      await Promise.all(Array.from(opened.values(), (upstream) => upstream.close()))
    },
  }
}

/** Ids win over names, so nobody can call a cluster by another's id. @throws NotFoundError two of that name */
function byIdOrName(clusters: readonly ProxyCluster[], idOrName: string): ProxyCluster | undefined {
  const byId = clusters.find(({ id }) => id === idOrName)
  if (byId) return byId
  const [first, ...others] = clusters.filter(({ name }) => name === idOrName)
  if (others.length === 0) return first
  throw new NotFoundError('MCM_CLUSTER_UNKNOWN', `more than one cluster is called ${idOrName}`, {
    hint: `use the id of the one you mean: ${[first!, ...others].map(({ id }) => id).join(', ')}`,
  })
}

/** What `kubectl get --raw` asks for when nobody told it that it leaves out the path of the server's URL. */
const API_ROOTS = /^(api|apis|healthz|livez|metrics|openapi|readyz|version)$/

function unknown(idOrName: string): NotFoundError {
  const shown = JSON.stringify(idOrName.slice(0, 80))
  const hint = API_ROOTS.test(idOrName)
    ? `the path starts with the cluster: kubectl get --raw /c-…/${idOrName}`
    : 'mcm clusters lists them; the path starts with the id, as in /c-…/api'
  return new NotFoundError('MCM_CLUSTER_UNKNOWN', `no cluster ${shown} is known to you`, { hint })
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/** While CAs are replaced both stand for a while: what is open goes on (docs/PROTOCOL.md §12.2). */
function sharesAuthority(left: ProxyCluster, right: ProxyCluster): boolean {
  if (left.serverCaPem === right.serverCaPem) return true
  const known = new Set(left.serverCaPem.match(BLOCK))
  return (right.serverCaPem.match(BLOCK) ?? []).some((block) => known.has(block))
}

function isSame(left: ProxyCluster, right: ProxyCluster): boolean {
  return left.id === right.id && left.host === right.host && sharesAuthority(left, right)
}
