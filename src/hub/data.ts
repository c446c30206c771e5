import { createPrivateKey, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { StateError, UsageError } from '../errors.ts'
import { checkHubCertificate, createHubCertificate } from '../pki/hub-certificate.ts'
import { generateKeyPair } from '../pki/key-pair.ts'
import { sha256 } from '../protocol/keys.ts'
import { Secret } from '../secret.ts'
import { deleteFile, readTextIfAny, withFileLock, writeFileAtomic } from '../store/files.ts'
import type { World } from '../world.ts'

/** The directory of one hub: its database, and its own certificate and key, made at the first start. */

export interface HubIdentity {
  readonly certificate: { readonly pem: string; readonly keyPem: Secret<string> }
  /** What clients pin. */
  readonly pin: string
}

const CERTIFICATE = 'hub-certificate.pem'
const KEY = 'hub-key.pem'
/** Those that wait to take their place (PROTOCOL §12.3). */
const NEXT_CERTIFICATE = 'hub-next-certificate.pem'
const NEXT_KEY = 'hub-next-key.pem'

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
    if (renew) await forgetNext(directory)
    const kept = renew ? undefined : await readIdentity(directory)
    if (!kept) return makeIdentity(world, directory, endpoints)
    requireEndpoints(world, kept, endpoints)
    return kept
  })
}

/**
 * The certificate and key that wait to take the place of those of now; made when there are none.
 * @throws UsageError MCM_BAD_NAME, StateError MCM_STATE_DAMAGED MCM_STATE_UNWRITABLE
 */
export async function nextHubIdentity(
  world: World,
  directory: string,
  endpoints: readonly string[],
): Promise<HubIdentity> {
  return withFileLock(join(directory, 'hub'), async () => {
    const waiting = await readNext(directory)
    return waiting ?? makeIdentity(world, directory, endpoints, NEXT_CERTIFICATE, NEXT_KEY)
  })
}

/** Those that wait, if any. @throws StateError MCM_STATE_DAMAGED */
export async function waitingHubIdentity(directory: string): Promise<HubIdentity | undefined> {
  return withFileLock(join(directory, 'hub'), () => readNext(directory))
}

/** Puts those that wait in the place of those before, which are gone then. */
export async function takeNextIdentity(directory: string): Promise<void> {
  await withFileLock(join(directory, 'hub'), () => takeNext(directory))
}

/** Half of one is none: what was never whole was never signed. */
async function readNext(directory: string): Promise<HubIdentity | undefined> {
  const pem = await readTextIfAny(join(directory, NEXT_CERTIFICATE))
  if (pem === undefined) return undefined
  return readPair(directory, NEXT_CERTIFICATE, NEXT_KEY)
}

/** Whoever replaces a certificate at once fears for its key, and the next one lies beside it. */
async function forgetNext(directory: string): Promise<void> {
  await deleteFile(join(directory, NEXT_CERTIFICATE))
  await deleteFile(join(directory, NEXT_KEY))
}

/** The key first: a crash in between is seen by `finishTaking`. */
async function takeNext(directory: string): Promise<void> {
  const next = await readNext(directory)
  if (!next) return
  const { pem, keyPem } = next.certificate
  await writeFileAtomic(join(directory, KEY), keyPem.reveal())
  await writeFileAtomic(join(directory, CERTIFICATE), pem)
  await deleteFile(join(directory, NEXT_CERTIFICATE))
  await deleteFile(join(directory, NEXT_KEY))
}

/** After a crash the new key may stand beside the old certificate. */
async function finishTaking(directory: string): Promise<void> {
  const key = await readTextIfAny(join(directory, KEY))
  if (key === undefined || key !== (await readTextIfAny(join(directory, NEXT_KEY)))) return
  const isWhole = (await readTextIfAny(join(directory, NEXT_CERTIFICATE))) !== undefined
  if (isWhole) await takeNext(directory)
  else await deleteFile(join(directory, NEXT_KEY))
}

async function readIdentity(directory: string): Promise<HubIdentity | undefined> {
  await finishTaking(directory)
  return readPair(directory, CERTIFICATE, KEY)
}

async function readPair(
  directory: string,
  certificateName: string,
  keyName: string,
): Promise<HubIdentity | undefined> {
  const pem = await readTextIfAny(join(directory, certificateName))
  const key = await readTextIfAny(join(directory, keyName))
  if (pem === undefined && key === undefined) return undefined
  const certificate = pem === undefined ? undefined : parse(pem)
  if (!certificate || key === undefined || !belongs(certificate, key))
    throw damaged(directory, certificateName, keyName)
  return {
    certificate: { pem: certificate.toString(), keyPem: new Secret(key) },
    pin: sha256(certificate.raw),
  }
}

async function makeIdentity(
  world: World,
  directory: string,
  endpoints: readonly string[],
  certificateName = CERTIFICATE,
  keyName = KEY,
): Promise<HubIdentity> {
  const { privateKeyPem } = generateKeyPair()
  const { pem, fingerprint } = await createHubCertificate(world, privateKeyPem, endpoints)
  await writeFileAtomic(join(directory, keyName), privateKeyPem.reveal())
  await writeFileAtomic(join(directory, certificateName), pem)
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

function damaged(directory: string, certificateName: string, keyName: string): StateError {
  const files = `${join(directory, certificateName)} and ${keyName}`
  return new StateError('MCM_STATE_DAMAGED', `${files} do not belong together or are damaged`, {
    hint: 'restore both from a backup, or start with --new-certificate',
  })
}
