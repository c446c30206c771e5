/** `tar`, as much of it as `kubectl cp` needs: files and directories in the ustar format (POSIX XCU pax). */
import { type Entry, FileError, parentOf, resolvePath } from './file-system.ts'
import { openForReading, openForWriting } from './open-file.ts'
import type { Sink, Source } from './pipe.ts'
import { type ProgramContext, say } from './process.ts'

const BLOCK = 512
const EMPTY = Buffer.alloc(BLOCK)
const TYPE = { FILE: '0', DIRECTORY: '5', LONG_NAME: 'L', PAX: 'x', PAX_GLOBAL: 'g' } as const

interface Arguments {
  readonly letters: string
  readonly archive: string
  readonly directory: string
  readonly names: readonly string[]
}

export async function tar(context: ProgramContext): Promise<number> {
  const asked = readArguments(context)
  try {
    if (asked.letters.includes('x')) return await extract(context, asked)
    if (asked.letters.includes('c')) return await create(context, asked)
    await say(context.stderr, 'tar: one of c and x must be given\n')
    return 1
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    await say(context.stderr, `tar: ${error.message}\n`)
    return 1
  }
}

/** `tar cf - NAME`, `tar -xmf - -C DIR`, `tar -c -f - NAME`. */
function readArguments({ words, directory }: ProgramContext): Arguments {
  const rest = words.slice(1)
  const names: string[] = []
  let [letters, archive, folder] = ['', '-', directory]
  for (let index = 0; index < rest.length; index += 1) {
    const word = rest[index]!
    if (word === '-C') folder = resolvePath(directory, rest[++index] ?? '')
    else if (index === 0 || /^-[a-z]/i.test(word)) {
      letters += word.replace('-', '')
      if (word.includes('f')) archive = rest[++index] ?? '-'
    } else if (word !== '--') names.push(word)
  }
  return { letters, archive, directory: folder, names }
}

async function create(context: ProgramContext, asked: Arguments): Promise<number> {
  const { archive, directory, names } = asked
  const sink = archive === '-' ? context.stdout : openForWriting(context, archive, false)
  let code = 0
  for (const name of names) {
    const path = resolvePath(directory, name)
    const entry = context.container.files.get(path)
    if (entry) await writeEntry(context, sink, path, name.replace(/^\/+/, ''), entry)
    else {
      await say(context.stderr, `tar: ${name}: No such file or directory\n`)
      code = 1
    }
  }
  await sink.write(Buffer.concat([EMPTY, EMPTY]))
  return code
}

async function writeEntry(
  context: ProgramContext,
  sink: Sink,
  path: string,
  name: string,
  entry: Entry,
): Promise<void> {
  const { files } = context.container
  const shown = entry.kind === 'directory' ? `${name.replace(/\/$/, '')}/` : name
  const longName = Buffer.from(`${shown}\0`)
  if (longName.length > 100) {
    const head = header('././@LongLink', { size: longName.length, mode: 0, type: TYPE.LONG_NAME })
    await sink.write(Buffer.concat([head, padded(longName)]))
  }
  const type = entry.kind === 'directory' ? TYPE.DIRECTORY : TYPE.FILE
  const size = entry.kind === 'file' ? entry.size : 0
  const modified = entry.modified
  await sink.write(header(shown, { size, mode: entry.mode, type, modified }))
  if (entry.kind === 'file') {
    for (const chunk of entry.chunks) await sink.write(chunk)
    await sink.write(EMPTY.subarray(0, paddingOf(size)))
    return
  }
  for (const child of files.list(path)) {
    const childPath = resolvePath(path, child)
    await writeEntry(context, sink, childPath, `${shown}${child}`, files.get(childPath)!)
  }
}

interface HeaderFields {
  readonly size: number
  readonly mode: number
  readonly type: string
  readonly modified?: Date
}

function header(name: string, { size, mode, type, modified }: HeaderFields): Buffer {
  const block = Buffer.alloc(BLOCK)
  const octal = (value: number, offset: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1')
  block.write(name.slice(0, 100), 0)
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(Math.floor((modified?.getTime() ?? 0) / 1000), 136, 12)
  block.write(' '.repeat(8), 148)
  block.write(type, 156)
  block.write('ustar\u000000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

async function extract(context: ProgramContext, asked: Arguments): Promise<number> {
  const { archive, directory } = asked
  const source = archive === '-' ? context.stdin : openForReading(context, archive)
  const blocks = new BlockReader(source)
  const { files } = context.container
  if (!files.isDirectory(directory)) throw new FileError(`can't change directory to '${directory}'`)
  let longName: string | undefined
  for (;;) {
    const head = await blocks.take(BLOCK)
    if (!head || head.every((byte) => byte === 0)) break
    const { name, size, type, mode } = readHeader(head)
    const content = (await blocks.take(size + paddingOf(size)))?.subarray(0, size)
    if (!content) throw new FileError('short read')
    if (type === TYPE.LONG_NAME) longName = textOf(content)
    else if (type === TYPE.PAX) longName = paxPath(content) ?? longName
    else if (type !== TYPE.PAX_GLOBAL) {
      const path = resolvePath(directory, (longName ?? name).replace(/^\/+/, ''))
      longName = undefined
      if (type === TYPE.DIRECTORY) files.makeDirectory(path)
      else {
        files.makeDirectory(parentOf(path))
        files.write(path, content, mode)
      }
    }
  }
  // Whoever packs may still be writing padding.
  while (await source.read());
  return 0
}

function readHeader(head: Buffer): { name: string; size: number; type: string; mode: number } {
  const octal = (offset: number, length: number) =>
    Number.parseInt(textOf(head.subarray(offset, offset + length)).trim(), 8) || 0
  const prefix =
    head.toString('latin1', 257, 262) === 'ustar' ? textOf(head.subarray(345, 500)) : ''
  const name = textOf(head.subarray(0, 100))
  const type = head.toString('latin1', 156, 157)
  return {
    name: prefix ? `${prefix}/${name}` : name,
    size: octal(124, 12),
    mode: octal(100, 8) & 0o777,
    type: type === '\0' ? TYPE.FILE : type,
  }
}

/** The path in a pax header: `LENGTH path=VALUE\n`. */
function paxPath(content: Buffer): string | undefined {
  return /(?:^|\n)\d+ path=([^\n]*)\n/.exec(content.toString('utf8'))?.[1]
}

/** Takes exact numbers of bytes from a source. */
class BlockReader {
  readonly #source: Source
  #pending: Buffer[] = []
  #length = 0

  constructor(source: Source) {
    this.#source = source
  }

  /** @returns undefined when the source ends before */
  async take(count: number): Promise<Buffer | undefined> {
    while (this.#length < count) {
      const chunk = await this.#source.read()
      if (!chunk) return undefined
      this.#pending.push(chunk)
      this.#length += chunk.length
      if (this.#length > MAX_ARCHIVE_BYTES) throw new FileError('No space left on device')
    }
    const all = Buffer.concat(this.#pending)
    this.#pending = [all.subarray(count)]
    this.#length = all.length - count
    return all.subarray(0, count)
  }
}

const MAX_ARCHIVE_BYTES = 128 * 1024 * 1024

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, EMPTY.subarray(0, paddingOf(bytes.length))])
}

function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
}
