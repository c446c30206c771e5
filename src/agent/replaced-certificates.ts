import { isMcmError, messageOf } from '../errors.ts'
import type { Log, World } from '../world.ts'
import { type AuditEvent, wasLetIn } from './audit-event.ts'
import type { Principals } from './principals.ts'

/** A write that failed is tried again by a later request, and one certificate never makes many. */
const AGAIN_MS = 60_000
const MAX_REMEMBERED = 10_000

/**
 * Puts out of service what a certificate takes the place of, once that was used (PROTOCOL §8.3): a new one that its
 * device could not keep ends nothing. Takes every audit event; nobody waits for it, and it never throws.
 */
export function replaceOnUse(
  principals: Pick<Principals, 'find' | 'replace'>,
  world: World,
  log: Log,
): (event: AuditEvent) => void {
  const asked = new Map<string, number>()
  return (event) => {
    const { user, certificate: fingerprint } = event
    const replaced = wasLetIn(event) ? principals.find(fingerprint)?.replaces : undefined
    if (replaced === undefined) return
    const now = world.now().getTime()
    const last = asked.get(fingerprint)
    if (last !== undefined && Math.abs(now - last) < AGAIN_MS) return
    if (asked.size >= MAX_REMEMBERED) asked.clear()
    asked.set(fingerprint, now)
    principals.replace({ user, fingerprint }).then(
      () => log.info('certificate_replaced', { user, fingerprint: replaced, by: fingerprint }),
      (error) => {
        const level = isMcmError(error) ? 'warn' : 'error'
        const reason = messageOf(error)
        log[level]('certificate_not_replaced', { user, fingerprint: replaced, reason })
      },
    )
  }
}
