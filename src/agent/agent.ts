/**
 * The agent of one cluster: everything in it is started here and meets here. Outward it dials hubs,
 * inward it asks its own API server; nothing can dial it but the kubelet for its health, and people
 * where its owner gave it an address of its own. Invariant: it serves nobody before it has read who is revoked and the directory proves the cluster.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { openKubernetes } from '../client/kubernetes.ts'
import { requireServerRuntime } from '../runtime-floor.ts'
import type { Running } from '../world.ts'
import type { AgentDeps, AgentOptions } from './agent-deps.ts'
import { openOutward } from './agent-outward.ts'
import { openState } from './agent-state.ts'
import { openTraffic } from './agent-traffic.ts'
import { agentTransport, requireDirect } from './connections.ts'
import { impersonationSupport } from './impersonation-support.ts'

/** For requests under way when the agent is told to end. */
const STOP_GRACE_MS = 2_000
/** For writing down what was used last. */
const FOLD_MS = 1_000
/** For telling clients that what runs on a pipe will not be resumed. */
const SAY_GOODBYE_MS = 500

/**
 * Starts the agent; resolves when it dials. `address` is that of its health, or empty.
 * @throws UsageError MCM_UNSUPPORTED_RUNTIME, MCM_USAGE; StateError MCM_STATE_DAMAGED;
 *   AccessDeniedError
 */
export async function startAgent(deps: AgentDeps, options: AgentOptions): Promise<Running> {
  requireServerRuntime(deps.runtime, 'the agent')
  requireDirect(deps.apiServer.connection)
  const ending = new AbortController()
  const { signal } = ending
  const abandon = () => ending.abort(deps.signal.reason)
  deps.signal.addEventListener('abort', abandon, { once: true })
  if (deps.signal.aborted) abandon()
  const transport = agentTransport(deps.apiServer)
  const api = openKubernetes(transport)
  try {
    const { configuration } = options
    const background = { world: deps.world, log: deps.log, signal }
    const proxyFor = (endpoint: string) => deps.proxyFor(endpoint)
    const state = await openState(api, configuration, background, proxyFor, options)
    const support = impersonationSupport(transport, deps)
    const traffic = await openTraffic(deps, configuration, api, state, support)
    const outward = await openOutward(deps, options, api, state, traffic.servers, signal)
    const closed = Promise.withResolvers<void>()
    let hasEnded = false
    const stop = async () => {
      if (hasEnded) return closed.promise
      hasEnded = true
      try {
        const { tunnels, direct, pipes } = outward
        // Before their carriers are gone: the other ends shall hear why.
        pipes.stop(STOP_GRACE_MS - SAY_GOODBYE_MS)
        await Promise.all([tunnels.stop(STOP_GRACE_MS), direct?.stop(STOP_GRACE_MS)])
        await Promise.race([state.uses.fold(), pause(FOLD_MS, undefined, { ref: false })])
        ending.abort()
        traffic.stop()
        await Promise.all([outward.health?.stop(), traffic.upstream.close(), transport.close()])
      } finally {
        closed.resolve()
      }
    }
    // From here on its end gives those who are served some time.
    deps.signal.removeEventListener('abort', abandon)
    if (deps.signal.aborted) void stop()
    else deps.signal.addEventListener('abort', () => void stop(), { once: true })
    return { address: outward.health?.address ?? '', closed: closed.promise, stop }
  } catch (error) {
    ending.abort()
    await transport.close()
    throw error
  }
}
