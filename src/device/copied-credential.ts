import { StateError } from '../errors.ts'
import { withFileLock } from '../store/files.ts'
import { writeCertificateFile } from './certificate-file.ts'
import type { Device } from './device.ts'
import { certificatePath } from './home.ts'
import { type Credential, keptCredential } from './kept-credential.ts'

/**
 * The credential to put into a kubeconfig that cannot follow: the one that is kept at this moment, marked so that whoever
 * renews later lets it live. Under the lock of renewals, or a renewal between would be undone; `credential`, unmarked,
 * where nothing can be written: nothing can be renewed there either. @throws StateError MCM_STATE_LOCKED
 */
export async function markedCopied(
  device: Device,
  clusterId: string,
  credential: Credential,
): Promise<Credential> {
  const path = certificatePath(device.home, clusterId)
  const mark = async () => {
    const kept = await keptCredential(device, clusterId)
    if (!kept) return credential
    if (!kept.file.isCopied) await writeCertificateFile(path, { ...kept.file, isCopied: true })
    return kept.credential
  }
  return withFileLock(path, mark).catch((error: unknown) => {
    if (error instanceof StateError && error.code !== 'MCM_STATE_LOCKED') return credential
    throw error
  })
}
