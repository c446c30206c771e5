import { setTimeout } from 'node:timers/promises'
import { formatTime } from '../directory/time.ts'
import { messageOf, StateError, UnreachableError } from '../errors.ts'
import { withFileLock } from '../store/files.ts'
import { type CertificateFile, isFresh, isValid, writeCertificateFile } from './certificate-file.ts'
import type { Device } from './device.ts'
import { enrol } from './enrol.ts'
import { certificatePath } from './home.ts'
import { type Credential, type Kept, keepCredential, keptCredential } from './kept-credential.ts'
import { issueToOneself } from './owner-issuing.ts'
import { isSignedBy } from './replaced-authorities.ts'
import { requireState } from './state.ts'
import { type Traveller, withWayTo } from './way-to-agent.ts'

/**
 * The certificate of this person for one cluster: kept, and renewed with the device key through the
 * cluster's enrolment, or here where this person is the owner who issues, also when it has long expired. Any
 * number of callers make one renewal.
 */

/** How long a failed renewal counts for those who ask meanwhile. */
const FAILURE_MS = 2_000
/** Longer than the slowest renewal: dialling every endpoint in vain. */
const LOCK_WAIT_MS = 60_000
const POLL_MS = 50

export interface CredentialOptions {
  /** PEM of a certificate the agent no longer accepts: another is wanted, however long that one lasts. */
  readonly refusedPem?: string
  /** The one that is kept is to end, also where a kubeconfig holds it. */
  readonly ends?: boolean
  /** How a renewal finds the agent; by a connection of its own unless told. */
  readonly connect?: Connect
}

/**
 * A credential that stands: the kept one while more than a third of its life is left, else a new one. When
 * the hub or the agent cannot be reached, the kept one for as long as it is valid; also when what is stored
 * here cannot be used or written to make another, which is said.
 * @throws IdentityError MCM_NOT_LOGGED_IN MCM_OWNER_SIGNS, AccessDeniedError MCM_REVOKED MCM_NO_GRANT,
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
  const connect: Connect = options.connect ?? ((work) => withWayTo(device, clusterId, work))
  try {
    const isEnded = options.ends === true
    return await renewAlone(device, clusterId, kept?.file, { isRefused, isEnded }, connect)
  } catch (error) {
    // Not even the lock can be had where nothing can be written.
    return useToItsEnd(device, clusterId, isRefused ? undefined : kept, error)
  }
}

/** The same by the way that is there already. */
export async function credentialInSession(
  session: Traveller,
  clusterId: string,
  options: Pick<CredentialOptions, 'refusedPem' | 'ends'> = {},
): Promise<Credential> {
  return credentialFor(session.device, clusterId, { ...options, connect: (work) => work(session) })
}

type Connect = <T>(work: (traveller: Traveller) => Promise<T>) => Promise<T>

async function renewAlone(
  device: Device,
  clusterId: string,
  before: CertificateFile | undefined,
  { isRefused, isEnded }: { readonly isRefused: boolean; readonly isEnded: boolean },
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
    if (isRefused) return undefined
    const now = device.world.now()
    return isFresh(found.file, now) ? () => found.credential : sharedFailure(found, asked, now)
  }
  const renew = async (): Promise<Credential> => {
    const outcome = await settled()
    if (outcome) return outcome()
    const old = await kept()
    try {
      const own = await issueToOneself(device, clusterId)
      const obtained =
        own ??
        (await connect((traveller) => {
          const replaces = old && replacedBy(traveller, clusterId, old.file, isEnded)
          return enrol(traveller, clusterId, replaces)
        }))
      return await keepCredential(device, clusterId, obtained, old?.file)
    } catch (error) {
      const usable = isRefused ? undefined : old
      if (error instanceof StateError) return useToItsEnd(device, clusterId, usable, error)
      return fallBack(device, path, usable, error)
    }
  }
  return withLockOrOutcome(device, path, renew, settled)
}

/**
 * One that a kubeconfig holds too lives to its end, unless it is to end now. So does one whose user CA was replaced:
 * what runs on it was not told to ask for another one yet.
 */
function replacedBy(
  { directory }: Traveller,
  clusterId: string,
  file: CertificateFile,
  isEnded: boolean,
): string | undefined {
  const userCaDer = directory.state.clusters.get(clusterId)?.userCaDer
  const isOfNow = userCaDer !== undefined && isSignedBy(file.certificate, userCaDer)
  return isEnded || (isOfNow && !file.isCopied) ? file.fingerprint : undefined
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

/** What keeps this machine from making or keeping another one until somebody mends it. */
const LASTING: ReadonlySet<string> = new Set(['MCM_STATE_DAMAGED', 'MCM_STATE_UNWRITABLE'])

/**
 * The kept one, if it is valid still, until its end: for whoever uses it nothing is wrong yet. Said, and where
 * it can be remembered said once.
 */
async function useToItsEnd(
  device: Device,
  clusterId: string,
  kept: Kept | undefined,
  error: unknown,
): Promise<Credential> {
  const isLasting = error instanceof StateError && LASTING.has(error.code)
  if (!kept || !isLasting || !isValid(kept.file, device.world.now())) throw error
  const { file, credential } = kept
  const path = certificatePath(device.home, clusterId)
  await writeCertificateFile(path, { ...file, renewAfter: file.notAfter }).catch(ignoreUnwritable)
  device.progress.say(
    `mcm: the certificate in use ends at ${formatTime(credential.notAfter)} and cannot be renewed: ${error.message}`,
  )
  if (error.hint !== undefined) device.progress.say(`try: ${error.hint}`)
  return { ...credential, renewAfter: credential.notAfter }
}

function ignoreUnwritable(error: unknown): void {
  if (!(error instanceof StateError)) throw error
}
