import type { ClusterAccess } from './cluster-access.ts'
import { setForm } from './impersonator-list.ts'

/**
 * Writes the list of names in the constrained form where the agent has found that the API server has it. True
 * when the list had to be changed. Never the other way: in the legacy form the API server enforces no
 * ceiling, and an agent's word must not take that wall away (`mcm clusters ceiling … --legacy` does).
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
  if (server !== 'constrained' || list === server) return false
  return setForm(kubernetes, server)
}
