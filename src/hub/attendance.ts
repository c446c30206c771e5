import { messageOf } from '../errors.ts'
import type { Log } from '../world.ts'
import type { AgentRecord, HubStore } from './store.ts'

/**
 * When each agent was last seen, written a few seconds late and many at once: a crowd of agents that
 * comes back together must not wait for the disk one by one.
 */
export interface Attendance {
  record(agent: AgentRecord): void
  /** Writes what is not written yet. */
  flush(): Promise<void>
}

export function attendance(store: HubStore, log: Log, delayMs: number): Attendance {
  const pending = new Map<string, AgentRecord>()
  let timer: NodeJS.Timeout | undefined
  async function flush(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const records = [...pending.values()]
    pending.clear()
    if (records.length === 0) return
    try {
      await store.recordAgents(records)
    } catch (error) {
      log.error('agents_not_recorded', { count: records.length, reason: messageOf(error) })
    }
  }
  return {
    record(agent) {
      pending.set(`${agent.cluster}/${agent.replica}`, agent)
      timer ??= setTimeout(() => void flush(), delayMs)
    },
    flush,
  }
}
