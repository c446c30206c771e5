/** Clients made with client-go, built from the modules pinned under `go/`: helm 4, helm 3, and a program of our own. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { runGo } from '../cluster/go-build.ts'
import type { Possibility } from '../cluster/possibility.ts'
import { cachedProgram, canBeHad } from './program-cache.ts'

const MODULES = join(import.meta.dirname, 'go')

interface GoProgram {
  /** The folder under `go/` whose go.mod builds it. */
  readonly module: string
  readonly importPath: string
  /** For the linker: what it calls itself. */
  readonly stamp?: string
}

const PROGRAMS = {
  'helm-4': {
    module: 'helm',
    importPath: 'helm.sh/helm/v4/cmd/helm',
    stamp: 'helm.sh/helm/v4/internal/version.version=v4.3.1',
  },
  'helm-3': {
    module: 'helm',
    importPath: 'helm.sh/helm/v3/cmd/helm',
    stamp: 'helm.sh/helm/v3/internal/version.version=v3.22.0',
  },
  'client-go': { module: 'client-go', importPath: '.' },
} as const satisfies Readonly<Record<string, GoProgram>>

export type GoClient = keyof typeof PROGRAMS
export const GO_CLIENTS = Object.keys(PROGRAMS) as readonly GoClient[]

/** Where a client is; builds it, which takes minutes the first time. @throws Error in one line: why not */
export async function goClientPath(client: GoClient): Promise<string> {
  const program: GoProgram = PROGRAMS[client]
  const directory = join(MODULES, program.module)
  const names = (await readdir(directory)).toSorted()
  return cachedProgram({
    name: client,
    sources: names.map((name) => join(directory, name)),
    build: (staging) => build(client, program, join(staging, client)),
  })
}

/** Whether a client can be had here; builds it, which takes minutes the first time. */
export function goClientIsPossible(client: GoClient): Promise<Possibility> {
  return canBeHad(() => goClientPath(client))
}

async function build(client: GoClient, program: GoProgram, output: string): Promise<string> {
  const log = (line: string) => console.warn(`[${client}] ${line}`)
  log('building with Go (minutes the first time)')
  const linker = ['-s', '-w', ...(program.stamp ? ['-X', program.stamp] : [])].join(' ')
  const flags = ['-trimpath', '-v', '-ldflags', linker, '-o', output]
  await runGo(['build', ...flags, program.importPath], join(MODULES, program.module), log)
  return output
}
