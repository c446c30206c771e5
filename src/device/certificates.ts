import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { isMcmError, TrustError, UnreachableError } from '../errors.ts'
import { isValid, readCertificateFile, renewalTime } from './certificate-file.ts'
import { withCluster } from './cluster-access.ts'
import { reachableClusters } from './cluster-lookup.ts'
import { credentialInSession } from './credentials.ts'
import { certificatePath } from './home.ts'
import { type Credential, keptCredential } from './kept-credential.ts'
import { ownRequest } from './own-request.ts'
import { ownerOf } from './owner-issued.ts'
import { userCaPem } from './user-ca.ts'
import type { Traveller } from './way-to-agent.ts'

/** One cluster after trying to get a certificate for it. */
export interface ClusterOutcome {
  readonly id: string
  readonly name: string
  /** RFC 3339; absent when there is none. */
  readonly certificateUntil?: string
  /** Why there is none, as a sentence. */
  readonly problem?: string
}

export interface Renewal {
  /** Those of every cluster this user may reach unless told. */
  readonly clusters?: readonly ClusterRecord[]
  /** New ones, whatever is left of those that are kept. */
  readonly renew?: boolean
  /** Those that are kept end, also where a kubeconfig of mode static holds them. */
  readonly ends?: boolean
}

/**
 * A certificate for every cluster this user may reach, in parallel. A cluster that is down is reported,
 * not fatal: the next kubectl gets its certificate.
 * @throws TrustError after all others are fetched; bugs
 */
export async function fetchCertificates(
  session: Traveller,
  options: Renewal = {},
): Promise<ClusterOutcome[]> {
  const clusters = options.clusters ?? reachableClusters(session.directory, session.state.user)
  const label = `certificates for ${clusters.length} clusters`
  const outcomes = await session.device.progress.step(label, () =>
    Promise.allSettled(clusters.map((cluster) => fetchOne(session, cluster, options))),
  )
  return outcomes.map((outcome, index) => {
    if (outcome.status === 'rejected') throw namely(clusters[index]!, outcome.reason)
    return outcome.value
  })
}

/** Of many, the one at which somebody else answers. */
function namely({ name }: ClusterRecord, error: unknown): unknown {
  if (!(error instanceof TrustError)) return error
  const { code, message, hint } = error
  const details = { ...(hint === undefined ? {} : { hint }), cause: error }
  return new TrustError(code, `${name}: ${message}`, details)
}

async function fetchOne(
  session: Traveller,
  cluster: ClusterRecord,
  { renew, ends = false }: Renewal,
): Promise<ClusterOutcome> {
  const { id, name } = cluster
  try {
    if (cluster.issuer === 'local' && (await userCaPem(session.device, id)) === undefined)
      return await fromOwner(session, cluster)
    const { notAfter } = renew
      ? await renewedCredential(session, id, ends)
      : await credentialInSession(session, id)
    if (renew && ends) await useAtOnce(session, cluster)
    return { id, name, certificateUntil: formatTime(notAfter) }
  } catch (error) {
    if (!isMcmError(error) || error instanceof TrustError) throw error
    return { id, name, problem: error.message }
  }
}

/** The old one ends with the first use of the new one. @throws UnreachableError when that could not be */
async function useAtOnce(session: Traveller, cluster: ClusterRecord): Promise<void> {
  try {
    await withCluster(session, cluster, ({ agent }) => agent.whoami())
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error
    throw new UnreachableError(
      error.code,
      `the new certificate is kept; the old one ends when that is used first, which failed: ${error.message}`,
    )
  }
}

/** Nothing can be fetched: what is kept counts, and when that ends soon a request waits to be sent. */
async function fromOwner(session: Traveller, cluster: ClusterRecord): Promise<ClusterOutcome> {
  const { device, directory } = session
  const { id, name } = cluster
  const file = (await keptCredential(device, id))?.file
  const now = device.world.now()
  const until = file && isValid(file, now) ? { certificateUntil: file.notAfter } : {}
  if (file && 'certificateUntil' in until && now < endOfCalm(file)) return { id, name, ...until }
  await ownRequest(session, cluster)
  const problem = `signed by ${ownerOf(directory, cluster)}: send them what mcm certs request ${name} prints`
  return { id, name, ...until, problem }
}

function endOfCalm({ notBefore, notAfter }: { notBefore: string; notAfter: string }): Date {
  return renewalTime(new Date(notBefore), new Date(notAfter), 0)
}

/** A new certificate whatever is left of the kept one. */
async function renewedCredential(
  session: Traveller,
  id: string,
  ends: boolean,
): Promise<Credential> {
  const kept = await readCertificateFile(certificatePath(session.device.home, id))
  return credentialInSession(session, id, kept ? { refusedPem: kept.certificate, ends } : {})
}
