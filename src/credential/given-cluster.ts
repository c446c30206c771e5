import { createHash } from 'node:crypto'
import type { CertificateFile } from '../device/certificate-file.ts'
import type { GivenCluster } from '../device/stale-kubeconfig.ts'

/** The cluster entry of the kubeconfig in use, as kubectl hands it to its plugins (client.authentication.k8s.io/v1, `provideClusterInfo`). */

/** Undefined where the kubeconfig is of before mcm asked for it, or is none of kubectl. */
export function givenCluster(
  env: Readonly<Record<string, string | undefined>>,
): GivenCluster | undefined {
  try {
    return JSON.parse(env['KUBERNETES_EXEC_INFO'] ?? '').spec?.cluster ?? undefined
  } catch {
    return undefined
  }
}

/** Names what an entry trusts and where it goes. */
export function trustOf(given: GivenCluster): string {
  const parts = [given.server, given['proxy-url'], given['certificate-authority-data']]
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}

/** Whether this very entry was held against the directory since that changed last, and counts still. */
export function isChecked(
  { checked }: Pick<CertificateFile, 'checked'>,
  given: GivenCluster,
  now: Date,
): boolean {
  if (checked?.trust !== trustOf(given)) return false
  return checked.until === undefined || now < new Date(checked.until)
}
