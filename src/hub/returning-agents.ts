import type { HubStore } from './store.ts'

/**
 * A hub that has just started is ahead of its agents: whoever asks for a cluster that had one before waits
 * for its return, for a short while, instead of hearing that there is none.
 */
export interface ReturningAgents {
  /** Resolves when the cluster's agent has come, or need not be waited for. */
  wait(cluster: string, isThere: () => boolean): Promise<void>
  /** An agent of the cluster has come. */
  arrived(cluster: string): void
  /** Nobody waits any longer. */
  stop(): void
}

/** Waits until `returnMs` after this call, for the clusters that the store knows agents of now. */
export function returningAgents(
  store: Pick<HubStore, 'readAgents'>,
  returnMs: number,
): ReturningAgents {
  const until = performance.now() + returnMs
  const waiting = new Map<string, Set<() => void>>()
  let isOver = false
  const former = store.readAgents().then(
    (agents) => new Set(agents.map(({ cluster }) => cluster)),
    () => new Set<string>(),
  )
  const leftMs = () => (isOver ? 0 : until - performance.now())
  async function waitFor(cluster: string, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const those = waiting.get(cluster) ?? new Set()
    waiting.set(cluster, those.add(resolve))
    const timer = setTimeout(resolve, ms)
    await promise
    clearTimeout(timer)
    those.delete(resolve)
    if (those.size === 0) waiting.delete(cluster)
  }
  return {
    async wait(cluster, isThere) {
      if (isThere() || leftMs() <= 0 || !(await former).has(cluster)) return
      const ms = leftMs()
      if (!isThere() && ms > 0) await waitFor(cluster, ms)
    },
    arrived(cluster) {
      for (const goOn of waiting.get(cluster) ?? []) goOn()
    },
    stop() {
      isOver = true
      for (const those of waiting.values()) for (const goOn of those) goOn()
    },
  }
}
