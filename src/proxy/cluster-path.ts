import { badRequest } from '../forward/refusal.ts'
import { requireOriginForm } from '../forward/target.ts'

/** A request target of this proxy, taken apart. */
export interface ClusterTarget {
  /** The first segment: a cluster's id or display name. */
  readonly cluster: string
  /** What is left for the cluster, byte for byte: path and query. */
  readonly target: string
}

/**
 * Splits `/c-…/api/v1/pods?x` into the cluster and `/api/v1/pods?x`. The first segment is taken as it is: no
 * decoding, no normalising, so `/c-…/../c-…` never becomes another cluster.
 * @throws Refusal 400 a target that is not in origin-form, with the segment or without it
 */
export function splitTarget(target: string | undefined): ClusterTarget {
  const whole = requireOriginForm(target)
  const [, cluster, rest] = /^\/([^/?]*)(.*)$/.exec(whole)!
  const hasPath = rest!.startsWith('/')
  const inner = requireOriginForm(hasPath ? rest : `/${rest}`)
  if (/(^|\/)\.{1,2}(\/|\?|$)/.test(inner)) throw badRequest('its path has a "." or ".." segment')
  return { cluster: cluster!, target: inner }
}
