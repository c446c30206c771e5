import { standingUserCas } from '../directory/overlap.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { IdentityError, isMcmError, TrustError, UsageError } from '../errors.ts'
import { publicKeyDerOf, readPrivateKey } from '../pki/key-pair.ts'
import { readUserCertificate } from '../pki/user-certificate.ts'
import type { Secret } from '../secret.ts'
import { withFileLock } from '../store/files.ts'
import { checkedCertificate, derOfCertificate } from './checked-certificate.ts'
import { requireCluster } from './cluster-lookup.ts'
import type { Device } from './device.ts'
import { certificatePath } from './home.ts'
import { type Kept, keepCredential, keptCredential } from './kept-credential.ts'
import { latestStandpoint, type Standpoint } from './latest-directory.ts'
import { forgetRequest, ownRequest, waitingRequest } from './own-request.ts'
import { agentIssues, ownerOf } from './owner-issued.ts'

/** Getting a certificate from the owner of a cluster: the request that goes out, the answer that comes back. */

export interface RequestToSend {
  readonly cluster: { readonly id: string; readonly name: string }
  /** Whom to send it to. */
  readonly owner: string
  /** The block to send; not secret. */
  readonly request: string
}

/** @throws NotFoundError MCM_CLUSTER_UNKNOWN, UsageError MCM_USAGE where the agent issues, StateError */
export async function requestToSend(device: Device, nameOrId: string): Promise<RequestToSend> {
  const standpoint = await latestStandpoint(device)
  const { directory } = standpoint
  const cluster = requireCluster(directory, nameOrId)
  if (cluster.issuer === 'agent') throw agentIssues(cluster)
  const { text } = await ownRequest(standpoint, cluster)
  const { id, name } = cluster
  return { cluster: { id, name }, owner: ownerOf(directory, cluster), request: text }
}

export interface InstalledCertificate {
  readonly cluster: { readonly id: string; readonly name: string }
  readonly user: string
  readonly groups: readonly string[]
  /** RFC 3339. */
  readonly certificateUntil: string
  readonly fingerprint: string
}

const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/**
 * Keeps a certificate that the owner of a cluster has signed: only for a key made here, in this person's name, by
 * the user CA that the directory names. @throws UsageError MCM_BAD_FILE, TrustError MCM_CERTIFICATE_UNTRUSTED
 */
export async function installCertificate(
  device: Device,
  text: string,
): Promise<InstalledCertificate> {
  const pem = onlyCertificate(text)
  const standpoint = await latestStandpoint(device)
  const cluster = clusterOf(standpoint, pem, device.world.now())
  const { id, name } = cluster
  const credential = await withFileLock(certificatePath(device.home, id), async () => {
    const kept = await keptCredential(device, id)
    const obtained = await withOwnKey(standpoint, cluster, pem, kept)
    const done = await keepCredential(device, id, obtained, kept?.file)
    if (obtained.isAnswer) await forgetRequest(device, id)
    return done
  })
  const { user, groups, notAfter, fingerprint } = credential
  const certificateUntil = formatTime(notAfter)
  return { cluster: { id, name }, user, groups, certificateUntil, fingerprint }
}

function onlyCertificate(text: string): string {
  const blocks = text.match(BLOCK) ?? []
  if (blocks.length === 1) return `${blocks[0]}\n`
  const found = blocks.length === 0 ? 'no certificate' : `${blocks.length} certificates`
  throw new UsageError('MCM_BAD_FILE', `there is ${found} in it, and one is wanted`, {
    hint: 'give the text that mcm certs sign printed, with its first and last line',
  })
}

/** The cluster whose user CA has signed it. */
function clusterOf({ directory }: Standpoint, pem: string, now: Date): ClusterRecord {
  const der = derOfCertificate(pem)
  const cluster = [...directory.state.clusters.values()].find((each) => isSignedFor(each, der, now))
  if (cluster?.issuer === 'local') return cluster
  if (cluster) throw agentIssues(cluster)
  throw new TrustError(
    'MCM_CERTIFICATE_UNTRUSTED',
    'no cluster known to you has signed this certificate',
    { hint: 'nothing was kept; ask whoever sent it which cluster it is for' },
  )
}

function isSignedFor(cluster: ClusterRecord, der: Buffer, now: Date): boolean {
  try {
    return readUserCertificate(der, standingUserCas(cluster, now)) !== undefined
  } catch (error) {
    if (isMcmError(error)) return false
    throw error
  }
}

/** The key of the request that waits, or, for the answer to an old request, the one in use. */
async function withOwnKey(
  { device, state }: Standpoint,
  cluster: ClusterRecord,
  pem: string,
  kept: Kept | undefined,
) {
  const waiting = await waitingRequest(device, cluster.id, state.device.id)
  const cas = standingUserCas(cluster, device.world.now())
  const { publicKeyDer } = readUserCertificate(derOfCertificate(pem), cas)
  const fits = (key: Secret<string> | undefined) =>
    key !== undefined && publicKeyDerOf(readPrivateKey(key)).equals(publicKeyDer)
  const isAnswer = fits(waiting?.key)
  const key = isAnswer
    ? waiting?.key
    : fits(kept?.credential.key)
      ? kept?.credential.key
      : undefined
  if (!key) throw otherKey(cluster)
  const file = checkedCertificate(device, state, cluster, { pem, publicKeyDer })
  // Nobody here can renew it, so it is used to its end.
  return { file: { ...file, renewAfter: file.notAfter }, key, isAnswer }
}

function otherKey({ name }: ClusterRecord): IdentityError {
  return new IdentityError(
    'MCM_CERTIFICATE_UNKNOWN',
    `this certificate for ${name} is for a key that was not made on this device`,
    { hint: `send the owner what mcm certs request ${name} prints here` },
  )
}
