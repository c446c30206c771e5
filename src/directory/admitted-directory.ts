import type { Admission } from './admission.ts'
import type { Directory } from './directory.ts'

/** Gives a directory with the people who are admitted at this moment; asked for every request. */
export type WithAdmitted = (directory: Directory, admissions: readonly Admission[]) => Directory

/** Remembers the last answer, which stands until directory or list are others, or an admission ends. */
export function withAdmitted(now: () => Date): WithAdmitted {
  let last: { of: Directory; from: readonly Admission[]; endsAt: number; is: Directory } | undefined
  return (directory, admissions) => {
    const time = now().getTime()
    const isSame = last?.of === directory && last.from === admissions && time < last.endsAt
    if (last && isSame) return last.is
    const standing = admissions.filter(({ until }) => until.getTime() > time)
    const endsAt = Math.min(...standing.map(({ until }) => until.getTime()))
    last = { of: directory, from: admissions, endsAt, is: directory.admitting(standing) }
    return last.is
  }
}
