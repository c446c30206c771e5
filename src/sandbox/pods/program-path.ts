/** Which program a name stands for: one of the built-in ones, or a script among the files of the container. */
import type { ContainerParts } from './container-parts.ts'
import { baseName, parentOf, resolvePath } from './file-system.ts'
import type { Program } from './process.ts'

export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const FOLDERS = new Set(PATH.split(':'))
const EXECUTABLE = 0o111

export interface FoundProgram {
  readonly run: Program
  readonly words: readonly string[]
}

/** @param words the program's name and its arguments */
export function findProgram(
  { programs, files }: Pick<ContainerParts, 'programs' | 'files'>,
  directory: string,
  words: readonly string[],
): FoundProgram | 'missing' | 'forbidden' {
  const name = words[0]!
  if (!name.includes('/')) {
    const run = programs.get(name)
    return run ? { run, words } : 'missing'
  }
  const path = resolvePath(directory, name)
  const builtin = FOLDERS.has(parentOf(path)) ? programs.get(baseName(path)) : undefined
  if (builtin) return { run: builtin, words }
  const entry = files.get(path)
  if (!entry) return 'missing'
  if (entry.kind === 'directory' || !(entry.mode & EXECUTABLE)) return 'forbidden'
  return { run: programs.get('sh')!, words: ['sh', path, ...words.slice(1)] }
}
