import type { ClusterCeiling } from '../device/ceiling.ts'
import type { FencedCluster } from '../device/fence.ts'
import { renderFields } from './table.ts'

/** What limits everybody in a cluster, as text. */

export function viewCeiling({ cluster, id, protection, problem }: ClusterCeiling): string {
  return renderFields({
    cluster: `${cluster} (${id})`,
    ceiling: protection ? ceilingText(protection) : `not known: ${problem ?? 'no answer'}`,
    'enforced by': protection && enforcedText(protection),
    next: protection && nextStep(cluster, protection),
  })
}

export function viewFence({ cluster, id, written }: FencedCluster): string {
  return renderFields({
    cluster: `${cluster} (${id})`,
    fence: written === undefined ? 'set up: the agent may add names' : `written: ${written}`,
    next: written && `kubectl apply --server-side -f ${written}`,
  })
}

type Protection = NonNullable<ClusterCeiling['protection']>

export function ceilingText({ ceiling }: Protection): string {
  return ceiling ?? 'missing: nobody does anything there through mcm'
}

/** Which of the two walls hold, plainly. */
export function enforcedText({ impersonation }: Protection): string {
  const { list, server } = impersonation
  if (list === 'constrained' && server === 'legacy')
    return 'nobody gets in: the list of names is in a form that the API server does not have any more'
  if (list === 'constrained') return 'the API server, and the agent before it'
  if (server === 'constrained') return 'the agent; the API server could, too'
  return 'the agent; the API server has no constrained impersonation'
}

/** What its owner should do, if anything. */
export function nextStep(cluster: string, { ceiling, impersonation }: Protection) {
  const { list, server } = impersonation
  const isFitting = server === undefined || server === list
  if (ceiling !== undefined && isFitting) return undefined
  return `mcm clusters ceiling ${cluster} --set ${ceiling ?? 'none'} --apply --context CONTEXT`
}
