/** The files of one simulated container, in memory. Nothing of the machine it runs on can be reached by any path. */

export interface File {
  readonly kind: 'file'
  readonly mode: number
  readonly modified: Date
  readonly chunks: readonly Buffer[]
  readonly size: number
}

export interface Directory {
  readonly kind: 'directory'
  readonly mode: number
  readonly modified: Date
}

export type Entry = File | Directory

/** A refusal in the words of errno. */
export class FileError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'FileError'
  }
}

const MAX_BYTES = 64 * 1024 * 1024
const MAX_ENTRIES = 10_000

export class FileSystem {
  readonly #entries = new Map<string, Entry>()
  readonly #now: () => Date
  #bytes = 0

  constructor(now: () => Date) {
    this.#now = now
    this.#entries.set('/', { kind: 'directory', mode: 0o755, modified: now() })
  }

  get(path: string): Entry | undefined {
    return this.#entries.get(path)
  }

  isDirectory(path: string): boolean {
    return this.get(path)?.kind === 'directory'
  }

  /** The content of a file. @throws FileError */
  read(path: string): Buffer {
    const entry = this.get(path)
    if (!entry) throw new FileError('No such file or directory')
    if (entry.kind === 'directory') throw new FileError('Is a directory')
    return Buffer.concat(entry.chunks)
  }

  /** Replaces a file, or makes it. @throws FileError */
  write(path: string, content: Buffer, mode?: number): void {
    const old = this.#requireFile(path)
    const freed = old?.size ?? 0
    this.#take(content.length - freed)
    this.#put(path, { mode: mode ?? old?.mode ?? 0o644, chunks: [content], size: content.length })
  }

  /** Adds to a file, or makes it. @throws FileError */
  append(path: string, content: Buffer): void {
    const old = this.#requireFile(path)
    this.#take(content.length)
    const size = (old?.size ?? 0) + content.length
    const chunks = [...(old?.chunks ?? []), content]
    // Now and then in one piece, so that many small additions stay cheap.
    const packed = chunks.length > 256 ? [Buffer.concat(chunks)] : chunks
    this.#put(path, { mode: old?.mode ?? 0o644, chunks: packed, size })
  }

  /** Makes a directory and those above it. @throws FileError */
  makeDirectory(path: string): void {
    if (this.isDirectory(path)) return
    if (this.get(path)) throw new FileError('File exists')
    this.makeDirectory(parentOf(path))
    this.#requireRoom()
    this.#entries.set(path, { kind: 'directory', mode: 0o755, modified: this.#now() })
  }

  /** Takes an entry away, and everything below it. @throws FileError */
  remove(path: string): void {
    if (!this.get(path)) throw new FileError('No such file or directory')
    if (path === '/') throw new FileError('Device or resource busy')
    for (const [name, entry] of [...this.#entries]) {
      if (name !== path && !name.startsWith(`${path}/`)) continue
      this.#entries.delete(name)
      this.#bytes -= entry.kind === 'file' ? entry.size : 0
    }
  }

  /** The names in a directory, sorted. @throws FileError */
  list(path: string): readonly string[] {
    if (!this.get(path)) throw new FileError('No such file or directory')
    if (!this.isDirectory(path)) throw new FileError('Not a directory')
    const prefix = path === '/' ? '/' : `${path}/`
    return [...this.#entries.keys()]
      .filter((name) => name !== '/' && name.startsWith(prefix))
      .map((name) => name.slice(prefix.length))
      .filter((name) => !name.includes('/'))
      .sort()
  }

  #requireFile(path: string): File | undefined {
    const old = this.get(path)
    if (old?.kind === 'directory') throw new FileError('Is a directory')
    if (!this.isDirectory(parentOf(path))) throw new FileError('No such file or directory')
    if (!old) this.#requireRoom()
    return old
  }

  #requireRoom(): void {
    if (this.#entries.size >= MAX_ENTRIES) throw new FileError('No space left on device')
  }

  #take(bytes: number): void {
    if (this.#bytes + bytes > MAX_BYTES) throw new FileError('No space left on device')
    this.#bytes += bytes
  }

  #put(path: string, file: Omit<File, 'kind' | 'modified'>): void {
    this.#entries.set(path, { kind: 'file', modified: this.#now(), ...file })
  }
}

/** An absolute path without `.`, `..` and doubled slashes. */
export function resolvePath(directory: string, path: string): string {
  const parts: string[] = []
  for (const part of (path.startsWith('/') ? path : `${directory}/${path}`).split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}

export function parentOf(path: string): string {
  return resolvePath('/', `${path}/..`)
}

export function baseName(path: string): string {
  return path.replace(/\/+$/, '').split('/').at(-1) || '/'
}
