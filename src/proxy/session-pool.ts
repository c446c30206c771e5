import type { Credential } from './cluster.ts'
import { ATTEMPT_MS, withinDeadline } from './deadline.ts'
import type { InnerSession } from './inner-session.ts'

/**
 * The sessions with one cluster's agent. Requests share one. An upgrade gets one to itself while there are not too
 * many: what it carries is a person's keystrokes or a copy as fast as it goes, nobody knows which, and on one
 * session the one would wait behind the other. One is kept ready, so that none begins with a handshake.
 */
export interface SessionPool {
  /** One with room for a stream. @throws what opening throws */
  forRequest(credential: Credential): Promise<InnerSession>
  /**
   * One for a single upgrade, held for it until it is let go; undefined where the agent takes no extended CONNECT.
   * @throws what opening throws
   */
  forUpgrade(credential: Credential): Promise<HeldSession | undefined>
  /** Every session there is. */
  [Symbol.iterator](): Iterator<InnerSession>
  readonly size: number
  close(): void
}

export interface HeldSession {
  readonly session: InnerSession
  /** After the upgrade has begun, or instead of it. */
  letGo(): void
}

export type Purpose = 'request' | 'upgrade'

/** More upgrades at once share sessions. */
const MAX_UPGRADE_SESSIONS = 8

export interface SessionPoolDeps {
  /** For sentences. */
  readonly name: string
  open(credential: Credential): Promise<InnerSession>
}

export function sessionPool(deps: SessionPoolDeps): SessionPool {
  return new Pool(deps)
}

class Pool implements SessionPool {
  readonly #deps: SessionPoolDeps
  readonly #sessions = new Map<InnerSession, Purpose>()
  readonly #opening = new Map<Purpose, Promise<InnerSession>>()
  #isClosed = false

  constructor(deps: SessionPoolDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#sessions.size
  }

  [Symbol.iterator](): Iterator<InnerSession> {
    return this.#sessions.keys()
  }

  close(): void {
    this.#isClosed = true
    for (const session of this.#sessions.keys()) session.destroy()
  }

  async forRequest(credential: Credential): Promise<InnerSession> {
    for (const session of this.#usable('request', credential))
      if (await session.isAlive()) return session
    const session = await this.#open('request', credential)
    this.#keepSpare(session)
    return session
  }

  async forUpgrade(credential: Credential): Promise<HeldSession | undefined> {
    const [known] = this.#usable('request', credential)
    if (known && !(await known.offersUpgrades)) return undefined
    const taken = (await this.#idle(credential)) ?? (await this.#more(credential))
    if (await taken.session.offersUpgrades) {
      this.#keepSpare(taken.session)
      return taken
    }
    taken.letGo()
    return undefined
  }

  async #idle(credential: Credential): Promise<HeldSession | undefined> {
    for (const session of this.#usable('upgrade', credential)) {
      if (session.openStreams > 0) continue
      const taken = held(session)
      if (await session.isAlive()) return taken
      taken.letGo()
    }
    return undefined
  }

  /** A new one; where there are enough, the one with the fewest streams. */
  async #more(credential: Credential): Promise<HeldSession> {
    const present = this.#usable('upgrade', credential)
    const [least] = present.sort((a, b) => a.openStreams - b.openStreams)
    if (least && present.length >= MAX_UPGRADE_SESSIONS) return held(least)
    for (;;) {
      const session = await this.#open('upgrade', credential)
      // Somebody else may have waited for it as well.
      const isTaken = session.openStreams > 0 && session.isUsable()
      if (!isTaken || this.#countOf('upgrade') >= MAX_UPGRADE_SESSIONS) return held(session)
    }
  }

  /** Behind everybody's back; what fails is tried again by whoever needs one. */
  #keepSpare(session: InnerSession): void {
    void session.offersUpgrades.then((isOffered) => {
      const { credential } = session
      const present = this.#usable('upgrade', credential)
      const isThere = present.some(({ openStreams }) => openStreams === 0)
      if (!isOffered || isThere || present.length >= MAX_UPGRADE_SESSIONS) return
      this.#open('upgrade', credential).catch(() => {})
    })
  }

  #usable(purpose: Purpose, credential: Credential): InnerSession[] {
    const found: InnerSession[] = []
    for (const [session, its] of this.#sessions)
      if (its === purpose && session.isUsable() && isOf(session, credential)) found.push(session)
    return found
  }

  #countOf(purpose: Purpose): number {
    return [...this.#sessions.values()].filter((its) => its === purpose).length
  }

  /** One at a time for each purpose, however many wait. */
  #open(purpose: Purpose, credential: Credential): Promise<InnerSession> {
    const underWay = this.#opening.get(purpose)
    if (underWay) return underWay
    const work = this.#deps.open(credential).then((session) => this.#add(session, purpose))
    const opening = withinDeadline(work, this.#deps.name, ATTEMPT_MS).finally(() =>
      this.#opening.delete(purpose),
    )
    this.#opening.set(purpose, opening)
    return opening
  }

  #add(session: InnerSession, purpose: Purpose): InnerSession {
    this.#sessions.set(session, purpose)
    void session.closed.then(() => this.#sessions.delete(session))
    if (this.#isClosed) session.destroy()
    return session
  }
}

function held(session: InnerSession): HeldSession {
  return { session, letGo: session.hold() }
}

export function isOf(session: InnerSession, credential: Credential): boolean {
  return session.credential.certPem === credential.certPem
}
