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

/**
 * Marks those of clusters that the directory says have another user CA than it said before; after that, and after a hub
 * has another certificate, kubeconfigs are looked at anew.
 */
export async function renewReplaced(
  device: Device,
  before: Directory,
  after: Directory,
): Promise<void> {
  const pins = ({ state }: Directory) => state.hubs.map(({ pin }) => pin).join()
  const isOtherHub = before.head !== null && pins(before) !== pins(after)
  for (const { id, userCaDer } of after.state.clusters.values()) {
    const known = before.state.clusters.get(id)
    const isOtherCa = known && !known.userCaDer.equals(userCaDer)
    if (isOtherCa || isOtherHub) await markDue(device, id, userCaDer)
  }
}

/** Whoever holds the lock is renewing it already, this process perhaps. */
async function markDue(device: Device, clusterId: string, userCaDer: Buffer): Promise<void> {
  const path = certificatePath(device.home, clusterId)
  if ((await readCertificateFile(path)) === undefined) return
  const mark = async () => {
    const file = await readCertificateFile(path)
    if (!file) return
    const { checked, ...rest } = file
    const isDue = !isSignedBy(file.certificate, userCaDer)
    if (!isDue && !checked) return
    const renewAfter = isDue ? formatTime(device.world.now()) : file.renewAfter
    await writeCertificateFile(path, { ...rest, renewAfter })
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
