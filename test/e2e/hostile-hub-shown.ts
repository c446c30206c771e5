/** What a hostile hub may show of a directory. */
import type { Detail } from '../../src/directory/details.ts'
import type { Directory } from '../../src/directory/directory.ts'

/** The directory without some of its details. */
export function without(
  directory: Directory,
  isHidden: (seq: number, known: Detail) => boolean,
): Directory {
  const known = [...directory.known].filter(([seq, each]) => !each || !isHidden(seq, each))
  return shown(directory, { known: new Map(known) })
}

type Verifying = 'extend' | 'admitting' | 'page' | 'strandedAdmins' | 'lastByAdmin'

/** As a hub that checks nothing would hold it. */
export function shown(directory: Directory, instead: Partial<Directory>): Directory {
  const { head, statements, details, known, state, fleet, leadsTo } = directory
  const held = { head, statements, details, known, state, fleet, leadsTo, ...instead }
  // Named in full, so that a hub that asks a directory for more is told of here, not in the middle of a lie.
  return held satisfies Record<Exclude<keyof Directory, Verifying>, unknown> as Directory
}
