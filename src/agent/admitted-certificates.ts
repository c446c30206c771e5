import { isMcmError, messageOf } from '../errors.ts'
import type { UserCertificate } from '../pki/user-certificate.ts'
import type { Log, World } from '../world.ts'
import type { NewCertificate } from './principals.ts'

/** A write that failed is tried again by a later request, and one certificate never makes many. */
const AGAIN_MS = 60_000
const MAX_REMEMBERED = 10_000

/**
 * Notes certificates that the owner issued and the agent has admitted, as if they were issued here (PROTOCOL
 * §10): a serial can be revoked then, and a stream learns of newer ones. Nobody waits for it, and a certificate
 * is no better for being noted.
 */
export function noteAdmittedCertificates(
  principals: { record(user: string, certificate: NewCertificate): Promise<void> },
  world: World,
  log: Log,
): (certificate: UserCertificate, deviceSince: Date) => void {
  const asked = new Map<string, number>()
  return ({ user, fingerprint, serial, device, authority, notBefore, notAfter }, deviceSince) => {
    const now = world.now().getTime()
    const last = asked.get(fingerprint)
    if (last !== undefined && Math.abs(now - last) < AGAIN_MS) return
    if (asked.size >= MAX_REMEMBERED) asked.clear()
    asked.set(fingerprint, now)
    const facts = { fingerprint, serial, device, authority, notBefore, notAfter }
    const certificate = { ...facts, deviceSince }
    principals.record(user, certificate).then(
      () => log.info('certificate_admitted', { user, device, fingerprint }),
      (error) => {
        const level = isMcmError(error) ? 'warn' : 'error'
        log[level]('certificate_not_noted', { user, device, fingerprint, reason: messageOf(error) })
      },
    )
  }
}
