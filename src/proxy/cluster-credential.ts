import { X509Certificate } from 'node:crypto'
import { messageOf } from '../errors.ts'
import type { Log, World } from '../world.ts'
import type { Credential, ProxyCluster, Ways } from './cluster.ts'
import { ATTEMPT_MS, withinDeadline } from './deadline.ts'

/**
 * One cluster's certificate, held in memory: one request for it at a time, however many wait; renewed
 * ahead of time; the old one serves until it expires.
 */
export interface ClusterCredential {
  /** One that has not expired. @throws what `Ways.credential` throws */
  current(): Promise<Credential>
  /** Renews in the background when two thirds of the lifetime are over, or the CA is being replaced. Call it now and then. */
  renewWhenDue(): void
  /** The CA that signed it is being replaced: whoever asks next gets another, or this one while there is none to be had. */
  replace(): void
  /** The agent no longer accepts this one: the next `current` asks for another. */
  refuse(credential: Credential): void
}

/** Between two attempts to renew ahead of time. */
const RETRY_MS = 60_000
/** A certificate this near to its end is not used any more. */
const MARGIN_MS = 30_000

export interface CredentialDeps {
  readonly world: World
  readonly log: Log
  readonly ways: Pick<Ways, 'credential'>
}

/** @param onChange told of every new certificate, before anyone gets it */
export function clusterCredential(
  deps: CredentialDeps,
  cluster: ProxyCluster,
  onChange: (credential: Credential) => void,
): ClusterCredential {
  const { world, log, ways } = deps
  let held: Held | undefined
  let asked: Promise<Credential> | undefined
  let refusedCertPem: string | undefined
  let retryAt = 0
  let isReplaced = false

  function ask(): Promise<Credential> {
    const attempt = () => ways.credential(cluster.id, refusedCertPem).then(keep)
    const who = `the certificate of ${cluster.name}`
    asked ??= withinDeadline(attempt(), who, ATTEMPT_MS).finally(() => {
      asked = undefined
    })
    return asked
  }

  function keep(credential: Credential): Credential {
    isReplaced = false
    const isNew = credential.certPem !== held?.credential.certPem
    if (!isNew) return credential
    held = { credential, renewAt: renewalTime(credential, world) }
    refusedCertPem = undefined
    onChange(credential)
    return credential
  }

  return {
    current: async () => {
      const isGood = held && world.now().getTime() < held.credential.notAfter.getTime() - MARGIN_MS
      if (!isGood) return ask()
      const { credential } = held!
      return isReplaced ? ask().catch(() => credential) : credential
    },
    renewWhenDue: () => {
      const now = world.now().getTime()
      if (!held || now < retryAt || (now < held.renewAt && !isReplaced)) return
      retryAt = now + RETRY_MS
      ask().catch((error) => {
        log.warn('certificate not renewed', { cluster: cluster.id, reason: messageOf(error) })
      })
    },
    replace: () => {
      isReplaced = held !== undefined
    },
    refuse: (credential) => {
      if (held?.credential.certPem !== credential.certPem) return
      refusedCertPem = credential.certPem
      held = undefined
    },
  }
}

interface Held {
  readonly credential: Credential
  /** Milliseconds of the epoch. */
  readonly renewAt: number
}

/** Two thirds into the lifetime, and up to a tenth of it later, so that not everybody renews at once. */
function renewalTime(credential: Credential, world: World): number {
  const start = new X509Certificate(credential.certPem).validFromDate.getTime()
  const lifetime = credential.notAfter.getTime() - start
  const jitter = (world.random(1)[0]! / 256) * 0.1
  return start + lifetime * (2 / 3 + jitter)
}
