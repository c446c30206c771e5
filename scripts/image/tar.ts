/**
 * A tar archive (POSIX ustar) that depends on nothing but what is in it: sorted, owned by root, dated
 * 1970, with every directory spelled out.
 */

export interface TarEntry {
  /** Relative, without a leading slash; at most 100 bytes. */
  readonly path: string
  /** Absent: a directory. */
  readonly content?: Buffer
  /** Permission bits. Default 0o644 for files, 0o755 for directories. */
  readonly mode?: number
}

const BLOCK = 512

/** The archive of these files and of every directory above them. @throws Error for a path that does not fit */
export function tarArchive(entries: readonly TarEntry[]): Buffer {
  const byPath = new Map(withDirectories(entries).map((entry) => [entry.path, entry]))
  const sorted = [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
  const parts = sorted.flatMap((entry) => {
    const content = entry.content ?? Buffer.alloc(0)
    return [header(entry), content, Buffer.alloc(-content.length & (BLOCK - 1))]
  })
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)])
}

function withDirectories(entries: readonly TarEntry[]): TarEntry[] {
  const directories = entries.flatMap(({ path }) => {
    const parts = path.split('/').slice(0, -1)
    return parts.map((_, index) => ({ path: parts.slice(0, index + 1).join('/') }))
  })
  return [...directories, ...entries]
}

function header({ path, content, mode }: TarEntry): Buffer {
  const isDirectory = content === undefined
  const name = isDirectory ? `${path}/` : path
  if (Buffer.byteLength(name) > 100 || name.startsWith('/'))
    throw new Error(
      `${name} cannot stand in a tar archive: it is longer than 100 bytes or absolute`,
    )
  const block = Buffer.alloc(BLOCK)
  block.write(name, 0)
  writeOctal(block, 100, 8, mode ?? (isDirectory ? 0o755 : 0o644))
  writeOctal(block, 108, 8, 0)
  writeOctal(block, 116, 8, 0)
  writeOctal(block, 124, 12, content?.length ?? 0)
  writeOctal(block, 136, 12, 0)
  block.fill(' ', 148, 156)
  block.write(isDirectory ? '5' : '0', 156)
  block.write('ustar\u000000', 257)
  writeOctal(block, 329, 8, 0)
  writeOctal(block, 337, 8, 0)
  const checksum = block.reduce((sum, byte) => sum + byte, 0)
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

function writeOctal(block: Buffer, offset: number, length: number, value: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset)
}
