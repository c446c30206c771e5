import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleProgram } from '../../scripts/image/bundle.ts'
import { parseLdd, runtimeFiles } from '../../scripts/image/runtime.ts'
import { tarArchive } from '../../scripts/image/tar.ts'

describe('parseLdd', () => {
  it('finds libraries and the linker, not what the kernel brings', () => {
    const output = [
      '\tlinux-vdso.so.1 (0x00007ff6fd6cc000)',
      '\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007ff6fd320000)',
      '\t/lib64/ld-linux-x86-64.so.2 (0x00007ff6fd6ce000)',
    ].join('\n')
    expect(parseLdd(output)).toEqual([
      '/lib/x86_64-linux-gnu/libm.so.6',
      '/lib64/ld-linux-x86-64.so.2',
    ])
  })

  it('does not go on without a library', () => {
    expect(() => parseLdd('\tlibx.so.1 => not found')).toThrow('libx.so.1 => not found')
  })
})

const PROGRAM = `
import { lookup } from 'node:dns/promises'
import { readdirSync } from 'node:fs'
import { userInfo } from 'node:os'
const { address } = await lookup('127.0.0.1')
console.log(JSON.stringify({
  uid: process.getuid(), gid: process.getgid(), name: userInfo().username, address,
  root: readdirSync('/').sort(), version: process.versions.node,
}))
`

const isRootOnLinux = process.platform === 'linux' && process.getuid?.() === 0

describe.runIf(isRootOnLinux)('the file system of the image', () => {
  let directory: string
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mcm-test-rootfs-'))
    const entry = join(directory, 'program.ts')
    writeFileSync(entry, PROGRAM)
    const files = [
      ...(await runtimeFiles(process.execPath)),
      { path: 'app/agent.js', content: await bundleProgram(entry, directory) },
      { path: 'app/package.json', content: Buffer.from('{"type":"module"}') },
    ]
    mkdirSync(join(directory, 'rootfs'))
    const into = ['-xf', '-', '-C', join(directory, 'rootfs')]
    execFileSync('tar', into, { input: tarArchive(files) })
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it('is all that Node needs, without root’s rights', () => {
    const output = execFileSync(
      'chroot',
      ['--userspec=65532:65532', join(directory, 'rootfs'), '/usr/local/bin/node', '/app/agent.js'],
      { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin' } },
    )
    expect(JSON.parse(output)).toMatchObject({
      uid: 65_532,
      gid: 65_532,
      name: 'nonroot',
      address: '127.0.0.1',
      version: process.versions.node,
      root: expect.not.arrayContaining(['bin', 'sbin', 'home', 'root']),
    })
  })

  it('has no shell and nothing that runs as somebody else', () => {
    const root = join(directory, 'rootfs')
    const names = execFileSync('find', [root, '-type', 'f', '-printf', '%f %m\n'], {
      encoding: 'utf8',
    })
    expect(names).not.toMatch(/^(ba|da|)sh |busybox|^env |apt|dpkg/m)
    expect(names.split('\n').filter((line) => / [4-7]\d{3}$/.test(line))).toEqual([])
  })
})
