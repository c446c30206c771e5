import type { Directory } from '../directory/directory.ts'
import { formatTime } from '../directory/time.ts'
import { isMcmError, StateError } from '../errors.ts'
import { readUserCertificate } from '../pki/user-certificate.ts'
import { withFileLock } from '../store/files.ts'
import { readCertificateFile, writeCertificateFile } from './certificate-file.ts'
import { derOfCertificate } from './checked-certificate.ts'
import type { Device } from './device.ts'
import { certificatePath } from './home.ts'

/**
 * Certificates kept here whose user CA has been replaced (PROTOCOL §12.2): they count for a while, and the next
 * use renews them, so that nobody meets the end of that while.
 */

/** Marks those of clusters that the directory says have another user CA than it said before. */
export async function renewReplaced(
  device: Device,
  before: Directory,
  after: Directory,
): Promise<void> {
  for (const { id, userCaDer } of after.state.clusters.values()) {
    const known = before.state.clusters.get(id)
    if (known && !known.userCaDer.equals(userCaDer)) await markDue(device, id, userCaDer)
  }
}

/** Whoever holds the lock is renewing it already, this process perhaps. */
async function markDue(device: Device, clusterId: string, userCaDer: Buffer): Promise<void> {
  const path = certificatePath(device.home, clusterId)
  if ((await readCertificateFile(path)) === undefined) return
  const mark = async () => {
    const file = await readCertificateFile(path)
    if (!file || isSignedBy(file.certificate, userCaDer)) return
    await writeCertificateFile(path, { ...file, renewAfter: formatTime(device.world.now()) })
  }
  await withFileLock(path, mark, { waitMs: 0 }).catch((error: unknown) => {
    if (!(error instanceof StateError)) throw error
  })
}

/** Whether a certificate, in PEM, is of this user CA. */
export function isSignedBy(pem: string, userCaDer: Buffer): boolean {
  try {
    return readUserCertificate(derOfCertificate(pem), userCaDer) !== undefined
  } catch (error) {
    if (isMcmError(error)) return false
    throw error
  }
}
