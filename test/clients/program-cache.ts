/**
 * Programs that are built for the tests, kept between runs and outside the work tree, under the hash of what they
 * are made of. A program appears there whole or not at all, and only one process at a time builds it.
 */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { lock } from 'proper-lockfile'
import type { Possibility } from '../cluster/possibility.ts'

export interface Recipe {
  readonly name: string
  /** Files whose content, in this order, decides what is built. */
  readonly sources: readonly string[]
  /** Builds it somewhere below an empty folder and gives its path. Takes minutes the first time. */
  build(staging: string): Promise<string>
}

/**
 * The path of a program, built here when no earlier run did.
 * @throws Error in one line: why it cannot be had
 */
export async function cachedProgram({ name, sources, build }: Recipe): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'mcm-test')
  const path = join(cache, `${name}-${await contentHash(sources)}`)
  if (await exists(path)) return path
  await mkdir(cache, { recursive: true })
  const retries = { forever: true, maxTimeout: 2_000 }
  const release = await lock(path, { realpath: false, stale: 30_000, update: 5_000, retries })
  try {
    // Whoever held the lock before us may have built it.
    if (!(await exists(path))) await buildInto(path, `${path}.new-`, build)
    return path
  } finally {
    await release()
  }
}

/** Whether a program can be had here; `get` may take minutes the first time. */
export async function canBeHad(get: () => Promise<unknown>): Promise<Possibility> {
  try {
    await get()
    return { possible: true }
  } catch (error) {
    return { possible: false, reason: (error as Error).message }
  }
}

async function buildInto(path: string, prefix: string, build: Recipe['build']): Promise<void> {
  const staging = await mkdtemp(prefix)
  try {
    await rename(await build(staging), path)
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

async function contentHash(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const path of paths) hash.update(await readFile(path))
  return hash.digest('hex').slice(0, 16)
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
