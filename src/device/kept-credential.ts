import type { Secret } from '../secret.ts'
import {
  type CertificateFile,
  readCertificateFile,
  writeCertificateFile,
} from './certificate-file.ts'
import type { Device } from './device.ts'
import { certificateKeyName, certificatePath } from './home.ts'

/** A person's certificate for one cluster with its key, as it rests on this machine. */
export interface Credential {
  readonly certificatePem: string
  /** Bare names, as in the certificate. */
  readonly user: string
  readonly groups: readonly string[]
  readonly key: Secret<string>
  readonly fingerprint: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** When it is time for the next one. */
  readonly renewAfter: Date
}

export interface Kept {
  readonly file: CertificateFile
  readonly credential: Credential
}

/** A certificate that was checked, and its key; not kept yet. */
export interface Obtained {
  readonly file: CertificateFile
  readonly key: Secret<string>
}

/** Certificate and key as kept; undefined when either is missing. */
export async function keptCredential(device: Device, clusterId: string): Promise<Kept | undefined> {
  const file = await readCertificateFile(certificatePath(device.home, clusterId))
  const key = file && (await device.secrets.get(certificateKeyName(clusterId, file.fingerprint)))
  return file && key && { file, credential: credentialOf(file, key) }
}

/** Keeps it in the place of `previous`. The key first: a certificate is never on disk without its key. */
export async function keepCredential(
  device: Device,
  clusterId: string,
  { file, key }: Obtained,
  previous: CertificateFile | undefined,
): Promise<Credential> {
  await device.secrets.set(certificateKeyName(clusterId, file.fingerprint), key)
  await writeCertificateFile(certificatePath(device.home, clusterId), file)
  if (previous && previous.fingerprint !== file.fingerprint) {
    await device.secrets.delete(certificateKeyName(clusterId, previous.fingerprint))
  }
  return credentialOf(file, key)
}

function credentialOf(file: CertificateFile, key: Secret<string>): Credential {
  return {
    certificatePem: file.certificate,
    user: file.user,
    groups: file.groups,
    key,
    fingerprint: file.fingerprint,
    notBefore: new Date(file.notBefore),
    notAfter: new Date(file.notAfter),
    renewAfter: new Date(file.renewAfter),
  }
}
