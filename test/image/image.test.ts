import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const isRootOnLinux = process.platform === 'linux' && process.getuid?.() === 0

describe.runIf(isRootOnLinux)('npm run image', () => {
  let directory: string
  let root: string
  const image = (name: string) => {
    const path = join(directory, `${name}.tar`)
    execFileSync(process.execPath, [
      'scripts/image.ts',
      '--name',
      `example.org/${name}`,
      '--out',
      path,
    ])
    return path
  }

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'mcm-test-image-'))
    root = join(directory, 'rootfs')
    const unpacked = join(directory, 'unpacked')
    for (const folder of [root, unpacked]) mkdirSync(folder)
    execFileSync('tar', ['-xf', image('agent:1'), '-C', unpacked])
    const [manifest] = JSON.parse(readFileSync(join(unpacked, 'manifest.json'), 'utf8'))
    expect(manifest.RepoTags).toEqual(['example.org/agent:1'])
    for (const layer of manifest.Layers)
      execFileSync('tar', ['-xzf', join(unpacked, layer), '-C', root])
  }, 60_000)
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it('starts the agent, as nobody, which says what it misses', () => {
    const command = ['--userspec=65532:65532', root, '/usr/local/bin/node', '/app/agent.js']
    const env = { PATH: '/usr/sbin:/usr/bin' }
    const { status, stdout, stderr } = spawnSync('chroot', command, { encoding: 'utf8', env })
    expect(stderr).toContain('this is no pod of a cluster')
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  })

  it('carries no keychain and no client for kubeconfigs', () => {
    const bundle = readFileSync(join(root, 'app/agent.js'), 'utf8')
    expect(bundle.length).toBeLessThan(8_000_000)
    expect(bundle).not.toContain('CoreV1Api')
  })
})
