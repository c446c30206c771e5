/** Programs that look at and change the files of the container. */
import { baseName, type Entry, FileError, parentOf, resolvePath } from './file-system.ts'
import { type Program, type ProgramContext, pathFor, say } from './process.ts'

export const FILE_PROGRAMS: Readonly<Record<string, Program>> = {
  pwd: async ({ directory, stdout }) => {
    await say(stdout, `${directory}\n`)
    return 0
  },
  ls: async (context) => {
    const { flags, names } = split(context)
    return each(context, names.length > 0 ? names : ['.'], async (name) => {
      const shown = listing(context, name, flags)
      const title = names.length > 1 ? `${name}:\n` : ''
      await say(context.stdout, title + shown)
    })
  },
  mkdir: (context) => {
    const { flags, names } = split(context)
    return each(context, names, (name) => {
      const path = pathFor(context, name)
      const { files } = context.container
      if (files.get(path) && !flags.includes('p')) throw new FileError('File exists')
      if (!flags.includes('p') && !files.isDirectory(parentOf(path)))
        throw new FileError('No such file or directory')
      files.makeDirectory(path)
    })
  },
  rm: (context) => {
    const { flags, names } = split(context)
    return each(context, names, (name) => {
      const path = pathFor(context, name)
      const { files } = context.container
      if (flags.includes('f') && !files.get(path)) return
      if (files.isDirectory(path) && !/r/i.test(flags)) throw new FileError('is a directory')
      files.remove(path)
    })
  },
  touch: (context) => {
    const { names } = split(context)
    return each(context, names, (name) =>
      context.container.files.append(pathFor(context, name), Buffer.alloc(0)),
    )
  },
  chmod: (context) => {
    const [mode = '', ...names] = context.words.slice(1)
    return each(context, names, (name) => {
      const { files } = context.container
      const path = pathFor(context, name)
      const entry = files.get(path)
      if (entry?.kind === 'directory') return
      const old = entry?.mode ?? 0
      const wanted = /^[0-7]+$/.test(mode) ? Number.parseInt(mode, 8) : old | 0o111
      files.write(path, files.read(path), wanted)
    })
  },
  cp: (context) => moveOrCopy(context, false),
  mv: (context) => moveOrCopy(context, true),
  basename: async ({ words, stdout }) => {
    await say(stdout, `${baseName(words[1] ?? '')}\n`)
    return 0
  },
  dirname: async ({ words, stdout }) => {
    const folder = (words[1] ?? '').replace(/\/?[^/]*\/*$/, '')
    await say(stdout, `${folder || (words[1]?.startsWith('/') ? '/' : '.')}\n`)
    return 0
  },
  test: async (context) => Number(!isTrue(context, context.words.slice(1))),
  '[': async (context) => Number(!isTrue(context, context.words.slice(1, -1))),
}

interface Arguments {
  /** All letters of all options. */
  readonly flags: string
  readonly names: readonly string[]
}

function split({ words }: ProgramContext): Arguments {
  const rest = words.slice(1)
  const flags = rest.filter((word) => /^-./.test(word)).join('')
  return { flags, names: rest.filter((word) => !/^-./.test(word)) }
}

/** What fails is said, and the exit code is 1. */
async function each(
  context: ProgramContext,
  names: readonly string[],
  use: (name: string) => void | Promise<void>,
): Promise<number> {
  let code = 0
  for (const name of names) {
    try {
      await use(name)
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      await say(context.stderr, `${context.words[0]}: ${name}: ${error.message}\n`)
      code = 1
    }
  }
  return code
}

function listing(context: ProgramContext, name: string, flags: string): string {
  const { files } = context.container
  const path = pathFor(context, name)
  const entry = files.get(path)
  if (!entry) throw new FileError('No such file or directory')
  const isFolder = entry.kind === 'directory' && !flags.includes('d')
  const names = isFolder
    ? files.list(path).filter((one) => flags.includes('a') || !one.startsWith('.'))
    : [name]
  const line = (one: string) =>
    longLine(one, files.get(isFolder ? resolvePath(path, one) : path) ?? entry)
  return names.map((one) => (flags.includes('l') ? line(one) : `${one}\n`)).join('')
}

function longLine(name: string, entry: Entry): string {
  const letters = [...'rwxrwxrwx'].map((letter, bit) =>
    entry.mode & (0o400 >> bit) ? letter : '-',
  )
  const kind = entry.kind === 'directory' ? 'd' : '-'
  const size = String(entry.kind === 'file' ? entry.size : 4096).padStart(9)
  const time = entry.modified.toISOString().slice(0, 16).replace('T', ' ')
  return `${kind}${letters.join('')}    1 root     root     ${size} ${time} ${name}\n`
}

async function moveOrCopy(context: ProgramContext, isMove: boolean): Promise<number> {
  const { files } = context.container
  const { names } = split(context)
  const target = pathFor(context, names.at(-1) ?? '')
  return each(context, names.slice(0, -1), (name) => {
    const from = pathFor(context, name)
    const to = files.isDirectory(target) ? resolvePath(target, baseName(from)) : target
    files.write(to, files.read(from))
    if (isMove) files.remove(from)
  })
}

/** The expressions of test(1) that scripts use. */
function isTrue(context: ProgramContext, words: readonly string[]): boolean {
  const [first, second, third] = words
  if (first === '!') return !isTrue(context, words.slice(1))
  if (words.length === 0) return false
  if (words.length === 1) return first !== ''
  if (words.length === 2) return isTrueOf(context, first!, second!)
  return compares(first!, second!, third ?? '')
}

function isTrueOf(context: ProgramContext, operator: string, word: string): boolean {
  if (operator === '-z') return word === ''
  if (operator === '-n') return word !== ''
  const entry = context.container.files.get(pathFor(context, word))
  if (operator === '-d') return entry?.kind === 'directory'
  if (operator === '-f') return entry?.kind === 'file'
  if (operator === '-s') return entry?.kind === 'file' && entry.size > 0
  if (operator === '-x') return entry !== undefined && (entry.mode & 0o111) !== 0
  return ['-e', '-r', '-w'].includes(operator) && entry !== undefined
}

function compares(left: string, operator: string, right: string): boolean {
  switch (operator) {
    case '=':
    case '==':
      return left === right
    case '!=':
      return left !== right
    case '-eq':
      return Number(left) === Number(right)
    case '-ne':
      return Number(left) !== Number(right)
    case '-lt':
      return Number(left) < Number(right)
    case '-le':
      return Number(left) <= Number(right)
    case '-gt':
      return Number(left) > Number(right)
    default:
      return operator === '-ge' && Number(left) >= Number(right)
  }
}
