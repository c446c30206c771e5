import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeEach, expect, test } from 'vitest'
import { deleteFile, readTextIfAny, withFileLock, writeFileAtomic } from '../../src/store/files.ts'

let home: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'mcm-files-'))
})

test('a missing file reads as undefined, a directory in its place is an error that names it', async () => {
  expect(await readTextIfAny(join(home, 'none'))).toBeUndefined()
  await expect(readTextIfAny(home)).rejects.toMatchObject({ code: 'MCM_STATE_DAMAGED' })
})

test('a written file is private and so are the directories made for it', async () => {
  const path = join(home, 'a', 'b', 'state.json')
  await writeFileAtomic(path, 'text')
  expect(await readFile(path, 'utf8')).toBe('text')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect((await stat(join(home, 'a'))).mode & 0o777).toBe(0o700)
})

test('a file keeps the mode it is given whatever the umask', async () => {
  const before = process.umask(0o077)
  try {
    await writeFileAtomic(join(home, 'open'), 'text', 0o644)
  } finally {
    process.umask(before)
  }
  expect((await stat(join(home, 'open'))).mode & 0o777).toBe(0o644)
})

test('a failed write leaves the old text and no temporary file', async () => {
  await mkdir(join(home, 'taken'))
  await expect(writeFileAtomic(join(home, 'taken'), 'text')).rejects.toMatchObject({
    code: 'MCM_STATE_UNWRITABLE',
    exitCode: 8,
  })
  expect(await readdir(home)).toEqual(['taken'])
})

test('a directory that cannot be made is reported with the path and a next step', async () => {
  await writeFile(join(home, 'file'), '')
  const error = await writeFileAtomic(join(home, 'file', 'state.json'), 'x').catch((e) => e)
  expect(error.message).toContain(join(home, 'file'))
  expect(error.hint).toContain('MCM_HOME')
})

test('deleting says whether there was anything', async () => {
  await writeFileAtomic(join(home, 'x'), '')
  expect(await deleteFile(join(home, 'x'))).toBe(true)
  expect(await deleteFile(join(home, 'x'))).toBe(false)
})

test('work under a lock never overlaps within one process', async () => {
  const path = join(home, 'counter')
  await writeFile(path, '0')
  const add = () =>
    withFileLock(path, async () => {
      const value = Number(await readFile(path, 'utf8'))
      await writeFileAtomic(path, String(value + 1))
    })
  await Promise.all(Array.from({ length: 12 }, add))
  expect(await readFile(path, 'utf8')).toBe('12')
  expect(await readdir(home)).toEqual(['counter'])
})

test('work under a lock never overlaps between processes', async () => {
  const path = join(home, 'counter')
  await writeFile(path, '0')
  const children = Array.from({ length: 5 }, () => countInChild(path, 6))
  await Promise.all(children.map(exited))
  expect(await readFile(path, 'utf8')).toBe('30')
})

test('a lock file that kubectl holds is respected, and named when waiting was in vain', async () => {
  const path = join(home, 'config')
  await writeFile(`${path}.lock`, '')
  const error = await withFileLock(path, async () => 'never', { waitMs: 100 }).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_STATE_LOCKED', exitCode: 8 })
  expect(error.hint).toContain(`${path}.lock`)
})

test('a lock file that kubectl left long ago is named too: it is not ours to take away', async () => {
  const path = join(home, 'config')
  await writeFile(`${path}.lock`, '')
  const long = new Date(Date.now() - 86_400_000)
  await utimes(`${path}.lock`, long, long)
  const began = performance.now()
  const error = await withFileLock(path, async () => {}).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_STATE_LOCKED', exitCode: 8 })
  // Nobody lets go of it, so nobody waits for that.
  expect(performance.now() - began).toBeLessThan(10_000)
  expect(error.hint).toContain(`${path}.lock`)
})

test('the lock of a process that died is taken over', async () => {
  const path = join(home, 'state')
  await mkdir(`${path}.lock`)
  const long = new Date(Date.now() - 60_000)
  await utimes(`${path}.lock`, long, long)
  expect(await withFileLock(path, async () => 'done', { waitMs: 1_000 })).toBe('done')
})

test('a failure inside the lock comes out unchanged and the lock is free again', async () => {
  const path = join(home, 'state')
  const failure = new Error('inside')
  await expect(withFileLock(path, async () => Promise.reject(failure))).rejects.toBe(failure)
  expect(await withFileLock(path, async () => 'free', { waitMs: 100 })).toBe('free')
})

function countInChild(path: string, times: number): ChildProcess {
  const files = pathToFileURL(join(import.meta.dirname, '../../src/store/files.ts')).href
  const program = `
    import { readFile } from 'node:fs/promises'
    import { withFileLock, writeFileAtomic } from '${files}'
    const path = ${JSON.stringify(path)}
    for (let i = 0; i < ${times}; i++) await withFileLock(path, async () => {
      await writeFileAtomic(path, String(Number(await readFile(path, 'utf8')) + 1))
    })`
  return spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'inherit' })
}

async function exited(child: ChildProcess): Promise<void> {
  const code = await new Promise((resolve) => child.on('exit', resolve))
  expect(code).toBe(0)
}
