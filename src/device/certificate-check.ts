import { setTimeout } from 'node:timers/promises'
import type { ClusterRecord } from '../directory/state.ts'
import { IdentityError, isMcmError, UnreachableError } from '../errors.ts'
import { openSession } from './agent-connection.ts'
import { isValid } from './certificate-file.ts'
import type { FleetSession } from './fleet-session.ts'
import { keptCredential } from './kept-credential.ts'

/** Whether a cluster's agent still accepts the certificate kept here, as it would from plain kubectl. */
export type CertificateCheck =
  | { readonly isAccepted: true }
  | { readonly isAccepted: false; readonly problem: string; readonly hint: string }

/** An agent that is slower than this is not waited for. */
const PATIENCE_MS = 5_000

/** undefined when there is nothing to ask about (none is kept, or kubectl renews it anyway), or nobody answers. */
export async function checkCertificate(
  session: FleetSession,
  cluster: ClusterRecord,
): Promise<CertificateCheck | undefined> {
  const { device } = session
  const kept = await keptCredential(device, cluster.id)
  if (!kept || !isValid(kept.file, device.world.now())) return undefined
  const ask = async (): Promise<CertificateCheck | undefined> => {
    try {
      const agent = await openSession(session, cluster, kept.credential)
      await agent.whoami().finally(() => agent.close())
      return { isAccepted: true }
    } catch (error) {
      if (!isMcmError(error)) throw error
      return error instanceof UnreachableError ? undefined : refused(error)
    }
  }
  return Promise.race([ask(), setTimeout(PATIENCE_MS, undefined, { ref: false })])
}

/** kubectl reruns its plugin on 401, but the plugin has a certificate that looks good from here. */
function refused(error: { message: string; hint: string | undefined }): CertificateCheck {
  if (error instanceof IdentityError) {
    const problem = 'its agent no longer accepts this certificate, plain kubectl gets 401'
    return { isAccepted: false, problem, hint: 'mcm login' }
  }
  return { isAccepted: false, problem: error.message, hint: error.hint ?? 'mcm login' }
}
