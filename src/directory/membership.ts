import type { MemberDetail } from './details.ts'
import type { Membership } from './state.ts'
import { parseTime } from './time.ts'

/** A membership that had not ended goes on, with its new end. */
export function membershipOf(
  { subject, expires }: MemberDetail,
  time: Date,
  before: Membership | undefined,
): Membership {
  const goesOn = before && (before.expires === undefined || time < before.expires)
  const since = goesOn ? before.since : time
  return { subject, since, ...(expires === undefined ? {} : { expires: parseTime(expires)! }) }
}
