import { join, resolve } from 'node:path'

/** Where one person's mcm keeps what it knows: everything under one directory. Pure path arithmetic. */
export interface Home {
  readonly directory: string
  /** Who and where this device is (`state.ts`). */
  readonly state: string
  /** A login that has begun and is not finished (`pending-login.ts`). */
  readonly pendingLogin: string
  /** Why the last renewal of a login by a token failed (`provided-renewal.ts`). */
  readonly loginFailure: string
  /** The verified directory, as last seen. */
  readonly directoryCache: string
  /** Certificates by cluster id. */
  readonly certificates: string
  /** Requests for certificates that an owner has not answered yet, by cluster id. */
  readonly requests: string
  /** Certificates of the user CAs whose keys are kept here, by cluster id. */
  readonly userCas: string
  /** Registrations that are not finished, by cluster name. */
  readonly registrations: string
  /** The local proxy's port and certificates. */
  readonly localProxy: string
  /** Keys, where there is no keychain. */
  readonly secrets: string
}

export function homeAt(directory: string): Home {
  return {
    directory,
    state: join(directory, 'state.json'),
    pendingLogin: join(directory, 'pending-login.json'),
    loginFailure: join(directory, 'login-failure.json'),
    directoryCache: join(directory, 'directory.json'),
    certificates: join(directory, 'certificates'),
    requests: join(directory, 'requests'),
    userCas: join(directory, 'user-cas'),
    registrations: join(directory, 'registrations'),
    localProxy: join(directory, 'local-proxy.json'),
    secrets: join(directory, 'keys'),
  }
}

/** MCM_HOME, else `mcm` in XDG_CONFIG_HOME, else `~/.config/mcm`. */
export function homeDirectoryOf(
  env: Readonly<Record<string, string | undefined>>,
  userHome: string,
): string {
  if (env['MCM_HOME']) return resolve(env['MCM_HOME'])
  return join(env['XDG_CONFIG_HOME'] || join(userHome, '.config'), 'mcm')
}

/** Every home has its own drawer in the keychain, named so that a person finds it. */
export function keychainService(home: Home): string {
  return `mcm (${home.directory})`
}

/** The file of one cluster's certificate. */
export function certificatePath(home: Home, clusterId: string): string {
  return join(home.certificates, `${clusterId}.json`)
}

/** The file of one request that waits for the owner of a cluster. */
export function requestPath(home: Home, clusterId: string): string {
  return join(home.requests, `${clusterId}.json`)
}

/** The certificate of a user CA that is kept here. */
export function userCaPath(home: Home, clusterId: string): string {
  return join(home.userCas, `${clusterId}.pem`)
}

/** The one that waits to take its place (PROTOCOL §12.1). */
export function nextUserCaPath(home: Home, clusterId: string): string {
  return join(home.userCas, `${clusterId}.next.pem`)
}

/** The file of one registration under way. */
export function registrationPath(home: Home, clusterName: string): string {
  return join(home.registrations, `${clusterName}.json`)
}

/** Names of secrets: the private keys of this device. */
export const DEVICE_KEY = 'device-key'
export const FLEET_KEY = 'fleet-key'

/** And the tokens of an identity provider. */
export const ID_TOKEN = 'id-token'
export const REFRESH_TOKEN = 'refresh-token'

/** A certificate's key is named after the certificate, so that the two can never be mixed up. */
export function certificateKeyName(clusterId: string, fingerprint: string): string {
  return `certificate-key.${clusterId}.${fingerprint}`
}

export function pairingSecretName(clusterId: string): string {
  return `pairing-secret.${clusterId}`
}

export function joinTokenName(clusterId: string): string {
  return `join-token.${clusterId}`
}

export function requestKeyName(clusterId: string): string {
  return `request-key.${clusterId}`
}

export function nextUserCaKeyName(clusterId: string): string {
  return `next-user-ca-key.${clusterId}`
}

/** The key of a user CA whose owner this is. */
export function userCaKeyName(clusterId: string): string {
  return `user-ca-key.${clusterId}`
}
