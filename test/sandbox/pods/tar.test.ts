import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { container, run, runForBytes } from './running-container.ts'

const scratch = mkdtempSync(join(tmpdir(), 'mcm-test-tar-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const LONG = `${'a-long-name-'.repeat(12)}.txt`

test('what a real tar packs is unpacked, long names and folders too', async () => {
  mkdirSync(join(scratch, 'from', 'inner'), { recursive: true })
  writeFileSync(join(scratch, 'from', 'inner', LONG), 'long\n')
  writeFileSync(join(scratch, 'from', 'run.sh'), 'echo ran\n', { mode: 0o755 })
  for (const format of ['gnu', 'ustar', 'pax']) {
    if (format === 'ustar') rmSync(join(scratch, 'from', 'inner', LONG))
    const archive = execFileSync('tar', ['-C', scratch, `--format=${format}`, '-cf', '-', 'from'])
    if (format === 'ustar') writeFileSync(join(scratch, 'from', 'inner', LONG), 'long\n')
    const within = container()
    const { stderr, exitCode } = await run(['tar', '-xmf', '-', '-C', '/tmp'], archive, within)
    expect({ format, stderr, exitCode }).toEqual({ format, stderr: '', exitCode: 0 })
    expect((await run(['sh', '-c', '/tmp/from/run.sh'], '', within)).stdout).toBe('ran\n')
    if (format !== 'ustar')
      expect((await run(['cat', `/tmp/from/inner/${LONG}`], '', within)).stdout).toBe('long\n')
  }
})

test('what is packed a real tar unpacks', async () => {
  const script = `mkdir -p /tmp/d/e; seq 10000 > /tmp/d/e/${LONG}; echo hi > /tmp/d/hi; tar cf - /tmp/d`
  const { stdout } = await runForBytes(['sh', '-c', script])
  const to = join(scratch, 'to')
  mkdirSync(to)
  execFileSync('tar', ['-C', to, '-xf', '-'], { input: stdout })
  expect(readFileSync(join(to, 'tmp/d/hi'), 'utf8')).toBe('hi\n')
  expect(readFileSync(join(to, 'tmp/d/e', LONG), 'utf8').split('\n')).toHaveLength(10_001)
})

test('no name in an archive leads out of where it is unpacked to the machine', async () => {
  const within = container()
  const name = '../../../../tmp/mcm-test-escaped'
  const packed = await runForBytes([
    'sh',
    '-c',
    'echo x > /tmp/mcm-test-escaped; tar cf - tmp/mcm-test-escaped',
  ])
  const archive = Buffer.from(packed.stdout)
  archive.fill(0, 0, 100)
  archive.write(name, 0)
  await run(['tar', '-xf', '-', '-C', '/root'], archive, within)
  expect((await run(['cat', '/tmp/mcm-test-escaped'], '', within)).stdout).toBe('x\n')
  expect(() => readFileSync('/tmp/mcm-test-escaped')).toThrow('ENOENT')
})

test('half an archive, and a folder that is not there, are errors', async () => {
  const { stdout } = await runForBytes(['sh', '-c', 'seq 1000 > /tmp/f; tar cf - /tmp/f'])
  const half = stdout.subarray(0, 1_500)
  expect(await run(['tar', 'xf', '-'], half)).toMatchObject({
    exitCode: 1,
    stderr: 'tar: short read\n',
  })
  expect((await run(['tar', 'xf', '-', '-C', '/nope'], stdout)).exitCode).toBe(1)
  expect((await run(['tar', 'cf', '-', '/nope'])).exitCode).toBe(1)
})
