import { resolve } from 'node:path'
import type { CommandSource } from '../device/provided-token.ts'
import { UsageError } from '../errors.ts'

/** Tokens that a CI system has put somewhere: a line for the shell that prints them, kept and run again. */

export function tokenInFile(path: string): CommandSource {
  const quoted = `'${resolve(path).replaceAll("'", `'\\''`)}'`
  return { kind: 'command', command: `cat ${quoted}`, isAudienceFixed: true }
}

/** @throws UsageError MCM_USAGE naming the flag */
export function tokenInVariable(flag: string, name: string): CommandSource {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    return { kind: 'command', command: `printf %s "$${name}"`, isAudienceFixed: true }
  throw new UsageError('MCM_USAGE', `--${flag} ${JSON.stringify(name)} is no name of a variable`, {
    hint: `name the variable, without $: --${flag} MCM_ID_TOKEN`,
  })
}
