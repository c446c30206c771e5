import type { DirectoryState } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { UnreachableError } from '../errors.ts'
import type { World } from '../world.ts'

/** What the directory says of people here, and whether anybody may be let in by it. */
export interface PeopleView {
  readonly state: DirectoryState
  isFresh(): boolean
  /**
   * Where the owner set a maximum age. @throws UnreachableError MCM_DIRECTORY_OLD when no admin has confirmed
   * the directory for longer
   */
  requireConfirmed?(): void
}

/** How far clocks may be apart. */
const MAX_SKEW_MS = 10 * 60_000

/** @throws UnreachableError MCM_DIRECTORY_OLD (PROTOCOL §3.6) */
export function requireYoung(
  { confirmed }: Pick<DirectoryState, 'confirmed'>,
  maximumAgeSeconds: number | undefined,
  world: World,
): void {
  if (maximumAgeSeconds === undefined) return
  const ageMs = confirmed ? world.now().getTime() - confirmed.getTime() : Number.POSITIVE_INFINITY
  // By a clock that is wrong, here or there, a directory would stay young for as long as it is ahead.
  if (ageMs < -MAX_SKEW_MS) throw ofTimeToCome(confirmed!, world.now())
  if (ageMs <= maximumAgeSeconds * 1000) return
  const when = confirmed ? `at ${formatTime(confirmed)}` : 'never'
  throw new UnreachableError(
    'MCM_DIRECTORY_OLD',
    `an administrator last confirmed the directory ${when}, and this cluster wants that every ${maximumAgeSeconds} s, so nobody is let in`,
    { hint: 'any command of an administrator confirms it; if one has, the hub withholds it' },
  )
}

function ofTimeToCome(confirmed: Date, now: Date): UnreachableError {
  return new UnreachableError(
    'MCM_DIRECTORY_OLD',
    `an administrator last confirmed the directory at ${formatTime(confirmed)}, and by the clock of this cluster it is ${formatTime(now)}, so nobody is let in`,
    { hint: 'set the clock that is wrong; any command of an administrator confirms it anew' },
  )
}
