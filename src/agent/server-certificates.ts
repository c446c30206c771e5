import { type Authority, BACKDATE_MS } from '../pki/authority.ts'
import { generateKeyPair } from '../pki/key-pair.ts'
import { issueServerCertificate } from '../pki/profiles.ts'
import type { Log, World } from '../world.ts'
import type { InnerCertificate } from './inner-server.ts'

/** A day, as for all certificates of agents; renewed after two thirds. */
const LIFETIME_SECONDS = 86_400
const RENEWAL_MS = (LIFETIME_SECONDS * 1000 * 2) / 3
const CHECK_MS = 60_000

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

export interface CertificateRenewal {
  /** Before a handshake: nothing while the certificates are good, else the renewal to wait for. It never rejects. */
  whenDue(): Promise<void> | undefined
  /** At once: they are to be of another CA. */
  renew(): void
  stop(): void
}

/**
 * Calls `renew` when the certificates of now have lived two thirds of their time, and every minute while it
 * fails. By the clock: timers stand still while a machine sleeps, and certificates do not.
 */
export function renewRegularly(
  world: World,
  renew: () => Promise<void>,
  log: Log,
): CertificateRenewal {
  let renewedAt = world.now().getTime()
  let running: Promise<void> | undefined
  async function renewNow(): Promise<void> {
    try {
      await renew()
      renewedAt = world.now().getTime()
    } catch (error) {
      log.error('server_certificate_not_renewed', { reason: String(error) })
    }
    running = undefined
  }
  function whenDue(): Promise<void> | undefined {
    const ageMs = world.now().getTime() - renewedAt
    // A clock that was set back makes them not yet valid.
    if (ageMs < RENEWAL_MS && ageMs > -BACKDATE_MS) return undefined
    running ??= renewNow()
    return running
  }
  const timer = setInterval(() => void whenDue(), CHECK_MS).unref()
  /** One that is under way may have begun with the CA before. */
  const renewAgain = () => {
    running = (running ?? Promise.resolve()).then(renewNow)
  }
  return { whenDue, renew: renewAgain, stop: () => clearInterval(timer) }
}
