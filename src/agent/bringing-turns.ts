import { AccessDeniedError, type McmError, TrustError, UnreachableError } from '../errors.ts'
import type { World } from '../world.ts'

/**
 * How much clients may bring of a directory at a time (PROTOCOL §3.6): what they send is held in memory, and its
 * signatures are checked, before anybody knows what it is worth.
 */
export interface BringingTurns {
  /**
   * Runs `work` for a user, one at a time. Where it refuses what was brought, whatever the same user brings in the
   * next ten seconds gets that refusal and is not looked at.
   * @throws UnreachableError MCM_LIMIT; what `work` throws
   */
  run<T>(user: string, work: () => Promise<T>): Promise<T>
  /** The part of it that checks signatures. @throws UnreachableError MCM_LIMIT; what `work` throws */
  judge<T>(work: () => Promise<T>): Promise<T>
}

/** Bodies under way, of 4 MiB at most, one of each user: whoever dawdles takes nobody else's place. */
const MAX_BRINGING = 32
/** Whose signatures are checked at a time. */
const MAX_JUDGING = 4
const PAUSE_MS = 10_000

interface Refusal {
  readonly error: McmError
  readonly since: number
}

export function bringingTurns(world: World): BringingTurns {
  const bringing = new Set<string>()
  const refusals = new Map<string, Refusal>()
  let judging = 0
  const now = () => world.now().getTime()
  const requireNoPause = (user: string) => {
    for (const [name, { since }] of refusals)
      if (Math.abs(now() - since) >= PAUSE_MS) refusals.delete(name)
    const refusal = refusals.get(user)
    if (refusal) throw refusal.error
  }
  return {
    async run(user, work) {
      requireNoPause(user)
      if (bringing.has(user) || bringing.size >= MAX_BRINGING) throw busy()
      bringing.add(user)
      try {
        return await work()
      } catch (error) {
        if (isRefusal(error)) refusals.set(user, { error, since: now() })
        throw error
      } finally {
        bringing.delete(user)
      }
    },
    async judge(work) {
      if (judging >= MAX_JUDGING) throw busy()
      judging += 1
      try {
        return await work()
      } finally {
        judging -= 1
      }
    },
  }
}

/** By judgement: a body that was cut off, or an API server that does not answer, is nobody's fault. */
function isRefusal(error: unknown): error is McmError {
  return error instanceof TrustError || error instanceof AccessDeniedError
}

function busy(): UnreachableError {
  return new UnreachableError('MCM_LIMIT', 'the agent takes statements from others at the moment')
}
