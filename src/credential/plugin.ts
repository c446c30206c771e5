import { homedir } from 'node:os'
import { isFresh, readCertificateFile } from '../device/certificate-file.ts'
import {
  certificateKeyName,
  certificatePath,
  homeAt,
  homeDirectoryOf,
  keychainService,
} from '../device/home.ts'
import { openSecretStore } from '../store/secrets.ts'
import { type CredentialStreams, execCredential, plainClusterArgument } from './exec-credential.ts'
import { givenCluster, isChecked } from './given-cluster.ts'

/**
 * `mcm credential`: the plugin that kubectl runs on every command (client.authentication.k8s.io/v1). While
 * the kept certificate is fresh nothing is loaded but this file and the few it names; whatever else has
 * to happen is loaded when it has to.
 */

type Environment = Readonly<Record<string, string | undefined>>

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
  const { renewCredential } = await import('./renewal.ts')
  return renewCredential(argv, env, streams)
}

/** The kept credential as JSON when it is fresh and whole; undefined otherwise, whatever the reason. */
async function freshCredential(id: string, env: Environment): Promise<string | undefined> {
  const home = homeAt(homeDirectoryOf(env, homedir()))
  try {
    const file = await readCertificateFile(certificatePath(home, id))
    if (!file || !isFresh(file, new Date())) return undefined
    const given = givenCluster(env)
    if (given && !isChecked(file, given, new Date())) return undefined
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
