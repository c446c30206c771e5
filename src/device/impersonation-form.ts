import type { ClusterAccess } from './cluster-access.ts'
import { setForm } from './impersonator-list.ts'

/**
 * Writes the list of names in the form of impersonation that the API server has, as its agent has found
 * by asking. True when the list had to be changed. An agent that cannot tell leaves it as it is.
 * @throws AccessDeniedError for whoever may not write that ClusterRole
 */
export async function followServer({
  agent,
  kubernetes,
}: Pick<ClusterAccess, 'kubernetes'> & {
  readonly agent: Pick<ClusterAccess['agent'], 'clusterFacts'>
}): Promise<boolean> {
  const { impersonation } = await agent.clusterFacts()
  const { server, list } = impersonation
  if (server === undefined || server === list) return false
  return setForm(kubernetes, server)
}
