import type { Authority } from '../pki/authority.ts'
import { generateKeyPair } from '../pki/key-pair.ts'
import { issueServerCertificate } from '../pki/profiles.ts'
import type { Log, World } from '../world.ts'
import type { InnerCertificate } from './inner-server.ts'

/** A day, as for all certificates of agents; renewed after two thirds. */
const LIFETIME_SECONDS = 86_400
const RENEWAL_MS = (LIFETIME_SECONDS * 1000 * 2) / 3
const RETRY_MS = 60_000

/** A fresh key and the server CA's certificate for one host. */
export async function newServerCertificate(
  world: World,
  serverAuthority: Authority,
  host: string,
): Promise<InnerCertificate> {
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const subject = { publicKeyDer, host }
  const { pem } = await issueServerCertificate(world, serverAuthority, subject, LIFETIME_SECONDS)
  return { certPem: pem, keyPem: privateKeyPem.reveal() }
}

/** Calls `renew` every 16 hours, and every minute while it fails. Gives the way to end it. */
export function renewRegularly(renew: () => Promise<void>, log: Log): () => void {
  let timer: NodeJS.Timeout
  const schedule = (afterMs: number) => {
    timer = setTimeout(() => {
      renew().then(
        () => schedule(RENEWAL_MS),
        (error: unknown) => {
          log.error('server_certificate_not_renewed', { reason: String(error) })
          schedule(RETRY_MS)
        },
      )
    }, afterMs)
    timer.unref()
  }
  schedule(RENEWAL_MS)
  return () => clearTimeout(timer)
}
