import type { Detail } from '../../src/directory/details.ts'
import type { Directory } from '../../src/directory/directory.ts'

/** Directories as a hub may tell them. */

/** The directory without some of its details. */
export function without(
  directory: Directory,
  isHidden: (seq: number, known: Detail) => boolean,
): Directory {
  const known = [...directory.known].filter(([seq, each]) => !each || !isHidden(seq, each))
  return shown(directory, { known: new Map(known) })
}

/** As a hub that checks nothing would hold it. */
export function shown(directory: Directory, instead: Partial<Directory>): Directory {
  const { head, statements, details, known, state, fleet } = directory
  return { ...{ head, statements, details, known, state, fleet }, ...instead } as Directory
}
