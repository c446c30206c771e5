import { AGENT_USER, FENCE_NAME } from '../access/fence.ts'
import { IMPERSONATOR_NAME } from '../access/impersonator.ts'
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
  const apply = 'kubectl apply --server-side -f'
  return renderFields({
    cluster: `${cluster} (${id})`,
    fence: written ? `written: ${written.fence}` : 'set up: the agent may add names',
    right: written && `written: ${written.right}`,
    next: written && `${apply} ${written.fence}`,
    try: written && `${TRY_FENCE}: this must be refused by ${FENCE_NAME}; if it is not, stop here`,
    last: written && `${apply} ${written.right}`,
  })
}

/** What the fence forbids, tried as the agent without effect. */
const TRY_FENCE = `kubectl label clusterrole ${IMPERSONATOR_NAME} mcm.dev/fence-tried=true --dry-run=server --as=${AGENT_USER} --as-group=system:masters`

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

/**
 * What its owner should do, if anything. The agent says what there is, and an agent may lie: no word of its
 * own, neither a ceiling nor a form, stands in a line that is pasted with the owner's power.
 */
export function nextStep(cluster: string, { ceiling, impersonation }: Protection) {
  const { list, server } = impersonation
  const isFitting = server === undefined || server === list
  if (ceiling !== undefined && isFitting) return undefined
  const command = `mcm clusters ceiling ${cluster} --set CEILING --apply --context CONTEXT`
  if (isFitting || server === 'constrained') return command
  return `${command}; with --legacy if you know that this API server has no constrained impersonation any more`
}
