import { createPrivateKey, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { StateError, UsageError } from '../errors.ts'
import { checkHubCertificate, createHubCertificate } from '../pki/hub-certificate.ts'
import { generateKeyPair } from '../pki/key-pair.ts'
import { sha256 } from '../protocol/keys.ts'
import { Secret } from '../secret.ts'
import { readTextIfAny, withFileLock, writeFileAtomic } from '../store/files.ts'
import type { World } from '../world.ts'

/** The directory of one hub: its database, and its own certificate and key, made at the first start. */

export interface HubIdentity {
  readonly certificate: { readonly pem: string; readonly keyPem: Secret<string> }
  /** What clients pin. */
  readonly pin: string
}

const CERTIFICATE = 'hub-certificate.pem'
const KEY = 'hub-key.pem'

export function hubDatabasePath(directory: string): string {
  return join(directory, 'hub.db')
}

/**
 * The hub's certificate and key; made now when there are none, or when `renew` says so. A certificate that
 * does not name every endpoint is refused, not replaced: everybody has pinned it.
 * @throws UsageError MCM_USAGE MCM_BAD_NAME, StateError MCM_STATE_DAMAGED MCM_STATE_UNWRITABLE
 */
export async function hubIdentity(
  world: World,
  directory: string,
  endpoints: readonly string[],
  renew: boolean,
): Promise<HubIdentity> {
  return withFileLock(join(directory, 'hub'), async () => {
    const kept = renew ? undefined : await readIdentity(directory)
    if (!kept) return makeIdentity(world, directory, endpoints)
    requireEndpoints(world, kept, endpoints)
    return kept
  })
}

async function readIdentity(directory: string): Promise<HubIdentity | undefined> {
  const pem = await readTextIfAny(join(directory, CERTIFICATE))
  const key = await readTextIfAny(join(directory, KEY))
  if (pem === undefined && key === undefined) return undefined
  const certificate = pem === undefined ? undefined : parse(pem)
  if (!certificate || key === undefined || !belongs(certificate, key)) throw damaged(directory)
  return {
    certificate: { pem: certificate.toString(), keyPem: new Secret(key) },
    pin: sha256(certificate.raw),
  }
}

async function makeIdentity(
  world: World,
  directory: string,
  endpoints: readonly string[],
): Promise<HubIdentity> {
  const { privateKeyPem } = generateKeyPair()
  const { pem, fingerprint } = await createHubCertificate(world, privateKeyPem, endpoints)
  await writeFileAtomic(join(directory, KEY), privateKeyPem.reveal())
  await writeFileAtomic(join(directory, CERTIFICATE), pem)
  return { certificate: { pem, keyPem: privateKeyPem }, pin: fingerprint }
}

function requireEndpoints(
  world: World,
  { certificate }: HubIdentity,
  endpoints: readonly string[],
): void {
  try {
    checkHubCertificate(new X509Certificate(certificate.pem).raw, { endpoints, now: world.now() })
  } catch (cause) {
    throw new UsageError(
      'MCM_USAGE',
      `the certificate of this hub does not fit ${endpoints.join(', ')}: ${(cause as Error).message}`,
      {
        hint: 'start it with the --host it had, or with --new-certificate, after which an administrator signs the new one',
        cause,
      },
    )
  }
}

function parse(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

function belongs(certificate: X509Certificate, keyPem: string): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(keyPem))
  } catch {
    // The cause is left out: OpenSSL may quote its input.
    return false
  }
}

function damaged(directory: string): StateError {
  const files = `${join(directory, CERTIFICATE)} and ${KEY}`
  return new StateError('MCM_STATE_DAMAGED', `${files} do not belong together or are damaged`, {
    hint: 'restore both from a backup, or start with --new-certificate',
  })
}
