/**
 * The agent's way out: tunnels to up to two hub endpoints, held for as long as the process runs.
 * Knows where hubs are and what a hub may ask on a tunnel (docs/PROTOCOL.md §6); not what is inside
 * a stream.
 * Its invariant: whatever happens to a tunnel, another attempt follows, and a stream reaches
 * `onStream` only when it was asked for under this cluster's own name.
 */

import type { IncomingHttpHeaders } from 'node:http2'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { isMcmError, messageOf, NotFoundError, TrustError, UsageError } from '../errors.ts'
import { failureStatus } from '../kube/status.ts'
import {
  type DirectoryAppend,
  directoryAppendSchema,
  type Head,
  type Hello,
} from '../protocol/messages.ts'
import { ALPN_TUNNEL, parseClusterAuthority } from '../protocol/names.ts'
import { serveTunnel, type TunnelHandlers } from '../tunnel/agent-end.ts'
import { fullJitterBackoff } from '../tunnel/backoff.ts'
import type { TunnelEnd, TunnelOptions } from '../tunnel/session.ts'
import type { HubDialer, HubEndpoint } from './hub-endpoints.ts'
import { type Places, startPlaces } from './tunnel-places.ts'
import type { Background } from './watched-collection.ts'

export type StreamKind = 'session' | 'enrolment' | 'pipe'

export interface TunnelsOptions extends Background {
  /** The cluster id. */
  readonly cluster: string
  /** Where hubs may be, now, the best first. */
  endpoints(): readonly HubEndpoint[]
  readonly dial: HubDialer
  /** When to begin: no hub lets in a key that the directory does not know. At once unless told. */
  readonly begin?: Promise<void>
  hello(): Hello
  /** @throws TrustError: the hub is told 409 and why */
  applyDirectory(append: DirectoryAppend): Promise<Head>
  /** Takes a user's stream over by returning; refuses it by throwing an McmError. */
  onStream(kind: StreamKind, stream: Duplex, clientAddress: string | undefined): void
  readonly backoff?: { readonly baseMs: number; readonly capMs: number }
  readonly heartbeat?: Pick<TunnelOptions, 'pingIntervalMs' | 'pingTimeoutMs'>
}

export interface Tunnels {
  /** Whether a hub can reach us now. */
  isUp(): boolean
  /** Tunnels that take new streams. */
  open(): number
  /**
   * Stops dialling, lets streams finish for at most `graceMs` (0 unless told), then ends all
   * tunnels.
   */
  stop(graceMs?: number): Promise<void>
  /** Resolves when it was stopped and all tunnels are gone. */
  readonly closed: Promise<void>
}

/** Tunnels held at a time: a hub replica that restarts takes one of them down. */
const PLACES = 2
/** A path that died is noticed in 15 s (tunnel/session.ts); with this it is replaced in 30. */
const BACKOFF = { baseMs: 250, capMs: 8_000 }
/** A tunnel that lived for less does not count as one that worked. */
const SHORT_LIFE_MS = 10_000

/** Starts to dial; ends with the signal or by `stop`. */
export function startTunnels(options: TunnelsOptions): Tunnels {
  return new HeldTunnels(options)
}

class HeldTunnels implements Tunnels {
  readonly closed: Promise<void>
  readonly #options: TunnelsOptions
  readonly #stopping = new AbortController()
  readonly #signal: AbortSignal
  readonly #places: Places
  /** Those that are leaving included, until their last stream has ended. */
  readonly #ends = new Set<TunnelEnd>()
  readonly #draining = new WeakSet<TunnelEnd>()
  /** What went wrong last, by endpoint: said once. */
  readonly #problems = new Map<string, string>()

  constructor(options: TunnelsOptions) {
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#stopping.signal])
    this.#places = startPlaces({ world: options.world, signal: this.#signal })
    options.signal.addEventListener('abort', () => void this.stop(), { once: true })
    this.closed = this.#run()
  }

  isUp(): boolean {
    return this.open() > 0
  }

  open(): number {
    return [...this.#ends].filter((end) => end.isOpen() && !this.#draining.has(end)).length
  }

  async stop(graceMs = 0): Promise<void> {
    this.#stopping.abort()
    await Promise.all([...this.#ends].map((end) => end.stop(graceMs)))
    await this.closed
  }

  async #run(): Promise<void> {
    const stopped = new Promise((resolve) =>
      this.#signal.addEventListener('abort', resolve, { once: true }),
    )
    await Promise.race([this.#options.begin, stopped])
    const places = Array.from({ length: PLACES }, (_, place) => this.#holdPlace(place))
    await Promise.all(places)
    await Promise.all([...this.#ends].map((end) => end.closed))
  }

  async #holdPlace(place: number): Promise<void> {
    const { world, backoff = BACKOFF } = this.#options
    let failures = 0
    while (!this.#signal.aborted) {
      const target = this.#places.take(place, this.#options.endpoints())
      if (target === undefined) {
        await this.#places.wait(backoff.capMs)
        continue
      }
      const hasWorked = await this.#holdTunnel(place, target)
      this.#places.leave(place, hasWorked)
      failures = hasWorked ? 0 : failures + 1
      if (failures > 0)
        await this.#places.pause(fullJitterBackoff(world.random, failures - 1, backoff))
    }
  }

  /** Resolves when a tunnel to the target takes no new streams; gives whether it was of any use. */
  async #holdTunnel(place: number, target: HubEndpoint): Promise<boolean> {
    const { log, world } = this.#options
    const { endpoint } = target
    try {
      const end = this.#serve(await this.#options.dial(target, ALPN_TUNNEL, this.#signal))
      const since = world.now().getTime()
      this.#places.opened(place)
      this.#problems.delete(endpoint)
      log.info('tunnel_open', { endpoint })
      await end.draining
      const lifeMs = world.now().getTime() - since
      log.info('tunnel_draining', { endpoint, lifeMs })
      return lifeMs >= SHORT_LIFE_MS
    } catch (error) {
      if (!this.#signal.aborted) this.#say(endpoint, error)
      return false
    }
  }

  #serve(socket: Duplex): TunnelEnd {
    const { log, heartbeat } = this.#options
    const end = serveTunnel(socket, tunnelHandlers(this.#options), { ...heartbeat, log })
    this.#ends.add(end)
    void end.draining.then(() => this.#draining.add(end))
    void end.closed.then(() => this.#ends.delete(end))
    if (this.#signal.aborted) void end.stop()
    return end
  }

  #say(endpoint: string, error: unknown): void {
    const reason = messageOf(error)
    if (this.#problems.get(endpoint) === reason) return
    this.#problems.set(endpoint, reason)
    const { log } = this.#options
    const hint = isMcmError(error) ? error.hint : undefined
    if (error instanceof TrustError || !isMcmError(error))
      log.error('hub_refused', { endpoint, reason, hint })
    else log.warn('hub_unreachable', { endpoint, reason, hint })
  }
}

/** What a hub may ask on a tunnel. */
export function tunnelHandlers(
  options: Pick<TunnelsOptions, 'cluster' | 'hello' | 'applyDirectory' | 'onStream'>,
): TunnelHandlers {
  return {
    async request(method, path, body) {
      const call = `${method} ${path}`
      if (call === 'GET /.mcm/v1/hello') return { status: 200, body: options.hello() }
      if (call === 'POST /.mcm/v1/directory') return pushDirectory(options, body)
      throw new NotFoundError('MCM_NOT_FOUND', 'the agent answers no such request on a tunnel')
    },
    connect(authority, headers, stream) {
      const target = parseClusterAuthority(authority)
      if (target?.id !== options.cluster)
        throw new NotFoundError('MCM_NOT_FOUND', 'this is the agent of another cluster')
      options.onStream(target.kind, stream, clientAddress(headers))
    },
  }
}

async function pushDirectory(
  { applyDirectory }: Pick<TunnelsOptions, 'applyDirectory'>,
  body: Buffer,
): Promise<{ status: number; body: unknown }> {
  const append = directoryAppendSchema.safeParse(jsonOf(body))
  if (!append.success) throw new UsageError('MCM_BAD_REQUEST', 'the directory is not understood')
  try {
    return { status: 200, body: await applyDirectory(append.data) }
  } catch (error) {
    if (!(error instanceof TrustError)) throw error
    const status = failureStatus(409, 'Conflict', `mcm: ${error.message}`)
    return { status: 409, body: { ...status, mcm: { code: error.code, hint: error.hint } } }
  }
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}

/** As the hub saw it: nobody can check it, so it is an address or nothing. */
function clientAddress(headers: IncomingHttpHeaders): string | undefined {
  const text = headers['mcm-forwarded-for']
  if (typeof text !== 'string') return undefined
  const address = text.replace(/^::ffff:(?=\d+\.)/i, '')
  return isIP(address) === 0 ? undefined : address
}
