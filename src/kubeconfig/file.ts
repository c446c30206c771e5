import { stat } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { mergeEntries, parseKubeconfig, removeEntries } from './merge.ts'
import type { KubeconfigEntries } from './model.ts'

/** Which kubeconfig is meant, and changing it while others do the same. */

/** The file operations of `store/files.ts`, handed in by whoever stands above both rooms. */
export interface KubeconfigFiles {
  readTextIfAny(path: string): Promise<string | undefined>
  writeFileAtomic(path: string, text: string, mode?: number): Promise<void>
  withFileLock<T>(
    path: string,
    work: () => Promise<T>,
    options?: { hint?: string; waitMs?: number },
  ): Promise<T>
  resolveLinks(path: string): Promise<string>
}

export interface KubeconfigLocation {
  /** `--kubeconfig`: that file and no other. */
  readonly path?: string
  /** The environment variable KUBECONFIG: a list of files. */
  readonly kubeconfig?: string
  readonly homeDirectory: string
}

/** The files kubectl would read, in its order (client-go `tools/clientcmd/config.go`). Absolute paths. */
export function kubeconfigPaths(location: KubeconfigLocation): string[] {
  if (location.path !== undefined) return [resolve(location.path)]
  const listed = (location.kubeconfig ?? '').split(delimiter).filter((path) => path !== '')
  if (listed.length > 0) return [...new Set(listed.map((path) => resolve(path)))]
  return [join(location.homeDirectory, '.kube', 'config')]
}

/**
 * The one file new entries go to: the first that already has `context`, else the first that exists, else
 * the last of the list, as kubectl does.
 */
export async function kubeconfigToWrite(
  location: KubeconfigLocation,
  files: KubeconfigFiles,
  context?: string,
): Promise<string> {
  const paths = kubeconfigPaths(location)
  const texts = await Promise.all(paths.map((path) => files.readTextIfAny(path)))
  const holds = (text: string | undefined, path: string) =>
    text !== undefined &&
    parseKubeconfig(text, path).contexts?.some((entry) => entry.name === context)
  const holder = context && paths.find((path, index) => holds(texts[index], path))
  return holder || paths.find((_, index) => texts[index] !== undefined) || paths.at(-1)!
}

/**
 * Merges entries into a file: under kubectl's own lock, atomically, through symbolic links, keeping the
 * file's mode, or 0600 when a key goes into it. True when the file changed.
 * @throws UsageError MCM_BAD_FILE MCM_USAGE, StateError MCM_STATE_LOCKED MCM_STATE_UNWRITABLE
 */
export async function mergeIntoFile(
  path: string,
  entries: readonly KubeconfigEntries[],
  files: KubeconfigFiles,
  options: { current?: string } = {},
): Promise<boolean> {
  const isPrivate = entries.some((entry) => entry.holdsKey)
  return change(path, files, isPrivate, (text) =>
    mergeEntries(text, entries, { file: path, ...options }),
  )
}

/** Takes mcm's entries out of a file: of one cluster or all. Gives the names of the contexts that went. */
export async function removeFromFile(
  path: string,
  files: KubeconfigFiles,
  clusterId?: string,
): Promise<string[]> {
  let gone: string[] = []
  await change(path, files, false, (text) => {
    if (text === undefined) return undefined
    const { text: rest, removed } = removeEntries(text, path, clusterId)
    gone = removed
    return rest
  })
  return gone
}

async function change(
  path: string,
  files: KubeconfigFiles,
  isPrivate: boolean,
  edit: (text: string | undefined) => string | undefined,
): Promise<boolean> {
  return locked(path, files, async (target) => {
    const before = await files.readTextIfAny(target)
    const after = edit(before)
    if (after === undefined || after === before) return false
    await files.writeFileAtomic(target, after, await modeFor(target, isPrivate))
    return true
  })
}

/** Others hold it for milliseconds; kubectl itself does not wait at all. */
const LOCK_WAIT_MS = 15_000

/** kubectl locks the name it was given; two names of one file meet at its real name. */
async function locked<T>(
  path: string,
  files: KubeconfigFiles,
  work: (target: string) => Promise<T>,
): Promise<T> {
  const target = await files.resolveLinks(path)
  const hint = `run it again; when no kubectl is running, remove ${path}.lock`
  const options = { hint, waitMs: LOCK_WAIT_MS }
  const inner = () => files.withFileLock(target, () => work(target), options)
  return target === path ? inner() : files.withFileLock(path, inner, options)
}

async function modeFor(path: string, isPrivate: boolean): Promise<number> {
  const found = await stat(path).catch(() => undefined)
  return isPrivate || !found ? 0o600 : found.mode & 0o777
}
