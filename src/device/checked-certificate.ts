import { X509Certificate } from 'node:crypto'
import { standingUserCas } from '../directory/overlap.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { TrustError } from '../errors.ts'
import { readUserCertificate } from '../pki/user-certificate.ts'
import { type CertificateFile, renewalTime } from './certificate-file.ts'
import type { Device } from './device.ts'
import type { DeviceState } from './state.ts'

/**
 * What anybody issues counts only if it is for this person, device and key, and signed by the user CA that the
 * directory names. @throws TrustError MCM_CERTIFICATE_UNTRUSTED
 */
export function checkedCertificate(
  device: Device,
  state: DeviceState,
  cluster: ClusterRecord,
  { pem, publicKeyDer }: { readonly pem: string; readonly publicKeyDer: Buffer },
): CertificateFile {
  const subject = readUserCertificate(
    derOfCertificate(pem),
    standingUserCas(cluster, device.world.now()),
  )
  if (!subject.publicKeyDer.equals(publicKeyDer)) throw untrusted(cluster, 'is for another key')
  if (subject.user !== state.user) throw untrusted(cluster, `names ${subject.user}`)
  if (subject.device !== state.device.id) throw untrusted(cluster, 'is for another device')
  if (subject.notAfter <= device.world.now()) throw untrusted(cluster, 'has expired')
  const { fingerprint, user, groups, notBefore, notAfter } = subject
  const chance = device.world.random(1)[0]! / 256
  return {
    certificate: pem,
    fingerprint,
    user,
    groups,
    notBefore: formatTime(notBefore),
    notAfter: formatTime(notAfter),
    renewAfter: formatTime(renewalTime(notBefore, notAfter, chance)),
    secrets: device.secrets.kind,
  }
}

/** @throws TrustError MCM_CERTIFICATE_UNTRUSTED for anything but a certificate in PEM */
export function derOfCertificate(pem: string): Buffer {
  try {
    return new X509Certificate(pem).raw
  } catch (cause) {
    throw new TrustError('MCM_CERTIFICATE_UNTRUSTED', 'what came is no certificate', { cause })
  }
}

function untrusted(cluster: ClusterRecord, why: string): TrustError {
  return new TrustError(
    'MCM_CERTIFICATE_UNTRUSTED',
    `the certificate that ${cluster.name} issued ${why}`,
    { hint: 'nothing was kept; tell the owner of the cluster' },
  )
}
