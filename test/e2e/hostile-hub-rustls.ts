/** The little rustls program of fixtures/, built once into a folder outside the work tree. */
import { join } from 'node:path'
import { buildWithCargo } from '../clients/cargo-build.ts'
import { cachedProgram, canBeHad } from '../clients/program-cache.ts'
import type { Possibility } from '../cluster/possibility.ts'
import { type Finished, runProgram } from './program.ts'

const SOURCE = join(import.meta.dirname, 'fixtures', 'rustls-client')
const FILES = ['Cargo.toml', 'Cargo.lock', 'src/main.rs']

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
export function rustlsIsPossible(): Promise<Possibility> {
  return canBeHad(rustlsClient)
}

export async function runRustls(what: RustlsArguments): Promise<Finished> {
  const { bundle, hub, clusterHost, certificate, key, path } = what
  return runProgram(await rustlsClient(), [bundle, hub, clusterHost, certificate, key, path])
}

/** Its path. @throws Error in one line: why it cannot be had */
function rustlsClient(): Promise<string> {
  return cachedProgram({
    name: 'rustls-client',
    sources: FILES.map((name) => join(SOURCE, name)),
    async build(staging) {
      await buildWithCargo(SOURCE, staging)
      return join(staging, 'release', 'rustls-client')
    },
  })
}
