import type { Duplex } from 'node:stream'
import type { DirectoryState } from '../directory/state.ts'
import { UnreachableError } from '../errors.ts'
import { type Relay, startRelay } from '../tunnel/relay.ts'
import type { HubEvents, RelayName } from './events.ts'
import type { HubLimits } from './limits.ts'
import type { HubMetrics } from './metrics.ts'
import { isStillGranted, type Passage } from './peer.ts'

/**
 * The connections that run through this hub, and what each user and cluster may take of it. A reader
 * that does not read costs its own connection: when more waits than is allowed, the one that has
 * stood still the longest is ended.
 */
export interface Relays {
  readonly count: number
  /** Takes a place, before the agent is asked. @throws UnreachableError MCM_LIMIT when there is none */
  reserve(passage: Passage, address: string): Seat
  /** Ends those that the directory no longer grants, within a second. */
  enforce(state: DirectoryState, now: Date): void
  /** Resolves when none is left; after `drainMs` the rest is ended. */
  drain(drainMs: number): Promise<void>
}

/** A place for one connection; use it or give it back. */
export interface Seat {
  /** Joins the two and keeps account of them until they end. */
  join(client: Duplex, agent: Duplex): void
  release(): void
}

interface Entry {
  readonly name: RelayName
  readonly passage: Passage
  readonly relay: Relay
  readonly startedMs: number
  carriedBytes: number
  movedAtMs: number
  reason?: string
}

interface RelayDeps {
  readonly limits: HubLimits
  readonly events: HubEvents
  readonly metrics: HubMetrics
}

/** The agent hears of it as well: it ends everything itself, and tells its clients why. */
const LAST_WORD_MS = 500

export function relays(deps: RelayDeps): Relays {
  return new LiveRelays(deps)
}

class LiveRelays implements Relays {
  readonly #deps: RelayDeps
  readonly #entries = new Set<Entry>()
  readonly #seats = new Tally()
  #sweeper: NodeJS.Timeout | undefined
  #lastId = 0
  #whenEmpty: (() => void) | undefined

  constructor(deps: RelayDeps) {
    this.#deps = deps
  }

  get count(): number {
    return this.#entries.size
  }

  reserve(passage: Passage, address: string): Seat {
    const { relaysPerUser, relaysPerCluster } = this.#deps.limits
    const { user, target } = passage
    const [ofUser, ofCluster] = [this.#seats.of(`user ${user}`), this.#seats.of(target.id)]
    if (ofUser >= relaysPerUser) throw tooMany(`${user} has`, relaysPerUser)
    if (ofCluster >= relaysPerCluster) throw tooMany('this cluster has', relaysPerCluster)
    this.#seats.add(`user ${user}`, 1)
    this.#seats.add(target.id, 1)
    return {
      join: (client, agent) => this.#join(passage, address, client, agent),
      release: () => this.#release(passage),
    }
  }

  #release({ user, target }: Passage): void {
    this.#seats.add(`user ${user}`, -1)
    this.#seats.add(target.id, -1)
  }

  #join(passage: Passage, address: string, client: Duplex, agent: Duplex): void {
    this.#lastId += 1
    const { user, device, target } = passage
    const startedMs = performance.now()
    const entry: Entry = {
      name: { id: this.#lastId, user, device, cluster: target.id, address },
      passage,
      relay: startRelay(client, agent),
      startedMs,
      carriedBytes: 0,
      movedAtMs: startedMs,
    }
    this.#entries.add(entry)
    this.#deps.events.relayOpened(entry.name)
    this.#sweeper ??= setInterval(() => this.#sweep(), this.#deps.limits.sweepMs)
    void entry.relay.done.then((outcome) => this.#remove(entry, outcome))
  }

  enforce(state: DirectoryState, now: Date): void {
    const denied = [...this.#entries].filter(({ passage }) => !isStillGranted(state, passage, now))
    if (denied.length === 0) return
    setTimeout(() => {
      for (const entry of denied) if (this.#entries.has(entry)) end(entry, 'no longer granted')
    }, LAST_WORD_MS).unref()
  }

  async drain(drainMs: number): Promise<void> {
    // What carries a pipe is made good by another hub, or this one when it is back: the sooner the better.
    for (const entry of this.#entries)
      if (entry.passage.target.kind === 'pipe') end(entry, 'the hub stops')
    if (this.#entries.size === 0) return
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve
    })
    const timer = setTimeout(() => {
      for (const entry of this.#entries) end(entry, 'the hub stops')
    }, drainMs)
    await empty
    clearTimeout(timer)
  }

  #remove(entry: Entry, outcome: { sent: number; received: number; aborted: boolean }): void {
    this.#entries.delete(entry)
    this.#release(entry.passage)
    const ms = Math.round(performance.now() - entry.startedMs)
    const { reason } = entry
    this.#deps.events.relayClosed(entry.name, { ...outcome, ms, ...(reason ? { reason } : {}) })
    this.#deps.metrics.relayed(outcome.sent, outcome.received)
    if (this.#entries.size > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
    this.#whenEmpty?.()
  }

  #sweep(): void {
    const now = performance.now()
    const users = new Map<string, Entry[]>()
    const clusters = new Map<string, Entry[]>()
    for (const entry of this.#entries) {
      const carried = entry.relay.carriedBytes()
      if (carried !== entry.carriedBytes) entry.movedAtMs = now
      entry.carriedBytes = carried
      if (entry.relay.bufferedBytes() === 0) continue
      push(users, entry.passage.user, entry)
      push(clusters, entry.passage.target.id, entry)
    }
    const { bufferedBytesPerUser, bufferedBytesPerCluster, stallMs } = this.#deps.limits
    const before = now - stallMs
    for (const entries of users.values()) relieve(entries, bufferedBytesPerUser, before)
    for (const entries of clusters.values()) relieve(entries, bufferedBytesPerCluster, before)
  }
}

class Tally {
  readonly #counts = new Map<string, number>()

  of(key: string): number {
    return this.#counts.get(key) ?? 0
  }

  add(key: string, change: number): void {
    const count = this.of(key) + change
    if (count === 0) this.#counts.delete(key)
    else this.#counts.set(key, count)
  }
}

/** Ends those that have stood still the longest, until the rest waits for no more than allowed. */
function relieve(entries: readonly Entry[], maxBytes: number, stillSinceMs: number): void {
  let buffered = entries.reduce((sum, { relay }) => sum + relay.bufferedBytes(), 0)
  if (buffered <= maxBytes) return
  const still = entries.filter(({ movedAtMs }) => movedAtMs < stillSinceMs)
  for (const entry of still.sort((a, b) => a.movedAtMs - b.movedAtMs)) {
    if (buffered <= maxBytes) return
    buffered -= entry.relay.bufferedBytes()
    end(entry, 'its reader stands still and too much waits for it')
  }
}

function end(entry: Entry, reason: string): void {
  entry.reason ??= reason
  entry.relay.abort()
}

function push(groups: Map<string, Entry[]>, key: string, entry: Entry): void {
  const group = groups.get(key)
  if (group) group.push(entry)
  else groups.set(key, [entry])
}

function tooMany(who: string, limit: number): UnreachableError {
  return new UnreachableError('MCM_LIMIT', `${who} ${limit} connections open through this hub`, {
    hint: 'close some and try again',
  })
}
