import { messageOf, UnreachableError } from '../errors.ts'

/** Two ways to the same end, of which the hub's is wanted (docs/PROTOCOL.md §8.1). */
export interface TwoWays<T> {
  hub(): Promise<T>
  /** Past the hub. Undefined where there is no such way. */
  direct(): Promise<T | undefined>
  /** Ends what came when the other way had been taken. */
  discard(late: T): void
}

/**
 * The hub's way; when it cannot be reached or takes too long also the direct one, and then the first that is
 * open. Whatever else a hub answers is believed: its refusal is no reason to go round it.
 * @throws what the hub's way throws, with why the direct one failed where neither can be gone
 */
export type EitherWay = <T>(ways: TwoWays<T>) => Promise<T>

/** How long a hub may take before the other way is tried as well. */
const PATIENCE_MS = 1_000
/** For so long after it was gone in vain both ways are tried at once. */
const MEMORY_MS = 15_000

/** Remembers when the hub was last found down. `now`: milliseconds of any clock. */
export function eitherWay(now: () => number): EitherWay {
  let downUntil = Number.NEGATIVE_INFINITY
  return (ways) => {
    const patienceMs = now() < downUntil ? 0 : PATIENCE_MS
    let hasHubAnswered = false
    const hub = async () => {
      const found = await ways.hub()
      hasHubAnswered = true
      downUntil = Number.NEGATIVE_INFINITY
      return found
    }
    const direct = async () => {
      const found = await ways.direct()
      if (found !== undefined && !hasHubAnswered) downUntil = now() + MEMORY_MS
      return found
    }
    return firstOf({ ...ways, hub, direct }, patienceMs)
  }
}

function firstOf<T>(ways: TwoWays<T>, patienceMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    let isOver = false
    let directBegan = false
    let hubError: UnreachableError | undefined
    let directFailure: { readonly error: unknown } | undefined
    const timer = setTimeout(tryDirect, patienceMs)
    ways.hub().then(take, (error: unknown) => {
      if (!(error instanceof UnreachableError)) return fail(error)
      hubError = error
      tryDirect()
      failWhenBothHave()
    })

    function tryDirect(): void {
      if (directBegan || isOver) return
      directBegan = true
      ways
        .direct()
        .then(
          (found) => (found === undefined ? directFailed(undefined) : take(found)),
          directFailed,
        )
    }
    function directFailed(error: unknown): void {
      directFailure = { error }
      failWhenBothHave()
    }
    function failWhenBothHave(): void {
      if (hubError && directFailure) fail(bothFailed(hubError, directFailure.error))
    }
    function take(found: T): void {
      if (isOver) ways.discard(found)
      else {
        end()
        resolve(found)
      }
    }
    function fail(error: unknown): void {
      end()
      reject(error)
    }
    function end(): void {
      isOver = true
      clearTimeout(timer)
    }
  })
}

function bothFailed(hub: UnreachableError, direct: unknown): UnreachableError {
  if (direct === undefined) return hub
  const message = `${hub.message}; nor is there a way past the hub: ${messageOf(direct)}`
  return new UnreachableError(hub.code, message, {
    ...(hub.hint === undefined ? {} : { hint: hub.hint }),
    cause: hub,
  })
}
