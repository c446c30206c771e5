import type { TLSSocket } from 'node:tls'
import { type DialOptions, dialHub, dialUnprovenHub } from '../client/dial.ts'
import { type HubApi, openHub } from '../client/hub.ts'
import type { Directory } from '../directory/directory.ts'
import { standingLeaves } from '../directory/overlap.ts'
import { type SigningKey, signingKeyPem } from '../directory/signing-key.ts'
import { isMcmError, messageOf, TrustError, UnreachableError } from '../errors.ts'
import { checkHubCertificate } from '../pki/hub-certificate.ts'
import { createKeyCertificate } from '../pki/profiles.ts'
import { sha256 } from '../protocol/keys.ts'
import { ALPN_HTTP2 } from '../protocol/names.ts'
import type { Device } from './device.ts'
import type { DeviceState } from './state.ts'

/** Which endpoints lead to the hub, and reaching the first that answers with the certificate it must have. */

export interface HubCandidate {
  readonly endpoint: string
  readonly pin: string
}

/**
 * Endpoints in the order to try: those of the directory, newest certificate first, then, for a hub that
 * has not changed over yet, the certificate before it; the link's own only while the directory names none.
 */
export function hubCandidates(state: DeviceState, directory: Directory, now: Date): HubCandidate[] {
  const { hubs } = directory.state
  if (hubs.length === 0) return candidates(state.hub.endpoints, state.hub.pin)
  const current = hubs.flatMap((hub) =>
    standingLeaves(hub, now).flatMap(({ pin }) => candidates(inOrder(hub, state.endpoint), pin)),
  )
  const known = new Set(current.map(candidateKey))
  const earlier = hubs.flatMap((hub) => {
    // Where it was signed until when, that is the end of it.
    const pin = hub.previous ? undefined : earlierPin(directory, hub)
    return pin === undefined ? [] : candidates(inOrder(hub, state.endpoint), pin)
  })
  return [...current, ...earlier.filter((each) => !known.has(candidateKey(each)))]
}

interface Endpoints {
  readonly endpoints: readonly string[]
  readonly privateEndpoints: readonly string[]
}

/** The endpoints this device prefers, then the others. */
export function inOrder(hub: Endpoints, first: DeviceState['endpoint']): string[] {
  const { endpoints, privateEndpoints } = hub
  return first === 'private'
    ? [...privateEndpoints, ...endpoints]
    : [...endpoints, ...privateEndpoints]
}

/** The certificate that the latest `hub` statement of this hub replaced. */
function earlierPin(directory: Directory, hub: Endpoints & { seq: number }): string | undefined {
  const own = new Set([...hub.endpoints, ...hub.privateEndpoints])
  for (let seq = hub.seq - 1; seq >= 0; seq--) {
    const known = directory.known.get(seq)
    if (known?.type !== 'hub') continue
    const { endpoints, privateEndpoints, certificate } = known.detail
    const isSame = [...endpoints, ...privateEndpoints].some((endpoint) => own.has(endpoint))
    if (isSame) return sha256(Buffer.from(certificate, 'base64'))
  }
  return undefined
}

function candidates(endpoints: readonly string[], pin: string): HubCandidate[] {
  return endpoints.map((endpoint) => ({ endpoint, pin }))
}

function candidateKey({ endpoint, pin }: HubCandidate): string {
  return `${endpoint} ${pin}`
}

export interface HubConnection {
  readonly hub: HubApi
  readonly candidate: HubCandidate
  /** The hub's own leaf, as it was shown and checked. */
  readonly certificateDer: Buffer
  /** 32 bytes that only the two ends of this connection know (RFC 8446 §7.5). */
  exporter(label: string): Buffer
}

const EXPORTER_BYTES = 32

/**
 * The hub, over the first candidate that answers rightly. A wrong certificate is never talked to; it is
 * what is reported when no other candidate works.
 * @throws TrustError MCM_PIN_MISMATCH MCM_CERTIFICATE_UNTRUSTED, UnreachableError MCM_HUB_UNREACHABLE
 */
export async function connectToHub(
  device: Device,
  candidates: readonly HubCandidate[],
  key: SigningKey,
): Promise<HubConnection> {
  const failures: { candidate: HubCandidate; error: unknown }[] = []
  for (const candidate of candidates) {
    device.signal.throwIfAborted()
    try {
      return await connect(device, candidate, key)
    } catch (error) {
      if (!isMcmError(error)) throw error
      failures.push({ candidate, error })
    }
  }
  const distrusted = failures.find(({ error }) => error instanceof TrustError)
  if (distrusted) throw distrusted.error
  if (failures.length === 1) throw failures[0]!.error
  throw unreachable(failures)
}

async function connect(
  device: Device,
  candidate: HubCandidate,
  key: SigningKey,
): Promise<HubConnection> {
  return connectBy(device, candidate.endpoint, key, (options) =>
    dialHub({ ...options, pin: candidate.pin }),
  )
}

/**
 * Whoever answers there, with whatever certificate a hub may have: to be asked for the directory and for nothing else
 * until that proves it (PROTOCOL §12.3). @throws TrustError MCM_CERTIFICATE_UNTRUSTED, UnreachableError
 */
export function connectUnproven(
  device: Device,
  endpoint: string,
  key: SigningKey,
): Promise<HubConnection> {
  return connectBy(device, endpoint, key, dialUnprovenHub)
}

async function connectBy(
  device: Device,
  endpoint: string,
  key: SigningKey,
  dial: (options: Omit<DialOptions, 'pin'>) => Promise<TLSSocket>,
): Promise<HubConnection> {
  const keyPem = signingKeyPem(key)
  const certPem = await createKeyCertificate(device.world, keyPem)
  const proxyUrl = device.proxyFor(new URL(`https://${endpoint}`))
  let certificateDer: Buffer | undefined
  const socket = await dial({
    endpoint,
    alpn: ALPN_HTTP2,
    keyPem,
    certPem,
    ...(proxyUrl === undefined ? {} : { proxyUrl }),
    signal: device.signal,
    check(der) {
      certificateDer = der
      checkHubCertificate(der, { endpoints: [endpoint], now: device.world.now() })
    },
  })
  const hub = openHub(socket)
  endWith(device.signal, socket, hub.closed)
  const exporter = (label: string) =>
    socket.exportKeyingMaterial(EXPORTER_BYTES, label, Buffer.alloc(0))
  const candidate = { endpoint, pin: sha256(certificateDer!) }
  return { hub, candidate, certificateDer: certificateDer!, exporter }
}

/** Ctrl-C ends what waits for an answer, instead of waiting for it. */
function endWith(signal: AbortSignal, socket: TLSSocket, closed: Promise<void>): void {
  const end = () => socket.destroy()
  signal.addEventListener('abort', end, { once: true })
  void closed.then(() => signal.removeEventListener('abort', end))
}

function unreachable(
  failures: readonly { candidate: HubCandidate; error: unknown }[],
): UnreachableError {
  const tried = failures.map(
    ({ candidate, error }) => `${candidate.endpoint} (${messageOf(error)})`,
  )
  return new UnreachableError('MCM_HUB_UNREACHABLE', `no hub answers: ${tried.join(', ')}`, {
    hint: 'check the network; behind a corporate proxy set HTTPS_PROXY',
    cause: failures[0]?.error,
  })
}
