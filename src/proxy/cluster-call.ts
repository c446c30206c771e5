import { Refusal } from '../forward/refusal.ts'
import type { UpstreamCall, UpstreamEvents, UpstreamRequest } from '../forward/upstream.ts'
import { statusOf } from '../kube/status.ts'
import type { Credential } from './cluster.ts'
import type { InnerSession } from './inner-session.ts'
import { withIdentity } from './outgoing-headers.ts'

/** Where calls get their sessions from. */
export interface SessionSource {
  /** One with room for a stream. Rejects with a `Refusal`, within the deadline. */
  session(): Promise<InnerSession>
  /** The agent answered 401 to a request made with it. */
  refuse(credential: Credential): void
}

/**
 * One request on whichever session there is; once more on another where that cannot do harm: a GET or HEAD
 * whose session died or was suspended before any answer, or whose certificate the agent did not accept.
 */
export function clusterCall(
  source: SessionSource,
  request: UpstreamRequest,
  events: UpstreamEvents,
): UpstreamCall {
  return new ClusterCall(source, request, events)
}

/** A path that is back within this time costs nobody a second request. */
const PATIENCE_MS = 2_000

class ClusterCall implements UpstreamCall {
  readonly #source: SessionSource
  readonly #request: UpstreamRequest
  readonly #events: UpstreamEvents
  #call: UpstreamCall | undefined
  #mayRepeat: boolean
  #isOver = false
  #stopWaiting: () => void = () => {}
  #isTryingElsewhere = false

  constructor(source: SessionSource, request: UpstreamRequest, events: UpstreamEvents) {
    this.#source = source
    this.#request = request
    this.#events = events
    const isSafe = request.method === 'GET' || request.method === 'HEAD'
    this.#mayRepeat = isSafe && request.body === undefined
    void this.#send()
  }

  resume(): void {
    this.#call?.resume()
  }

  abort(): void {
    this.#isOver = true
    this.#stopWaiting()
    this.#call?.abort()
  }

  async #send(): Promise<void> {
    try {
      const session = await this.#source.session()
      if (this.#isOver) return
      this.#waitOn(session)
      const headers = withIdentity(this.#request.headers, session.credential)
      const events = this.#eventsOf(session)
      this.#call = session.send({ ...this.#request, headers }, events)
    } catch (error) {
      if (!this.#isOver) this.#events.onError(error as Error)
    }
  }

  /** While its path is suspended an answer may come later or never: another session may have it at once. */
  #waitOn(session: InnerSession): void {
    if (!this.#mayRepeat) return
    const tryElsewhere = () => void this.#tryElsewhere(session)
    this.#stopWaiting = session.path.whileSuspended(PATIENCE_MS, tryElsewhere)
  }

  async #tryElsewhere(session: InnerSession): Promise<void> {
    if (this.#isTryingElsewhere) return
    this.#isTryingElsewhere = true
    try {
      await this.#source.session()
      if (this.#mayRepeat && !this.#isOver && session.path.isSuspended) this.#repeat()
    } catch {
      // Where there is no other way, waiting is best.
    } finally {
      this.#isTryingElsewhere = false
    }
  }

  #eventsOf(session: InnerSession): UpstreamEvents {
    const { onData, onEnd } = this.#events
    return {
      onResponse: (status, headers) => this.#onResponse(session, status, headers),
      onData: onData.bind(this.#events),
      onEnd: onEnd.bind(this.#events),
      onError: (error) => this.#onError(session, error),
    }
  }

  /** 401 is the agent's own: nothing was done, and another certificate would help. */
  #onResponse(session: InnerSession, status: number, headers: readonly string[]): void {
    if (status === 401) this.#source.refuse(session.credential)
    if (status === 401 && this.#mayRepeat) {
      this.#repeat()
      return
    }
    this.#mayRepeat = false
    this.#stopWaiting()
    this.#events.onResponse(status, headers)
  }

  #onError({ path }: InnerSession, error: Error): void {
    if (this.#isOver) return
    this.#stopWaiting()
    const isLost = !(error instanceof Refusal)
    if (isLost && this.#mayRepeat) this.#repeat()
    else this.#events.onError(isLost && path.end ? new Refusal(statusOf(path.end)) : error)
  }

  #repeat(): void {
    this.#mayRepeat = false
    this.#stopWaiting()
    this.#call?.abort()
    this.#call = undefined
    if (!this.#isOver) void this.#send()
  }
}
