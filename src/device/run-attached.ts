import type { ChildClusters } from './child-clusters.ts'
import type { Child, ChildEnd, StartChild } from './child-process.ts'

/** One program on the person's own terminal, with a kubeconfig that ends with it. */

export interface Attachment {
  readonly start: StartChild
  /** From now on signals to this process are `take`'s. */
  takeSignals(take: (signal: NodeJS.Signals) => void): void
  /** Aborted by a signal that came before. */
  readonly signal: AbortSignal
  /** Whether Ctrl-C reaches the program by itself: it is in the foreground of the same terminal. */
  readonly sharesTerminal: boolean
}

/** What a terminal sends to everything in its foreground. */
const FROM_KEYBOARD: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT'])

/**
 * Runs a program for all of the clusters to its end; `current` is the index of its current context. Signals
 * go to the program, which decides what they mean. @throws NotFoundError MCM_PROGRAM_UNKNOWN, StateError
 */
export async function runAttached(
  { clusters, environment, remove }: ChildClusters,
  command: readonly string[],
  attachment: Attachment,
  current: number | undefined,
): Promise<ChildEnd> {
  try {
    const env = await environment(clusters, current === undefined ? undefined : clusters[current])
    let child: Child | undefined
    // Before it starts: a signal that comes while it does is its own too.
    attachment.takeSignals((signal) => {
      if (!(attachment.sharesTerminal && FROM_KEYBOARD.has(signal))) child?.kill(signal)
    })
    attachment.signal.throwIfAborted()
    child = attachment.start(command, { env, kind: 'attached' })
    return await child.ended
  } finally {
    remove()
  }
}
