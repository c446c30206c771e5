import { confirmWhenDue } from './confirm-directory.ts'
import type { FleetSession } from './fleet-session.ts'
import { signHubCertificateWhenDue } from './sign-hub-certificate.ts'

/**
 * Runs `work`, and around it what any command of an administrator sees to: before it that the directory is confirmed, so
 * that agents which have waited for that take part; after it, so that no revocation waits for it, the hub's next
 * certificate, which changes nothing of what `work` gives or throws. @throws what `work` throws, TrustError
 */
export async function withUpkeep<T>(
  session: FleetSession,
  work: (session: FleetSession) => Promise<T>,
): Promise<T> {
  const confirmed = await confirmWhenDue(session)
  const done = await work(confirmed)
  await signHubCertificateWhenDue(confirmed)
  return done
}
