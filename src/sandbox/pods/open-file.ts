/** Files and the few devices a container has, as ends to read from and write to. */
import { randomFillSync } from 'node:crypto'
import { expandText } from './expansion.ts'
import { FileError } from './file-system.ts'
import { withLines } from './lines.ts'
import { NOTHING, NOWHERE, type Sink, type Source, sourceOfBytes } from './pipe.ts'
import type { ProgramContext } from './process.ts'
import { pathFor } from './process.ts'
import type { Io, Shell } from './shell.ts'
import type { Redirection } from './shell-syntax.ts'

const BLOCK_BYTES = 32 * 1024

type Ends = Pick<ProgramContext, 'container' | 'directory' | 'stdin' | 'stdout' | 'stderr'>

/** @throws FileError */
export function openForReading(context: Ends, name: string): Source {
  const path = pathFor(context, name)
  if (path === '/dev/null') return NOTHING
  if (path === '/dev/stdin') return context.stdin
  if (path === '/dev/zero') return endless(() => Buffer.alloc(BLOCK_BYTES))
  if (path === '/dev/urandom' || path === '/dev/random')
    return endless(() => randomFillSync(Buffer.alloc(BLOCK_BYTES)))
  return sourceOfBytes(context.container.files.read(path))
}

/** @throws FileError */
export function openForWriting(context: Ends, name: string, isAppending: boolean): Sink {
  const path = pathFor(context, name)
  if (path === '/dev/null') return NOWHERE
  if (path === '/dev/stdout') return unended(context.stdout)
  if (path === '/dev/stderr') return unended(context.stderr)
  const { files } = context.container
  if (isAppending) files.append(path, Buffer.alloc(0))
  else files.write(path, Buffer.alloc(0))
  return { write: async (bytes) => files.append(path, bytes), end: () => {} }
}

/** The ends of a command after its redirections, from left to right. @throws FileError */
export async function openRedirections(
  redirections: readonly Redirection[],
  io: Io,
  shell: Shell,
): Promise<Io> {
  let opened = io
  for (const redirection of redirections) {
    const target = await expandText(redirection.target, shell.expansion(io))
    opened = redirect(opened, redirection, target, shell)
  }
  return opened
}

function redirect(io: Io, { descriptor, operator }: Redirection, target: string, shell: Shell): Io {
  const context = { ...io, container: shell.context.container, directory: shell.directory }
  try {
    if (operator === '<') return { ...io, stdin: withLines(openForReading(context, target)) }
    if (operator === '<&') return io
    const sink =
      operator === '>&' ? duplicate(io, target) : openForWriting(context, target, operator === '>>')
    return descriptor === 2 ? { ...io, stderr: sink } : { ...io, stdout: sink }
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    const what = operator === '<' ? "can't open" : "can't create"
    throw new FileError(`${what} ${target}: ${error.message}`)
  }
}

function duplicate(io: Io, target: string): Sink {
  if (target === '1') return io.stdout
  if (target === '2') return io.stderr
  throw new FileError('Bad file descriptor')
}

function endless(block: () => Buffer): Source {
  return { read: async () => block(), cancel: () => {} }
}

function unended(sink: Sink): Sink {
  return { write: (bytes) => sink.write(bytes), end: () => {} }
}
