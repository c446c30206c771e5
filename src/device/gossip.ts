import { setTimeout } from 'node:timers/promises'
import type { AgentApi } from '../client/agent.ts'
import { batches } from '../directory/batches.ts'
import { isByAdmin } from '../directory/chain.ts'
import type { Directory } from '../directory/directory.ts'
import { visibleDetails } from '../directory/visibility.ts'
import { isMcmError } from '../errors.ts'
import type { DirectoryAppend, NamedHead } from '../protocol/messages.ts'

/** Nobody waits for it longer than that after their own work is done; the next session goes on. */
const PATIENCE_MS = 2_000

export interface Gossip {
  /** Resolves when all is told, or after two seconds. @throws bugs */
  wait(): Promise<void>
}

/**
 * Tells the agent of a cluster how far this device knows the directory, and brings what it lacks: a hub that withholds
 * a revocation from it, or what a revocation says, is found out (PROTOCOL §3.6). Nobody needs it to go on, so what
 * fails is let be.
 */
export function gossip(
  agent: Pick<AgentApi, 'nameHead' | 'bringDirectory'>,
  directory: Directory,
  cluster: string,
): Gossip {
  const told = tell(agent, directory, cluster)
  told.catch(() => {})
  return { wait: () => Promise.race([told, setTimeout(PATIENCE_MS, undefined, { ref: false })]) }
}

async function tell(
  agent: Pick<AgentApi, 'nameHead' | 'bringDirectory'>,
  directory: Directory,
  cluster: string,
): Promise<void> {
  const own = directory.head
  if (own === null) return
  try {
    const theirs = await agent.nameHead(own)
    for (const batch of broughtTo(directory, cluster, theirs)) {
      const head = await agent.bringDirectory(batch)
      // Whoever does not go on has something against it.
      if (head === null || directory.statements[head.seq]?.hash !== head.hash) return
      if (batch.statements.length > 0 && head.seq <= (theirs.head?.seq ?? -1)) return
    }
  } catch (error) {
    if (!isMcmError(error)) throw error
  }
}

/**
 * What an agent lacks and takes from a client: up to the last statement of an admin, and of the details only those
 * that a hub would show it: it may be anybody's.
 */
function broughtTo(
  directory: Directory,
  cluster: string,
  { head, lacks }: NamedHead,
): Iterable<DirectoryAppend> {
  // Another statement under its number: it is not ours to set right.
  if (head === null || directory.statements[head.seq]?.hash !== head.hash) return []
  const after = head.seq
  const last = directory.lastByAdmin
  if (after >= last && lacks.length === 0) return []
  const wanted = new Set(lacks)
  const statements = directory.statements.slice(after + 1, last + 1).map(({ text }) => text)
  const details = visibleDetails(directory, { kind: 'agent', cluster }).filter(({ seq }) =>
    seq <= after ? wanted.has(seq) : seq <= last,
  )
  return batches({ statements, details }, after, (seq) => isByAdmin(directory.statements[seq]!))
}
