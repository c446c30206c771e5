import { X509Certificate } from 'node:crypto'
import type { DirectoryState } from '../directory/state.ts'
import { messageOf } from '../errors.ts'
import { isDueForNext } from '../pki/hub-certificate.ts'
import { sha256 } from '../protocol/keys.ts'
import type { Secret } from '../secret.ts'
import type { Log, World } from '../world.ts'

/**
 * Which certificate the hub shows (docs/PROTOCOL.md §12.3): the one of now, and the next one from the moment that an
 * admin has signed. Invariant: a certificate that no statement names is offered and never shown.
 */

export interface OwnCertificate {
  readonly pem: string
  readonly keyPem: Secret<string>
}

/** Where the next certificate comes from and is kept. */
export interface Successor {
  /** The one that waits, if any. */
  readonly waiting: OwnCertificate | undefined
  /** Makes one that waits. */
  make(): Promise<OwnCertificate>
  /** It is in use from now on, also after a restart. */
  take(): Promise<void>
}

export interface CertificateChange {
  readonly current: OwnCertificate
  /** Base64 DER of the one that waits to be signed or for its time. */
  next(): string | undefined
  /** Calls back once another is to be shown. */
  onChange(listener: (certificate: OwnCertificate) => void): void
  /** Without waiting for the next second. */
  look(): void
  stop(): void
}

const TICK_MS = 1_000

/** Looks at the directory and the clock, until it is stopped. */
export function followCertificate(options: {
  readonly world: World
  readonly log: Log
  readonly certificate: OwnCertificate
  readonly successor: Successor | undefined
  state(): DirectoryState
}): CertificateChange {
  const { world, log, successor } = options
  const listeners: ((certificate: OwnCertificate) => void)[] = []
  let current = options.certificate
  let next = successor?.waiting
  let working = false

  async function make(): Promise<void> {
    next = await successor!.make()
    log.warn('next_certificate_ready', {
      hint: 'an administrator signs it: mcm hub sign-certificate',
    })
  }

  async function change(certificate: OwnCertificate): Promise<void> {
    current = certificate
    next = undefined
    for (const listener of listeners) listener(certificate)
    log.info('certificate_changed', { pin: pinOf(certificate) })
    await successor!.take()
  }

  function look(): void {
    if (successor === undefined || working) return
    const now = world.now()
    const work =
      next !== undefined && isDue(options.state(), pinOf(next), now)
        ? () => change(next!)
        : next === undefined && isDueForNext(new X509Certificate(current.pem).raw, now)
          ? make
          : undefined
    if (work === undefined) return
    working = true
    work()
      .catch((error) => log.error('certificate_not_changed', { reason: messageOf(error) }))
      .finally(() => {
        working = false
      })
  }

  look()
  const timer = setInterval(look, TICK_MS).unref()
  return {
    get current() {
      return current
    },
    next: () => next && new X509Certificate(next.pem).raw.toString('base64'),
    onChange: (listener) => void listeners.push(listener),
    look,
    stop: () => clearInterval(timer),
  }
}

/** Signed, and the time of the one before is over. */
function isDue({ hubs }: DirectoryState, pin: string, now: Date): boolean {
  const hub = hubs.find((each) => each.pin === pin)
  return hub !== undefined && (hub.previous === undefined || now >= hub.previous.until)
}

function pinOf({ pem }: OwnCertificate): string {
  return sha256(new X509Certificate(pem).raw)
}
