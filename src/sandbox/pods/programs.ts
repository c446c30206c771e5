/** Every command that containers of the sandbox have. */
import { FILE_PROGRAMS } from './file-programs.ts'
import type { Program } from './process.ts'
import { sh } from './shell-program.ts'
import { SYSTEM_PROGRAMS } from './system-programs.ts'
import { tar } from './tar.ts'
import { TEXT_PROGRAMS } from './text-programs.ts'

export const PROGRAMS: ReadonlyMap<string, Program> = new Map(
  Object.entries({ ...FILE_PROGRAMS, ...SYSTEM_PROGRAMS, ...TEXT_PROGRAMS, sh, ash: sh, tar }),
)
