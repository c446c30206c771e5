import type { Duplex } from 'node:stream'
import { type DialOptions, dialHub, dialUnprovenHub } from '../client/dial.ts'
import { openHub } from '../client/hub.ts'
import type { Directory } from '../directory/directory.ts'
import { standingLeaves } from '../directory/overlap.ts'
import { type SigningKey, signingKeyPem } from '../directory/signing-key.ts'
import type { DirectoryState, HubRecord } from '../directory/state.ts'
import { isMcmError } from '../errors.ts'
import { checkHubCertificate } from '../pki/hub-certificate.ts'
import { createKeyCertificate } from '../pki/profiles.ts'
import { sha256 } from '../protocol/keys.ts'
import { ALPN_HTTP2 } from '../protocol/names.ts'
import type { World } from '../world.ts'
import type { AgentConfiguration } from './configuration.ts'

/** Where a hub may be, and which certificates it may show there, the likeliest first. */
export interface HubEndpoint {
  /** `HOST:PORT`. */
  readonly endpoint: string
  readonly pins: readonly string[]
}

/**
 * Dials a hub. @throws UnreachableError MCM_HUB_UNREACHABLE; TrustError MCM_PIN_MISMATCH and others
 */
export type HubDialer = (target: HubEndpoint, alpn: string, signal: AbortSignal) => Promise<Duplex>

/** What a stranger may show before it has proved anything: thousands of statements. */
const MAX_PROOF_BYTES = 8 << 20
/** Between two of an endpoint's attempts to prove itself. */
const PROOF_INTERVAL_MS = 60_000
/** A dead address must not keep the next one waiting for long. */
const DIAL_TIMEOUT_MS = 8_000

/**
 * The endpoints of the configuration, then those that admins have signed into the directory since,
 * the newest first. A pin of the configuration comes before those of the directory.
 */
export function hubEndpoints(
  { hub }: Pick<AgentConfiguration, 'hub'>,
  { hubs }: Pick<DirectoryState, 'hubs'>,
  now: Date,
): HubEndpoint[] {
  const newestFirst = [...hubs].sort((a, b) => b.seq - a.seq)
  const isPrivateFirst = hubs.some((each) => each.privateEndpoints.includes(hub.endpoints[0]!))
  const own = new Set(hub.endpoints)
  const signed = newestFirst.flatMap((each) => inOrder(each, isPrivateFirst))
  return [...new Set([...hub.endpoints, ...signed])].map((endpoint) => ({
    endpoint,
    pins: [
      ...new Set([
        ...(own.has(endpoint) ? [hub.pin] : []),
        ...newestFirst
          .filter((each) => leadsTo(each, endpoint))
          .flatMap((each) => pinsOf(each, now)),
      ]),
    ],
  }))
}

function pinsOf(hub: HubRecord, now: Date): string[] {
  return standingLeaves(hub, now).map(({ pin }) => pin)
}

/** What can prove a certificate that nobody here has heard of (PROTOCOL §12.3). */
export interface HubProof {
  /** What is verified and remembered. What a stranger shows is held against it, and not remembered. */
  readonly directory: Directory
}

/** Dials as the agent, whose key the hub and the directory know. */
export function hubDialer(options: {
  readonly agentKey: SigningKey
  readonly world: World
  /** The forward proxy that the environment names for an endpoint, if any. */
  proxyFor(endpoint: string): string | undefined
  /** Without it a certificate with another pin is the end. */
  readonly directory?: HubProof
}): HubDialer {
  const { world, directory } = options
  const keyPem = signingKeyPem(options.agentKey)
  const mayProve = seldom(world, PROOF_INTERVAL_MS)
  return async ({ endpoint, pins }, alpn, signal) => {
    const proxyUrl = options.proxyFor(endpoint)
    // Made anew each time, so it is never old however long the agent runs.
    const certPem = await createKeyCertificate(world, keyPem)
    const check = (der: Buffer) =>
      checkHubCertificate(der, { endpoints: [endpoint], now: world.now() })
    const common = {
      ...{ endpoint, check, keyPem, certPem, timeoutMs: DIAL_TIMEOUT_MS, signal },
      ...(proxyUrl === undefined ? {} : { proxyUrl }),
    }
    try {
      return await withAnyPin(pins, (pin) => dialHub({ ...common, alpn, pin }))
    } catch (error) {
      if (directory === undefined || !isPinMismatch(error) || !mayProve(endpoint)) throw error
      const pin = await provenPin(common, directory, world).catch(() => undefined)
      if (pin === undefined) throw error
      return dialHub({ ...common, alpn, pin })
    }
  }
}

/** Whether something that was not done for so long may be, by name. */
function seldom(world: World, intervalMs: number): (name: string) => boolean {
  const last = new Map<string, number>()
  return (name) => {
    const now = world.now().getTime()
    if (Math.abs(now - (last.get(name) ?? Number.NEGATIVE_INFINITY)) < intervalMs) return false
    last.set(name, now)
    return true
  }
}

async function withAnyPin<T>(
  pins: readonly string[],
  dial: (pin: string) => Promise<T>,
): Promise<T> {
  let mismatch: unknown
  for (const pin of pins) {
    try {
      return await dial(pin)
    } catch (error) {
      if (!isPinMismatch(error)) throw error
      mismatch = error
    }
  }
  throw mismatch
}

/** The pin of whoever answers there, if the chain that it shows proves that very certificate. */
async function provenPin(
  common: Omit<DialOptions, 'pin' | 'alpn'>,
  { directory }: HubProof,
  world: World,
): Promise<string | undefined> {
  let shown = ''
  const check = (der: Buffer) => {
    common.check(der)
    shown = sha256(der)
  }
  const hub = openHub(await dialUnprovenHub({ ...common, check, alpn: ALPN_HTTP2 }), {
    maxAnswerBytes: MAX_PROOF_BYTES,
  })
  const after = directory.head?.seq ?? -1
  const page = await hub.directory({ after, details: 'all' }).finally(() => hub.close())
  const { hubs } = (await directory.extend(page)).state
  const now = world.now()
  const isProven = hubs.some(
    (each) => leadsTo(each, common.endpoint) && pinsOf(each, now).includes(shown),
  )
  return isProven ? shown : undefined
}

function isPinMismatch(error: unknown): boolean {
  return isMcmError(error) && error.code === 'MCM_PIN_MISMATCH'
}

function inOrder({ endpoints, privateEndpoints }: HubRecord, isPrivateFirst: boolean): string[] {
  return isPrivateFirst ? [...privateEndpoints, ...endpoints] : [...endpoints, ...privateEndpoints]
}

function leadsTo({ endpoints, privateEndpoints }: HubRecord, endpoint: string): boolean {
  return endpoints.includes(endpoint) || privateEndpoints.includes(endpoint)
}
