import type { CertificateFile } from '../device/certificate-file.ts'
import type { Secret } from '../secret.ts'

/** What `mcm credential` is asked and what it answers, either way. */

export interface CredentialStreams {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
}

/** The cluster id of exactly `--cluster c-…`, or undefined: then the whole command line has to be parsed. */
export function plainClusterArgument(argv: readonly string[]): string | undefined {
  const [flag, id, ...rest] = argv
  const isPlain = flag === '--cluster' && /^c-[a-z2-7]{10}$/.test(id ?? '') && rest.length === 0
  return isPlain ? id : undefined
}

/**
 * What kubectl reads. It asks again after `expirationTimestamp`: when it is time to renew, or, when renewing has
 * failed already, at the end.
 */
export function execCredential(
  file: Pick<CertificateFile, 'certificate' | 'renewAfter' | 'notAfter'>,
  key: Secret<string>,
  now: Date,
): string {
  const isDue = now >= new Date(file.renewAfter)
  const credential = {
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    status: {
      expirationTimestamp: isDue ? file.notAfter : file.renewAfter,
      clientCertificateData: file.certificate,
      clientKeyData: key.reveal(),
    },
  }
  return `${JSON.stringify(credential)}\n`
}
