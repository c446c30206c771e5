/** The commands that change the shell they run in (POSIX XCU 2.14). */
import { Exit, LoopJump, pathFor, say, unlessKilled } from './process.ts'
import type { Io, Shell } from './shell.ts'

type Builtin = (shell: Shell, words: readonly string[], io: Io) => number | Promise<number>

const BUILTINS: Readonly<Record<string, Builtin>> = {
  ':': () => 0,
  cd: changeDirectory,
  exec: async (shell, words, io) => {
    if (words.length < 2) return 0
    throw new Exit(await shell.runProgram(words.slice(1), io))
  },
  exit: (shell, [, code]) => {
    throw new Exit(code === undefined ? shell.lastStatus : Number.parseInt(code, 10) || 0)
  },
  export: (shell, words) => {
    for (const word of words.slice(1)) {
      const [name, ...value] = word.split('=')
      if (value.length > 0) shell.variables.set(name!, value.join('='))
      shell.exported.add(name!)
    }
    return 0
  },
  unset: (shell, words) => {
    for (const name of words.slice(1)) {
      shell.variables.delete(name)
      shell.exported.delete(name)
    }
    return 0
  },
  break: () => {
    throw new LoopJump(true)
  },
  continue: () => {
    throw new LoopJump(false)
  },
  read: readVariables,
  // Options and traps change nothing here.
  set: () => 0,
  trap: () => 0,
  umask: () => 0,
  wait: async (shell) => {
    await unlessKilled(shell.context.signal, Promise.all(shell.jobs))
    return 0
  },
}

export function isBuiltin(name: string): boolean {
  return Object.hasOwn(BUILTINS, name)
}

/** @throws Exit, LoopJump */
export async function runBuiltin(shell: Shell, words: readonly string[], io: Io): Promise<number> {
  return await BUILTINS[words[0]!]!(shell, words, io)
}

async function changeDirectory(shell: Shell, [, to]: readonly string[], io: Io): Promise<number> {
  const path = pathFor(shell, to ?? shell.variables.get('HOME') ?? '/')
  if (shell.context.container.files.isDirectory(path)) {
    shell.directory = path
    shell.variables.set('PWD', path)
    return 0
  }
  await say(io.stderr, `sh: cd: can't cd to ${to}: No such file or directory\n`)
  return 2
}

/** The words of a line, the last variable taking what is left. */
async function readVariables(shell: Shell, words: readonly string[], io: Io): Promise<number> {
  const names = words.slice(1).filter((word) => !word.startsWith('-'))
  const { signal } = shell.context
  const line = await unlessKilled(signal, io.stdin.readLine(signal))
  const fields = (line ?? '').trim().split(/[ \t]+/)
  for (const [index, name] of names.entries()) {
    const isLast = index === names.length - 1
    shell.variables.set(name, (isLast ? fields.slice(index).join(' ') : fields[index]) ?? '')
  }
  return line === undefined ? 1 : 0
}
