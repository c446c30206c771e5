import { UnreachableError } from '../errors.ts'
import { confirmWhenDue } from './confirm-directory.ts'
import type { Device } from './device.ts'
import { openFleet } from './fleet-session.ts'
import { offlineAfterAll } from './latest-directory.ts'
import { signHubCertificateWhenDue } from './sign-hub-certificate.ts'
import type { Traveller } from './way-to-agent.ts'

/**
 * Runs `work` with a hub, or where none answers by the directory kept here, which is said: it then finds those clusters
 * that have an address of their own. @throws as `withFleet` but for the hub that does not answer
 */
export async function withFleetOrAgents<T>(
  device: Device,
  work: (traveller: Traveller) => Promise<T>,
): Promise<T> {
  const opened = await openFleet(device).catch(async (error: unknown) => {
    if (!(error instanceof UnreachableError)) throw error
    return offlineAfterAll(device)
  })
  if (!('connection' in opened)) return work(opened)
  try {
    return await work(await signHubCertificateWhenDue(await confirmWhenDue(opened)))
  } finally {
    opened.hub.close()
  }
}
