import { UnreachableError } from '../errors.ts'

/** A person looks at a prompt meanwhile: an answer, whichever, comes within three seconds. */
const DEADLINE_MS = 2_800

/** An attempt that nobody has heard of for so long is given up, so that the next request begins another. */
export const ATTEMPT_MS = 20_000

/**
 * What `work` gives, if it does so in time. The work itself goes on: the next request may find it done.
 * @param who for the sentence: `the agent of idc-k8s`
 * @throws UnreachableError MCM_TIMEOUT, or what the work throws
 */
export async function withinDeadline<T>(
  work: Promise<T>,
  who: string,
  limitMs: number = DEADLINE_MS,
): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(lateError(who, limitMs)), limitMs)
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

function lateError(who: string, limitMs: number): UnreachableError {
  const message = `${who} did not answer within ${limitMs / 1000} s`
  return new UnreachableError('MCM_TIMEOUT', message, {
    hint: 'try again; mcm clusters shows which agents are connected',
  })
}
