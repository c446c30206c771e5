import { homedir } from 'node:os'
import { type CertificateFile, isFresh, readCertificateFile } from './device/certificate-file.ts'
import {
  certificateKeyName,
  certificatePath,
  homeAt,
  homeDirectoryOf,
  keychainService,
} from './device/home.ts'
import type { Secret } from './secret.ts'
import { openSecretStore } from './store/secrets.ts'

/**
 * `mcm credential`: the plugin that kubectl runs on every command (client.authentication.k8s.io/v1). While
 * the kept certificate is fresh nothing is loaded but this file and the few it names; whatever else has
 * to happen is loaded when it has to.
 */

type Environment = Readonly<Record<string, string | undefined>>

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
 * Prints an ExecCredential for the cluster of `argv` (what follows `credential`) and gives the exit code.
 * Talk and errors go to stderr, which kubectl shows.
 */
export async function runCredential(
  argv: readonly string[],
  env: Environment,
  streams: CredentialStreams,
): Promise<number> {
  const id = plainClusterArgument(argv)
  const text = id === undefined ? undefined : await freshCredential(id, env)
  if (text !== undefined) {
    streams.stdout.write(text)
    return 0
  }
  const { renewCredential } = await import('./credential-renewal.ts')
  return renewCredential(argv, env, streams)
}

/** The kept credential as JSON when it is fresh and whole; undefined otherwise, whatever the reason. */
async function freshCredential(id: string, env: Environment): Promise<string | undefined> {
  const home = homeAt(homeDirectoryOf(env, homedir()))
  try {
    const file = await readCertificateFile(certificatePath(home, id))
    if (!file || !isFresh(file, new Date())) return undefined
    const secrets = await openSecretStore({
      directory: home.secrets,
      keychain: file.secrets === 'file' ? 'never' : 'require',
      service: keychainService(home),
      notify: () => {},
    })
    const key = await secrets.get(certificateKeyName(id, file.fingerprint))
    return key && execCredential(file, key, new Date())
  } catch {
    // The slow path meets the same trouble and has the words for it.
    return undefined
  }
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
