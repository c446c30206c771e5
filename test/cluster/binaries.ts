/**
 * Finds the Kubernetes programs that the tests run on: KUBEBUILDER_ASSETS, our cache, a download, a
 * Go build, in that order. Each failed try says in one line why.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  cacheDirectory,
  missingBinaries,
  placeBinaries,
  withCacheLock,
  withStagingDirectory,
} from './binary-cache.ts'
import { DOWNLOADABLE, downloadBinaries } from './download.ts'
import { buildBinaries } from './go-build.ts'
import type { KubernetesBinary, KubernetesVersion } from './kubernetes-version.ts'

export type BinarySource = 'KUBEBUILDER_ASSETS' | 'cache' | 'download' | 'go build'

export interface FoundBinaries {
  /** Holds every program asked for, under its own name. */
  readonly directory: string
  readonly source: BinarySource
}

/**
 * Finds or makes the programs `names` of a Kubernetes version. A Go build may take minutes and logs a
 * line every 20 seconds; two processes never build the same version at once.
 * @returns undefined when nothing worked; `log` was told every reason
 */
export async function findKubernetesBinaries(
  version: KubernetesVersion,
  names: readonly KubernetesBinary[],
  log: (line: string) => void,
): Promise<FoundBinaries | undefined> {
  const assets = await fromAssets(version, names, log)
  if (assets !== undefined) return { directory: assets, source: 'KUBEBUILDER_ASSETS' }
  const directory = cacheDirectory(version)
  if ((await missingBinaries(directory, names)).length === 0) return { directory, source: 'cache' }
  const source = await withCacheLock(version, log, () => fillCache(version, names, log))
  return source && { directory, source }
}

async function fromAssets(
  version: KubernetesVersion,
  names: readonly KubernetesBinary[],
  log: (line: string) => void,
): Promise<string | undefined> {
  const directory = process.env['KUBEBUILDER_ASSETS']
  if (!directory) return undefined
  const missing = await missingBinaries(directory, names)
  const refusal =
    missing.length > 0 ? `it lacks ${missing.join(', ')}` : await otherVersion(directory, version)
  if (refusal === undefined) return directory
  log(`KUBEBUILDER_ASSETS is no use for ${version}: ${refusal}`)
  return undefined
}

async function otherVersion(
  directory: string,
  version: KubernetesVersion,
): Promise<string | undefined> {
  const asked = await promisify(execFile)(join(directory, 'kube-apiserver'), ['--version']).catch(
    (error: Error) => ({ stdout: error.message }),
  )
  const said = asked.stdout.trim()
  return said === `Kubernetes v${version}` ? undefined : `its kube-apiserver says "${said}"`
}

async function fillCache(
  version: KubernetesVersion,
  names: readonly KubernetesBinary[],
  log: (line: string) => void,
): Promise<BinarySource | undefined> {
  // Whoever held the lock before us may have made what we miss.
  let missing = await missingBinaries(cacheDirectory(version), names)
  if (missing.length === 0) return 'cache'
  log(`the cache of ${version} lacks ${missing.join(', ')}`)
  for (const source of ['download', 'go build'] as const) {
    const offered = missing.filter((name) => source === 'go build' || DOWNLOADABLE.includes(name))
    await withStagingDirectory(version, async (staging) => {
      if (source === 'download') await downloadBinaries(version, offered, staging)
      else await buildBinaries(version, offered, staging, log)
      await placeBinaries(staging, offered, version)
    }).catch((error: Error) => log(`${source} of ${version} failed: ${reasonOf(error)}`))
    missing = await missingBinaries(cacheDirectory(version), names)
    if (missing.length === 0) return source
  }
  return undefined
}

function reasonOf(error: Error): string {
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : ''
  return `${error.message}${cause}`
}
