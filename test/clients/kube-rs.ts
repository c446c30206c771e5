/** A program made with kube-rs (rustls, feature http-proxy), built from the crates that `kube-rs/Cargo.lock` pins. */
import { join } from 'node:path'
import type { Possibility } from '../cluster/possibility.ts'
import { buildWithCargo } from './cargo-build.ts'
import { cachedProgram, canBeHad } from './program-cache.ts'

const SOURCE = join(import.meta.dirname, 'kube-rs')
const FILES = ['Cargo.toml', 'Cargo.lock', 'src/main.rs', 'src/streams.rs']

/** Where the program is; builds it, minutes the first time. @throws Error in one line: why not */
export function kubeRsPath(): Promise<string> {
  return cachedProgram({
    name: 'kube-rs-client',
    sources: FILES.map((name) => join(SOURCE, name)),
    async build(staging) {
      console.warn('[kube-rs] building with cargo (minutes the first time)')
      await buildWithCargo(SOURCE, staging)
      return join(staging, 'release', 'kube-rs-client')
    },
  })
}

/** Whether the program can be had here; builds it, minutes the first time. */
export function kubeRsIsPossible(): Promise<Possibility> {
  return canBeHad(kubeRsPath)
}
