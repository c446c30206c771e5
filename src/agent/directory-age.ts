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

/** @throws UnreachableError MCM_DIRECTORY_OLD (PROTOCOL §3.6) */
export function requireYoung(
  { confirmed }: Pick<DirectoryState, 'confirmed'>,
  maximumAgeSeconds: number | undefined,
  world: World,
): void {
  if (maximumAgeSeconds === undefined) return
  const ageMs = confirmed ? world.now().getTime() - confirmed.getTime() : Number.POSITIVE_INFINITY
  if (ageMs <= maximumAgeSeconds * 1000) return
  const when = confirmed ? `at ${formatTime(confirmed)}` : 'never'
  throw new UnreachableError(
    'MCM_DIRECTORY_OLD',
    `an administrator last confirmed the directory ${when}, and this cluster wants that every ${maximumAgeSeconds} s, so nobody is let in`,
    { hint: 'any command of an administrator confirms it; if one has, the hub withholds it' },
  )
}
