/** The little rustls program of fixtures/, built once into a folder outside the work tree. */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Possibility } from '../cluster/possibility.ts'
import { type Finished, runProgram } from './program.ts'

const SOURCE = join(import.meta.dirname, 'fixtures', 'rustls-client')
const BUILD_TIMEOUT_MS = 600_000

export interface RustlsArguments {
  readonly bundle: string
  readonly hub: string
  readonly clusterHost: string
  /** Paths of PEM files. */
  readonly certificate: string
  readonly key: string
  readonly path: string
}

/** What the exit code of the program says. */
export const RUSTLS_EXIT = { answered: 0, outerFailed: 3, refused: 4, innerFailed: 5 } as const

/** Whether the program can be had here; builds it, which takes a minute the first time. */
export async function rustlsIsPossible(): Promise<Possibility> {
  try {
    await rustlsClient()
    return { possible: true }
  } catch (error) {
    return { possible: false, reason: (error as Error).message }
  }
}

export async function runRustls(what: RustlsArguments): Promise<Finished> {
  const { bundle, hub, clusterHost, certificate, key, path } = what
  return runProgram(await rustlsClient(), [bundle, hub, clusterHost, certificate, key, path])
}

/** Its path. @throws Error with the last words of cargo */
async function rustlsClient(): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'mcm-test')
  const path = join(cache, `rustls-client-${await sourceHash()}`)
  if (await stat(path).catch(() => undefined)) return path
  await mkdir(cache, { recursive: true })
  const target = await mkdtemp(join(cache, 'rustls-client.new-'))
  try {
    await build(target)
    await rename(join(target, 'release', 'rustls-client'), path)
    return path
  } finally {
    await rm(target, { recursive: true, force: true })
  }
}

async function build(target: string): Promise<void> {
  const manifest = join(SOURCE, 'Cargo.toml')
  const args = ['build', '--release', '--locked', '--manifest-path', manifest]
  const options = { env: { CARGO_TARGET_DIR: target }, timeoutMs: BUILD_TIMEOUT_MS }
  const { exitCode, stderr } = await runProgram('cargo', args, options).catch((error: Error) => {
    throw new Error(`cargo cannot be run: ${error.message}`)
  })
  if (exitCode !== 0)
    throw new Error(`cargo build: ${stderr.trim().split('\n').slice(-3).join(' ')}`)
}

async function sourceHash(): Promise<string> {
  const hash = createHash('sha256')
  for (const name of ['Cargo.toml', 'Cargo.lock', 'src/main.rs'])
    hash.update(await readFile(join(SOURCE, name)))
  return hash.digest('hex').slice(0, 16)
}
