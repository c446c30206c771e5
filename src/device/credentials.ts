import { setTimeout } from 'node:timers/promises'
import { messageOf, StateError, UnreachableError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { withFileLock } from '../store/files.ts'
import {
  type CertificateFile,
  isFresh,
  isValid,
  readCertificateFile,
  writeCertificateFile,
} from './certificate-file.ts'
import type { Device } from './device.ts'
import { type Enrolled, enrol } from './enrol.ts'
import { type FleetSession, withFleet } from './fleet-session.ts'
import { certificateKeyName, certificatePath } from './home.ts'
import { requireState } from './state.ts'

/**
 * The certificate of this person for one cluster: kept, and renewed with the device key through the
 * cluster's enrolment, also when it has long expired. Any number of callers make one renewal.
 */
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

/** How long a failed renewal counts for those who ask meanwhile. */
const FAILURE_MS = 2_000
/** Longer than the slowest renewal: dialling every endpoint in vain. */
const LOCK_WAIT_MS = 60_000
const POLL_MS = 50

export interface CredentialOptions {
  /** PEM of a certificate the agent no longer accepts: another is wanted, however long that one lasts. */
  readonly refusedPem?: string
  /** Where a renewal finds the hub; a connection of its own unless told. */
  readonly connect?: <T>(work: (session: FleetSession) => Promise<T>) => Promise<T>
}

/**
 * A credential that stands: the kept one while more than a third of its life is left, else a new one. When
 * the hub or the agent cannot be reached, the kept one for as long as it is valid.
 * @throws IdentityError MCM_NOT_LOGGED_IN, AccessDeniedError MCM_REVOKED MCM_NO_GRANT,
 *   NotFoundError MCM_CLUSTER_UNKNOWN, UnreachableError, TrustError, StateError
 */
export async function credentialFor(
  device: Device,
  clusterId: string,
  options: CredentialOptions = {},
): Promise<Credential> {
  const kept = await keptCredential(device, clusterId)
  const isRefused = kept !== undefined && kept.file.certificate === options.refusedPem
  if (kept && !isRefused && isFresh(kept.file, device.world.now())) return kept.credential
  await requireState(device.home)
  const connect = options.connect ?? ((work) => withFleet(device, work))
  return renewAlone(device, clusterId, kept?.file, isRefused, (work) => connect(work))
}

/** The same on a connection that is there already. */
export async function credentialInSession(
  session: FleetSession,
  clusterId: string,
  options: Pick<CredentialOptions, 'refusedPem'> = {},
): Promise<Credential> {
  return credentialFor(session.device, clusterId, { ...options, connect: (work) => work(session) })
}

interface Kept {
  readonly file: CertificateFile
  readonly credential: Credential
}

/** Certificate and key as kept; undefined when either is missing. */
async function keptCredential(device: Device, clusterId: string): Promise<Kept | undefined> {
  const file = await readCertificateFile(certificatePath(device.home, clusterId))
  const key = file && (await device.secrets.get(certificateKeyName(clusterId, file.fingerprint)))
  return file && key && { file, credential: credentialOf(file, key) }
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

type Connect = (work: (session: FleetSession) => Promise<Credential>) => Promise<Credential>

async function renewAlone(
  device: Device,
  clusterId: string,
  before: CertificateFile | undefined,
  isRefused: boolean,
  connect: Connect,
): Promise<Credential> {
  const path = certificatePath(device.home, clusterId)
  const asked = device.world.now()
  const kept = () => keptCredential(device, clusterId)
  /** Somebody else renewed, or failed to, since this one asked. */
  const settled = async (): Promise<(() => Credential) | undefined> => {
    const found = await kept()
    if (!found) return undefined
    if (found.file.fingerprint !== before?.fingerprint) return () => found.credential
    return isRefused ? undefined : sharedFailure(found, asked, device.world.now())
  }
  const renew = async (): Promise<Credential> => {
    const outcome = await settled()
    if (outcome) return outcome()
    const old = await kept()
    try {
      return await connect(async (session) =>
        keep(device, clusterId, await enrol(session, clusterId), old?.file),
      )
    } catch (error) {
      return fallBack(device, path, isRefused ? undefined : old, error)
    }
  }
  return withLockOrOutcome(device, path, renew, settled)
}

/** Takes the lock, or what its holder made of it: fifty waiters need not each have it once. */
async function withLockOrOutcome<T>(
  device: Device,
  path: string,
  work: () => Promise<T>,
  settled: () => Promise<(() => T) | undefined>,
): Promise<T> {
  for (let waitsLeft = LOCK_WAIT_MS / POLL_MS; ; waitsLeft--) {
    try {
      return await withFileLock(path, work, { waitMs: 0 })
    } catch (error) {
      if (!isLocked(error) || waitsLeft <= 0) throw error
    }
    const outcome = await settled()
    if (outcome) return outcome()
    await setTimeout(POLL_MS, undefined, { signal: device.signal })
  }
}

function isLocked(error: unknown): boolean {
  return error instanceof StateError && error.code === 'MCM_STATE_LOCKED'
}

/** The outcome of a renewal that failed a moment ago, instead of failing once more and as slowly. */
function sharedFailure(kept: Kept, asked: Date, now: Date): (() => Credential) | undefined {
  const { failure } = kept.file
  if (!failure) return undefined
  const at = Date.parse(failure.at)
  const isRecent = at >= asked.getTime() - FAILURE_MS && at <= now.getTime()
  if (!isRecent) return undefined
  return () => {
    if (isValid(kept.file, now)) return kept.credential
    throw new UnreachableError('MCM_HUB_UNREACHABLE', failure.message, {
      hint: 'check the network; mcm whoami shows whether the hub answers',
    })
  }
}

async function fallBack(
  device: Device,
  path: string,
  kept: Kept | undefined,
  error: unknown,
): Promise<Credential> {
  if (!kept || !(error instanceof UnreachableError)) throw error
  const now = device.world.now()
  const failure = { at: now.toISOString(), message: messageOf(error) }
  await writeCertificateFile(path, { ...kept.file, failure })
  if (!isValid(kept.file, now)) throw error
  return kept.credential
}

/** The key first: a certificate is never on disk without its key. */
async function keep(
  device: Device,
  clusterId: string,
  { file, key }: Enrolled,
  previous: CertificateFile | undefined,
): Promise<Credential> {
  await device.secrets.set(certificateKeyName(clusterId, file.fingerprint), key)
  await writeCertificateFile(certificatePath(device.home, clusterId), file)
  if (previous && previous.fingerprint !== file.fingerprint) {
    await device.secrets.delete(certificateKeyName(clusterId, previous.fingerprint))
  }
  return credentialOf(file, key)
}
