import { join } from 'node:path'
import { isMcmError, messageOf, StateError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { deleteFile, makeSecretDirectory, readTextIfAny, writeFileAtomic } from './files.ts'

/**
 * Where private keys rest: the keychain of the operating system, or where there is none, one 0600
 * file each in a 0700 directory. Knows names and opaque text, not what the keys are for.
 * Invariant: a secret is handed out only as a Secret and is never part of an error.
 */
export interface SecretStore {
  readonly kind: 'keychain' | 'file'
  /** Names are 1–200 of `A–Z a–z 0–9 . _ -`, not starting with a dot. */
  get(name: string): Promise<Secret<string> | undefined>
  set(name: string, value: Secret<string>): Promise<void>
  /** True when there was one. */
  delete(name: string): Promise<boolean>
}

export type KeychainChoice = 'auto' | 'never' | 'require'

export interface SecretStoreOptions {
  /** Holds the files of the fallback. */
  readonly directory: string
  /** auto: keychain when it answers, else files, saying so once. require: keychain or an error. */
  readonly keychain: KeychainChoice
  /** The name the keychain shows beside every secret. */
  readonly service: string
  notify(message: string): void
}

/** The shape of keytar that is used; tests put their own in its place. */
export interface Keychain {
  getPassword(service: string, account: string): Promise<string | null>
  setPassword(service: string, account: string, password: string): Promise<void>
  deletePassword(service: string, account: string): Promise<boolean>
}

const PROBE = 'probe'
const PROBE_MS = 5_000

/** Opens the store of this person. @throws StateError MCM_KEYCHAIN_UNAVAILABLE with `require` */
export async function openSecretStore(
  options: SecretStoreOptions,
  load: () => Promise<Keychain> = loadKeychain,
): Promise<SecretStore> {
  if (options.keychain === 'never') return fileSecrets(options.directory)
  try {
    const keychain = await load()
    // Whoever requires it learns at the first use; probing costs every run of kubectl its time.
    if (options.keychain === 'auto') {
      await withTimeout(keychain.getPassword(options.service, PROBE))
    }
    return keychainSecrets(keychain, options.service)
  } catch (cause) {
    if (options.keychain === 'require') throw unavailable(cause)
    options.notify(
      `no keychain here (${firstLine(cause)}): keys are kept as files only you can read, in ${options.directory}`,
    )
    return fileSecrets(options.directory)
  }
}

async function loadKeychain(): Promise<Keychain> {
  return (await import('keytar')).default
}

function keychainSecrets(keychain: Keychain, service: string): SecretStore {
  const ask = async <T>(name: string, answer: (name: string) => Promise<T>): Promise<T> => {
    const checked = requireSecretName(name)
    return answer(checked).catch((cause) => {
      throw isMcmError(cause) ? cause : unavailable(cause)
    })
  }
  return {
    kind: 'keychain',
    get: (name) =>
      ask(name, async (account) => {
        const value = await keychain.getPassword(service, account)
        return value === null ? undefined : new Secret(value)
      }),
    set: (name, value) =>
      ask(name, (account) => keychain.setPassword(service, account, value.reveal())),
    delete: (name) => ask(name, (account) => keychain.deletePassword(service, account)),
  }
}

/** One 0600 file per secret. Also for programs that never use a keychain. */
export function fileSecrets(directory: string): SecretStore {
  const path = (name: string) => join(directory, requireSecretName(name))
  return {
    kind: 'file',
    async get(name) {
      const text = await readTextIfAny(path(name))
      return text === undefined ? undefined : new Secret(text)
    },
    async set(name, value) {
      await makeSecretDirectory(directory)
      await writeFileAtomic(path(name), value.reveal(), 0o600)
    },
    delete: async (name) => deleteFile(path(name)),
  }
}

function requireSecretName(name: string): string {
  if (/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/.test(name)) return name
  throw new Error(`secret name ${JSON.stringify(name)} cannot be used`)
}

async function withTimeout<T>(answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error('no answer within 5 s')), PROBE_MS)
  return Promise.race([answer, late.promise]).finally(() => clearTimeout(timer))
}

function unavailable(cause: unknown): StateError {
  return new StateError(
    'MCM_KEYCHAIN_UNAVAILABLE',
    `the keychain of this machine does not answer: ${firstLine(cause)}`,
    {
      hint: 'unlock or start it, or log in again with --keychain never to keep keys as 0600 files',
      cause,
    },
  )
}

function firstLine(cause: unknown): string {
  return messageOf(cause).split('\n')[0]!.slice(0, 200)
}
