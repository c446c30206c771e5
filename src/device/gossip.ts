import type { AgentApi } from '../client/agent.ts'
import type { Directory } from '../directory/directory.ts'
import { isMcmError } from '../errors.ts'
import type { DirectoryAppend } from '../protocol/messages.ts'

/** A batch of what an agent may lack; it takes 4 MiB. */
const MAX_BATCH_CHARACTERS = 1 << 20
const MAX_BATCHES = 64

/**
 * Tells an agent how far this device knows the directory, and brings what it lacks: a hub that withholds a
 * revocation from it is found out (PROTOCOL §3.6). Nobody needs it to go on, so what fails is let be.
 */
export async function gossip(
  agent: Pick<AgentApi, 'nameHead' | 'bringDirectory'>,
  directory: Directory,
): Promise<void> {
  try {
    const own = directory.head
    let theirs = own && (await agent.nameHead(own))
    for (let batch = 0; theirs && own && theirs.seq < own.seq && batch < MAX_BATCHES; batch++) {
      // Another statement under its number: it is not ours to set right.
      if (directory.statements[theirs.seq]?.hash !== theirs.hash) return
      theirs = await agent.bringDirectory(batchAfter(directory, theirs.seq))
    }
  } catch (error) {
    if (!isMcmError(error)) throw error
  }
}

function batchAfter(directory: Directory, after: number): DirectoryAppend {
  const { statements, details } = directory.page(after)
  let characters = 0
  const fitting = statements.findIndex((text, index) => {
    characters += text.length + (directory.details.get(after + 1 + index)?.text.length ?? 0)
    return index > 0 && characters > MAX_BATCH_CHARACTERS
  })
  const count = fitting < 0 ? statements.length : fitting
  return {
    statements: statements.slice(0, count),
    details: details.filter(({ seq }) => seq <= after + count),
  }
}
