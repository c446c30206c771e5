import type { ClusterRecord } from '../directory/state.ts'
import { isMcmError, TrustError } from '../errors.ts'

/** What kept a command from one cluster, while it goes on with the others. */
export interface ClusterProblem {
  /** Name of the cluster. */
  readonly cluster: string
  readonly problem: string
}

/**
 * What was thrown of one cluster as that one's problem. Also where somebody else answered at its address, with what to
 * do about it: nobody guesses that, and a revocation must reach the other clusters. @throws bugs
 */
export function problemAt({ name }: ClusterRecord, error: unknown): ClusterProblem {
  if (!isMcmError(error)) throw error
  const { message, hint } = error
  const isDistrust = error instanceof TrustError && hint !== undefined
  return { cluster: name, problem: isDistrust ? `${message}; ${hint}` : message }
}
