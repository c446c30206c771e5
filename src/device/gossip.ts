import { setTimeout } from 'node:timers/promises'
import type { AgentApi } from '../client/agent.ts'
import { batches } from '../directory/batches.ts'
import { isByAdmin } from '../directory/chain.ts'
import type { Directory } from '../directory/directory.ts'
import { readLacking } from '../directory/lacking.ts'
import type { Statement } from '../directory/statement.ts'
import { visibleDetails } from '../directory/visibility.ts'
import { isMcmError } from '../errors.ts'
import type { DetailEnvelope, DirectoryAppend, Head, NamedHead } from '../protocol/messages.ts'

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
      if (!agrees(directory, head)) return
      if (batch.statements.length > 0 && head.seq <= (theirs.head?.seq ?? -1)) return
    }
  } catch (error) {
    if (!isMcmError(error)) throw error
  }
}

/**
 * What an agent lacks and takes from a client: up to the last statement of an admin, and of the details only those
 * that a hub would show it: it may be anybody's. All of it, in the order of `urgency`, and what others than admins
 * signed long ago after the statements: who signs heaps of them keeps no revocation waiting.
 */
function* broughtTo(
  directory: Directory,
  cluster: string,
  { head, lacks }: NamedHead,
): Generator<DirectoryAppend> {
  if (!agrees(directory, head)) return
  const after = head.seq
  const last = directory.lastByAdmin
  if (after >= last && lacks === '') return
  const isLacking = readLacking(lacks)
  const statementOf = ({ seq }: { seq: number }) => directory.statements[seq]!
  const details = visibleDetails(directory, { kind: 'agent', cluster })
    .filter(({ seq }) => (seq <= after ? isLacking(seq) : seq <= last))
    .sort((a, b) => urgency(statementOf(a)) - urgency(statementOf(b)))
  const waits = (detail: DetailEnvelope) => detail.seq <= after && !isByAdmin(statementOf(detail))
  const statements = directory.statements.slice(after + 1, last + 1).map(({ text }) => text)
  const first = { statements, details: details.filter((detail) => !waits(detail)) }
  yield* batches(first, after, (seq) => isByAdmin(statementOf({ seq })))
  yield* batches({ statements: [], details: details.filter(waits) }, after)
}

/**
 * Another statement under the number of its head is not ours to set right. One that knows more than we do, as a hub
 * can always arrange, may lack a detail all the same, and judges what it is brought.
 */
function agrees(directory: Directory, head: Head | null): head is Head {
  if (head === null) return false
  const own = directory.statements[head.seq]
  return own === undefined || own.hash === head.hash
}

/** What ends somebody, then what else admins signed, then what anybody may sign as often as they like. */
function urgency(statement: Statement): number {
  if (statement.type === 'revoke') return 0
  if (isByAdmin(statement)) return 1
  return statement.type === 'removal' ? 2 : 3
}
