import { startAgent } from '../agent/agent.ts'
import type { AgentDeps } from '../agent/agent-deps.ts'
import { connectionOutside, waitForConfiguration } from '../agent/connections.ts'
import type { Running } from '../world.ts'
import type { TargetCluster } from './target-cluster.ts'

/** An agent in this very process, for a cluster whose manifest was applied a moment ago. */
export async function startLocalAgent(
  deps: Pick<AgentDeps, 'world' | 'log' | 'signal' | 'runtime'>,
  cluster: TargetCluster,
  version: string,
): Promise<Running> {
  const { world, log, signal } = deps
  const configuration = await waitForConfiguration(cluster.kubernetes, log, signal)
  const apiServer = connectionOutside(await cluster.connection(), world)
  return startAgent(
    { ...deps, apiServer, proxyFor: () => undefined },
    { configuration, replica: 'up', version },
  )
}
