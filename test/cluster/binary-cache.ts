/**
 * Kubernetes programs kept between runs and outside the work tree, one folder per version. A program
 * appears in it whole or not at all, and only one process at a time fills a folder.
 */
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { lock } from 'proper-lockfile'
import type { KubernetesBinary, KubernetesVersion } from './kubernetes-version.ts'

/** `${XDG_CACHE_HOME:-$HOME/.cache}/mcm-test/kubernetes/<version>`; it may not exist yet. */
export function cacheDirectory(version: KubernetesVersion): string {
  const root = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  return join(root, 'mcm-test', 'kubernetes', version)
}

/** The names that a folder does not hold as executable files. */
export async function missingBinaries(
  directory: string,
  names: readonly KubernetesBinary[],
): Promise<KubernetesBinary[]> {
  const present = await Promise.all(names.map((name) => isExecutable(join(directory, name))))
  return names.filter((_, index) => !present[index])
}

/** Moves finished programs into the cache: each rename replaces a whole file. */
export async function placeBinaries(
  from: string,
  names: readonly KubernetesBinary[],
  version: KubernetesVersion,
): Promise<void> {
  for (const name of names) await rename(join(from, name), join(cacheDirectory(version), name))
}

/** Runs `work` with an empty folder on the cache's own file system, removed afterwards. */
export async function withStagingDirectory<T>(
  version: KubernetesVersion,
  work: (staging: string) => Promise<T>,
): Promise<T> {
  const staging = await mkdtemp(`${cacheDirectory(version)}.new-`)
  try {
    return await work(staging)
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** Runs `work` while no other process fills the same folder; waits for it as long as it takes. */
export async function withCacheLock<T>(
  version: KubernetesVersion,
  log: (line: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(cacheDirectory(version), { recursive: true })
  const release = await lockNowOrWait(cacheDirectory(version), log)
  try {
    await removeAbandonedStaging(cacheDirectory(version))
    return await work()
  } finally {
    await release()
  }
}

async function lockNowOrWait(
  directory: string,
  log: (line: string) => void,
): Promise<() => Promise<void>> {
  const options = { stale: 30_000, update: 5_000 }
  try {
    return await lock(directory, options)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error
    const sayWaiting = () => log(`another process is filling ${directory}: waiting for it`)
    sayWaiting()
    const timer = setInterval(sayWaiting, 20_000)
    const retries = { forever: true, maxTimeout: 2_000 }
    return lock(directory, { ...options, retries }).finally(() => clearInterval(timer))
  }
}

/** Only the holder of the lock has a staging folder, so any that is there was left by a killed one. */
async function removeAbandonedStaging(directory: string): Promise<void> {
  const siblings = await readdir(dirname(directory))
  const abandoned = siblings.filter((name) => name.startsWith(`${basename(directory)}.new-`))
  for (const name of abandoned) {
    await rm(join(dirname(directory), name), { recursive: true, force: true })
  }
}

async function isExecutable(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  if (!found?.isFile()) return false
  return (found.mode & 0o111) !== 0
}
