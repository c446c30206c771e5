import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { tarArchive } from '../../scripts/image/tar.ts'

const FILES = [
  { path: 'b/script', content: Buffer.from('#!/x\n'), mode: 0o755 },
  { path: 'a/deep/er/file', content: Buffer.alloc(1000, 'x') },
  { path: 'empty', content: Buffer.alloc(0) },
]

it('tar itself reads it: sorted, root’s, dated 1970, with every directory', () => {
  const listing = execFileSync('tar', ['-tvf', '-', '--numeric-owner', '--utc'], {
    input: tarArchive(FILES),
    encoding: 'utf8',
  })
  const lines = listing.trim().split('\n')
  expect(lines.map((line) => line.replace(/ +/g, ' '))).toEqual([
    'drwxr-xr-x 0/0 0 1970-01-01 00:00 a/',
    'drwxr-xr-x 0/0 0 1970-01-01 00:00 a/deep/',
    'drwxr-xr-x 0/0 0 1970-01-01 00:00 a/deep/er/',
    '-rw-r--r-- 0/0 1000 1970-01-01 00:00 a/deep/er/file',
    'drwxr-xr-x 0/0 0 1970-01-01 00:00 b/',
    '-rwxr-xr-x 0/0 5 1970-01-01 00:00 b/script',
    '-rw-r--r-- 0/0 0 1970-01-01 00:00 empty',
  ])
})

it('gives the content back', () => {
  const content = execFileSync('tar', ['-xOf', '-', 'a/deep/er/file'], { input: tarArchive(FILES) })
  expect(content.toString()).toBe('x'.repeat(1000))
})

it('is the same whatever the order of the files', () => {
  expect(tarArchive([...FILES].reverse()).equals(tarArchive(FILES))).toBe(true)
})

it.each(['x'.repeat(101), '/etc/passwd'])('refuses the path %s', (path) => {
  expect(() => tarArchive([{ path, content: Buffer.alloc(0) }])).toThrow('cannot stand in a tar')
})
