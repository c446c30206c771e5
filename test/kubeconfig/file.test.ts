import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import {
  chmod,
  lstat,
  mkdtemp,
  readdir,
  readFile,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import {
  kubeconfigPaths,
  kubeconfigToWrite,
  mergeIntoFile,
  removeFromFile,
} from '../../src/kubeconfig/file.ts'
import { entriesOf, files, HAND_STYLE, KUBECTL_STYLE, staticMode } from './fixture.ts'

let home: string
let path: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'mcm-kubeconfig-'))
  path = join(home, 'config')
})

const KUBECTL = ['/usr/bin/kubectl', '/usr/local/bin/kubectl'].find(existsSync)

test('paths follow kubectl: the flag, then KUBECONFIG as a list, then the home directory', () => {
  const list = ['/a', '', '/b', '/a'].join(delimiter)
  expect(kubeconfigPaths({ path: '/x', kubeconfig: list, homeDirectory: '/h' })).toEqual(['/x'])
  expect(kubeconfigPaths({ kubeconfig: list, homeDirectory: '/h' })).toEqual(['/a', '/b'])
  expect(kubeconfigPaths({ kubeconfig: '', homeDirectory: '/h' })).toEqual(['/h/.kube/config'])
})

test('new entries go to the first file of the list that exists, known ones to where they are', async () => {
  const [none, first, second] = ['none', 'first', 'second'].map((name) => join(home, name))
  const kubeconfig = [none, first, second].join(delimiter)
  const location = { kubeconfig, homeDirectory: home }
  expect(await kubeconfigToWrite(location, files)).toBe(second)
  await writeFile(first!, KUBECTL_STYLE)
  await mergeIntoFile(second!, [entriesOf()], files)
  expect(await kubeconfigToWrite(location, files, 'mcm-new')).toBe(first)
  expect(await kubeconfigToWrite(location, files, 'mcm-idc-k8s')).toBe(second)
})

test('a new file is private, an existing one keeps its mode', async () => {
  await mergeIntoFile(path, [entriesOf()], files)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  await chmod(path, 0o640)
  expect(await mergeIntoFile(path, [entriesOf('other')], files)).toBe(true)
  expect((await stat(path)).mode & 0o777).toBe(0o640)
})

test('a file that a key goes into becomes private', async () => {
  await writeFile(path, KUBECTL_STYLE, { mode: 0o644 })
  await mergeIntoFile(path, [entriesOf('idc-k8s', staticMode)], files)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('a symbolic link stays a link and its target is what changes', async () => {
  const target = join(home, 'target')
  await writeFile(target, KUBECTL_STYLE)
  await symlink(target, path)
  await mergeIntoFile(path, [entriesOf()], files)
  expect((await lstat(path)).isSymbolicLink()).toBe(true)
  expect(await readFile(target, 'utf8')).toContain('mcm-idc-k8s')
  expect((await readdir(home)).sort()).toEqual(['config', 'target'])
})

test('a file that already says it all is not written', async () => {
  await mergeIntoFile(path, [entriesOf()], files)
  const before = await stat(path)
  expect(await mergeIntoFile(path, [entriesOf()], files)).toBe(false)
  expect((await stat(path)).ino).toBe(before.ino)
})

test('a damaged file is left exactly as it was', async () => {
  await writeFile(path, 'clusters: [')
  await expect(mergeIntoFile(path, [entriesOf()], files)).rejects.toMatchObject({
    code: 'MCM_BAD_FILE',
  })
  expect(await readFile(path, 'utf8')).toBe('clusters: [')
})

test('removing from a file that is not there removes nothing and makes none', async () => {
  expect(await removeFromFile(path, files)).toEqual([])
  expect(await readdir(home)).toEqual([])
})

test('a lock that kubectl holds is waited for', async () => {
  await writeFile(path, KUBECTL_STYLE)
  await writeFile(`${path}.lock`, '')
  const merging = mergeIntoFile(path, [entriesOf()], {
    ...files,
    withFileLock: (file, work, options) =>
      files.withFileLock(file, work, { ...options, waitMs: 60 }),
  })
  await expect(merging).rejects.toMatchObject({ code: 'MCM_STATE_LOCKED' })
  expect(await readFile(path, 'utf8')).toBe(KUBECTL_STYLE)
})

test('twenty processes that merge at once all find their entries in the file, and the owner his', async () => {
  await writeFile(path, HAND_STYLE)
  const names = Array.from({ length: 20 }, (_, index) => `cluster-${index}`)
  await Promise.all(names.map((name) => exited(mergeInChild(path, name))))
  const merged = parse(await readFile(path, 'utf8'))
  const contexts = merged.contexts.map((entry: { name: string }) => entry.name)
  expect(contexts.toSorted()).toEqual(['office', ...names.map((name) => `mcm-${name}`)].toSorted())
  expect(merged['current-context']).toBe('office')
  expect(await readdir(home)).toEqual(['config'])
}, 60_000)

test.runIf(KUBECTL)(
  'kubectl reads what was written, and what it writes is read again',
  async () => {
    await mergeIntoFile(path, [entriesOf('a'), entriesOf('b', staticMode)], files)
    const kubectl = (...args: string[]) =>
      execFileSync(KUBECTL!, ['--kubeconfig', path, 'config', ...args], { encoding: 'utf8' })
    expect(kubectl('get-contexts', '-o', 'name').trim().split('\n').sort()).toEqual([
      'mcm-a',
      'mcm-b',
    ])
    kubectl('set-context', 'mine', '--cluster', 'mcm-a', '--namespace', 'x')
    expect(await mergeIntoFile(path, [entriesOf('a'), entriesOf('b', staticMode)], files)).toBe(
      false,
    )
    expect(await removeFromFile(path, files)).toEqual(['mcm-a', 'mcm-b'])
    expect(kubectl('get-contexts', '-o', 'name').trim()).toBe('mine')
  },
)

function mergeInChild(file: string, name: string): ChildProcess {
  const url = (relative: string) => pathToFileURL(join(import.meta.dirname, relative)).href
  const program = `
    import { mergeIntoFile } from '${url('../../src/kubeconfig/file.ts')}'
    import { entriesOf, files } from '${url('./fixture.ts')}'
    await mergeIntoFile(${JSON.stringify(file)}, [entriesOf(${JSON.stringify(name)})], files)`
  return spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'inherit' })
}

async function exited(child: ChildProcess): Promise<void> {
  expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(0)
}
