/** Programs that make, change and count text. */
import { createHash } from 'node:crypto'
import { FileError } from './file-system.ts'
import { LineSource } from './lines.ts'
import { openForReading, openForWriting } from './open-file.ts'
import type { Sink, Source } from './pipe.ts'
import { type Program, type ProgramContext, say } from './process.ts'

const BLOCK_BYTES = 16 * 1024
const NEWLINE = 10

export const TEXT_PROGRAMS: Readonly<Record<string, Program>> = {
  echo: async ({ words, stdout }) => {
    const [option] = words.slice(1)
    const isFlag = option !== undefined && /^-[ne]+$/.test(option)
    const text = words.slice(isFlag ? 2 : 1).join(' ')
    const shown = isFlag && option.includes('e') ? unescaped(text) : text
    await say(stdout, isFlag && option.includes('n') ? shown : `${shown}\n`)
    return 0
  },
  printf: async ({ words, stdout }) => {
    await say(stdout, formatted(words[1] ?? '', words.slice(2)))
    return 0
  },
  yes: async ({ words, stdout }) => {
    const line = `${words.slice(1).join(' ') || 'y'}\n`
    const block = Buffer.from(line.repeat(Math.ceil(BLOCK_BYTES / line.length)))
    for (;;) await stdout.write(block)
  },
  seq: async ({ words, stdout }) => {
    const numbers = words.slice(1).map(Number)
    const [first, step, last] =
      numbers.length === 1
        ? [1, 1, numbers[0]!]
        : numbers.length === 2
          ? [numbers[0]!, 1, numbers[1]!]
          : (numbers as [number, number, number])
    if (step === 0) return 1
    let text = ''
    for (let value = first; step > 0 ? value <= last : value >= last; value += step) {
      text += `${value}\n`
      if (text.length < BLOCK_BYTES) continue
      await say(stdout, text)
      text = ''
    }
    await say(stdout, text)
    return 0
  },
  cat: (context) =>
    forEachInput(context, context.words.slice(1), (source) => copy(source, context.stdout)),
  tee: async (context) => {
    const sinks: Sink[] = context.words.slice(1).map((name) => openForWriting(context, name, false))
    await copy(context.stdin, {
      write: async (bytes) => {
        for (const sink of [...sinks, context.stdout]) await sink.write(bytes)
      },
      end: () => {},
    })
    return 0
  },
  head: (context) => {
    const { count, isBytes, names } = countOption(context.words)
    return forEachInput(context, names, (source) =>
      isBytes ? copyBytes(source, context.stdout, count) : copyLines(source, context.stdout, count),
    )
  },
  tail: (context) => {
    const { count, isBytes, isFrom, names } = countOption(context.words)
    return forEachInput(context, names, async (source) => {
      const all = await readWhole(source)
      const from = isFrom ? count - 1 : undefined
      await context.stdout.write(
        isBytes ? lastBytes(all, count, from) : lastLines(all, count, from),
      )
    })
  },
  wc: async (context) => {
    const flags = context.words
      .slice(1)
      .filter((word) => word.startsWith('-'))
      .join('')
    const names = context.words.slice(1).filter((word) => !word.startsWith('-'))
    return forEachInput(context, names, async (source, name) => {
      const counts = await countAll(source, flags === '-c')
      const wanted = (['l', 'w', 'c'] as const).filter((flag) => !flags || flags.includes(flag))
      const shown = wanted.map((flag) => String(counts[flag])).join(' ')
      await say(context.stdout, name === undefined ? `${shown}\n` : `${shown} ${name}\n`)
    })
  },
  tr: async ({ words, stdin, stdout }) => {
    const isDeleting = words[1] === '-d'
    const [from, to] = words.slice(isDeleting ? 2 : 1).map((word) => setOf(unescaped(word)))
    const table = new Map(
      (from ?? []).map((byte, index) => [byte, to?.[Math.min(index, to.length - 1)]]),
    )
    for (let chunk = await stdin.read(); chunk; chunk = await stdin.read()) {
      const bytes = [...chunk].map((byte) => (table.has(byte) ? table.get(byte) : byte))
      await stdout.write(Buffer.from(bytes.filter((byte) => byte !== undefined)))
    }
    return 0
  },
  grep: async (context) => {
    const flags = context.words
      .slice(1)
      .filter((word) => word.startsWith('-'))
      .join('')
    const [pattern = '', ...names] = context.words.slice(1).filter((word) => !word.startsWith('-'))
    const matcher = matcherOf(pattern, flags)
    let count = 0
    const code = await forEachInput(context, names, async (source) => {
      for await (const line of linesOf(source)) {
        if (matcher(line) === flags.includes('v')) continue
        count += 1
        if (!/[qc]/.test(flags)) await say(context.stdout, `${line}\n`)
      }
    })
    if (flags.includes('c')) await say(context.stdout, `${count}\n`)
    return code || Number(count === 0)
  },
  sort: async (context) => {
    const flags = context.words
      .slice(1)
      .filter((word) => word.startsWith('-'))
      .join('')
    const names = context.words.slice(1).filter((word) => !word.startsWith('-'))
    const lines: string[] = []
    const code = await forEachInput(context, names, async (source) => {
      for await (const line of linesOf(source)) lines.push(line)
    })
    lines.sort(flags.includes('n') ? (left, right) => Number(left) - Number(right) : undefined)
    if (flags.includes('r')) lines.reverse()
    const shown = flags.includes('u') ? [...new Set(lines)] : lines
    await say(context.stdout, shown.map((line) => `${line}\n`).join(''))
    return code
  },
  sha256sum: (context) => digests(context, 'sha256'),
  md5sum: (context) => digests(context, 'md5'),
  base64: async (context) => {
    const isDecoding = context.words.includes('-d')
    const names = context.words.slice(1).filter((word) => !word.startsWith('-'))
    return forEachInput(context, names, async (source) => {
      const all = await readWhole(source)
      const text = all.toString('base64').replace(/.{76}(?=.)/g, '$&\n')
      await context.stdout.write(
        isDecoding ? Buffer.from(all.toString('latin1'), 'base64') : Buffer.from(`${text}\n`),
      )
    })
  },
}

/** Files one by one, or stdin; what cannot be read is said, and the exit code is 1. */
async function forEachInput(
  context: ProgramContext,
  names: readonly string[],
  use: (source: Source, name: string | undefined) => Promise<void>,
): Promise<number> {
  let code = 0
  for (const name of names.length > 0 ? names : ['-']) {
    try {
      const isStdin = name === '-'
      const source = isStdin ? context.stdin : openForReading(context, name)
      await use(source, isStdin ? undefined : name)
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      await say(context.stderr, `${context.words[0]}: can't open '${name}': ${error.message}\n`)
      code = 1
    }
  }
  return code
}

async function copy(source: Source, sink: Sink): Promise<void> {
  for (let chunk = await source.read(); chunk; chunk = await source.read()) await sink.write(chunk)
}

async function copyBytes(source: Source, sink: Sink, count: number): Promise<void> {
  let left = count
  while (left > 0) {
    const chunk = await source.read()
    if (!chunk) return
    await sink.write(chunk.subarray(0, left))
    left -= chunk.length
  }
}

async function copyLines(source: Source, sink: Sink, count: number): Promise<void> {
  const lines = new LineSource(source)
  for (let left = count; left > 0; left -= 1) {
    const line = await lines.readLine()
    if (line === undefined) return
    await say(sink, `${line}\n`)
  }
}

const MAX_HELD_BYTES = 64 * 1024 * 1024

/** @throws FileError */
async function readWhole(source: Source): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for (let chunk = await source.read(); chunk; chunk = await source.read()) {
    chunks.push(chunk)
    length += chunk.length
    if (length > MAX_HELD_BYTES) throw new FileError('Out of memory')
  }
  return Buffer.concat(chunks)
}

async function* linesOf(source: Source): AsyncGenerator<string> {
  const lines = new LineSource(source)
  for (let line = await lines.readLine(); line !== undefined; line = await lines.readLine())
    yield line
}

function lastBytes(all: Buffer, count: number, from: number | undefined): Buffer {
  return from === undefined ? all.subarray(Math.max(0, all.length - count)) : all.subarray(from)
}

function lastLines(all: Buffer, count: number, from: number | undefined): Buffer {
  const lines = all.toString('latin1').split(/(?<=\n)/)
  const shown = from === undefined ? (count === 0 ? [] : lines.slice(-count)) : lines.slice(from)
  return Buffer.from(shown.join(''), 'latin1')
}

interface CountOption {
  readonly count: number
  readonly isBytes: boolean
  /** `+N`: from there on. */
  readonly isFrom: boolean
  readonly names: readonly string[]
}

/** `-n 5`, `-n5`, `-5`, `-c 100`, `-c+4`. */
function countOption(words: readonly string[]): CountOption {
  const text = words.slice(1).join('\n')
  const match = /^-(?:([nc])\n?)?([-+]?\d+)(?:\n|$)/.exec(text)
  const names = (match ? text.slice(match[0].length) : text).split('\n').filter((one) => one !== '')
  const value = match?.[2] ?? '10'
  const isBytes = match?.[1] === 'c'
  return { count: Math.abs(Number(value)), isBytes, isFrom: value.startsWith('+'), names }
}

async function countAll(
  source: Source,
  isBytesOnly: boolean,
): Promise<{ l: number; w: number; c: number }> {
  let [l, w, c, isInWord] = [0, 0, 0, false]
  for (let chunk = await source.read(); chunk; chunk = await source.read()) {
    c += chunk.length
    if (isBytesOnly) continue
    for (const byte of chunk) {
      if (byte === NEWLINE) l += 1
      const isBlank = byte === 32 || (byte >= 9 && byte <= 13)
      if (!isBlank && !isInWord) w += 1
      isInWord = !isBlank
    }
  }
  return { l, w, c }
}

function matcherOf(pattern: string, flags: string): (line: string) => boolean {
  const source = flags.includes('F') ? pattern.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') : pattern
  try {
    const expression = new RegExp(source, flags.includes('i') ? 'i' : '')
    return (line) => expression.test(line)
  } catch {
    return (line) => line.includes(pattern)
  }
}

async function digests(context: ProgramContext, algorithm: string): Promise<number> {
  return forEachInput(context, context.words.slice(1), async (source, name) => {
    const hash = createHash(algorithm)
    for (let chunk = await source.read(); chunk; chunk = await source.read()) hash.update(chunk)
    await say(context.stdout, `${hash.digest('hex')}  ${name ?? '-'}\n`)
  })
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  '\\': '\\',
  a: '\u0007',
}

function unescaped(text: string): string {
  return text.replace(/\\(0?[0-7]{1,3}|x[0-9a-fA-F]{2}|.)/g, (whole, code: string) => {
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8) & 0xff)
    if (/^x./.test(code)) return String.fromCharCode(Number.parseInt(code.slice(1), 16))
    return ESCAPES[code] ?? whole
  })
}

/** `a-z` and the like, as bytes. */
function setOf(text: string): readonly number[] {
  const spread = text.replace(/(.)-(.)/gs, (_, first: string, last: string) => {
    const length = Math.max(0, last.charCodeAt(0) - first.charCodeAt(0) + 1)
    return String.fromCharCode(...Array.from({ length }, (__, i) => first.charCodeAt(0) + i))
  })
  return [...Buffer.from(spread, 'latin1')]
}

/** The format again and again until the words are used up. */
function formatted(format: string, words: readonly string[]): string {
  const left = [...words]
  let text = ''
  do {
    text += unescaped(format).replace(/%(-?\d*)([sdbi%])/g, (_, width: string, kind: string) => {
      if (kind === '%') return '%'
      const word = left.shift() ?? (kind === 's' ? '' : '0')
      const size = Math.abs(Number(width) || 0)
      return width.startsWith('-') ? word.padEnd(size) : word.padStart(size)
    })
  } while (left.length > 0 && format.includes('%'))
  return text
}
