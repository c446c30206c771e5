import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { findKubernetesBinaries } from './binaries.ts'
import type { KubernetesBinary, KubernetesVersion } from './kubernetes-version.ts'

let home: string
let lines: string[]
const find = (version: KubernetesVersion, names: readonly KubernetesBinary[]) =>
  findKubernetesBinaries(version, names, (line) => lines.push(line))

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'mcm-test-binaries-'))
  lines = []
  vi.stubEnv('XDG_CACHE_HOME', join(home, 'cache'))
  vi.stubEnv('KUBEBUILDER_ASSETS', '')
  // No Go in there, so nothing is ever built.
  vi.stubEnv('PATH', home)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(home, { recursive: true })
})

async function writeProgram(path: string, says: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\necho '${says}'\n`)
  await chmod(path, 0o755)
}

describe('finding Kubernetes binaries', () => {
  test('takes KUBEBUILDER_ASSETS when it holds the version wanted', async () => {
    vi.stubEnv('KUBEBUILDER_ASSETS', home)
    await writeProgram(join(home, 'kube-apiserver'), 'Kubernetes v1.36.3')
    const found = await find('1.36.3', ['kube-apiserver'])
    expect(found).toEqual({ directory: home, source: 'KUBEBUILDER_ASSETS' })
  })

  test('refuses KUBEBUILDER_ASSETS of another version, or without a program wanted', async () => {
    vi.stubEnv('KUBEBUILDER_ASSETS', home)
    await writeProgram(join(home, 'kube-apiserver'), 'Kubernetes v1.35.0')
    await find('1.36.3', ['kube-scheduler'])
    expect(lines[0]).toMatch(/KUBEBUILDER_ASSETS is no use for 1.36.3: it lacks kube-scheduler/)
    lines = []
    const cache = join(home, 'cache', 'mcm-test', 'kubernetes', '1.36.3')
    await writeProgram(join(cache, 'kube-apiserver'), '')
    const found = await find('1.36.3', ['kube-apiserver'])
    expect(lines[0]).toMatch(/its kube-apiserver says "Kubernetes v1.35.0"/)
    expect(found).toEqual({ directory: cache, source: 'cache' })
  })

  test('takes the cache only when it holds every program wanted', async () => {
    const cache = join(home, 'cache', 'mcm-test', 'kubernetes', '1.36.3')
    await mkdir(cache, { recursive: true })
    await writeProgram(join(cache, 'kubelet'), '')
    expect(await find('1.36.3', ['kubelet'])).toEqual({ directory: cache, source: 'cache' })
    expect(await find('1.36.3', ['kubelet', 'kube-proxy'])).toBeUndefined()
  })

  test('says why nothing worked', async () => {
    expect(await find('1.36.3', ['kubelet'])).toBeUndefined()
    expect(lines[0]).toBe('the cache of 1.36.3 lacks kubelet')
    expect(lines.at(-1)).toMatch(/^go build of 1.36.3 failed: go did not start: .*ENOENT/)
  })
})
