import type { Duplex } from 'node:stream'
import { type ErrorCode, isMcmError, type McmError } from '../errors.ts'
import type { Status } from '../kube/status.ts'
import type { AcceptedPipe } from '../pipe/agent-pipe.ts'
import { RESET } from '../pipe/pipe-end.ts'
import type { UserCertificate } from '../pki/user-certificate.ts'
import { ownStatusOf } from './own-status.ts'

/** Something under way on a session that can be ended at once. */
export interface Live {
  /** `reason`: for its client, where there is a place for a sentence. */
  cut(reason?: Status): void
  /** Bytes that wait in it for somebody to take them. */
  bufferedBytes(): number
}

/** Why a session is cut. */
export interface Cut {
  /** As the audit says it: `revoked`, `expired`, `denied`, `overfull`, `stopped`. */
  readonly ended: string
  /** For the other end of a pipe: a code of `RESET`. */
  readonly code: number
  /** For the clients of what runs on it. */
  readonly reason?: Status
}

const OVERFULL: Cut = { ended: 'overfull', code: RESET.tooMuchWaits }
const STOPPED: Cut = { ended: 'stopped', code: RESET.agentEnds }

/** Of a session whose owner may not go on. */
function denied(why: unknown): Cut {
  const code = isMcmError(why) ? why.code : undefined
  const ended = code ? (ENDED_BY_CODE[code] ?? 'denied') : 'denied'
  return { ended, code: RESET.notAllowed, reason: ownStatusOf(why) }
}

const ENDED_BY_CODE: Readonly<Partial<Record<ErrorCode, string>>> = {
  MCM_REVOKED: 'revoked',
  MCM_CERTIFICATE_EXPIRED: 'expired',
}

/** Where a connection came from. */
export interface Origin {
  /** Its IP address, if it is known. */
  readonly clientAddress: string | undefined
  /** Seen here, on the direct address; otherwise a hub told it and nobody can check it. */
  readonly isDirect: boolean
}

/** The address for logs, under a name that says who vouches for it. */
export function addressFields({ clientAddress, isDirect }: Origin): {
  readonly address?: string
  readonly addressByHub?: string
} {
  if (clientAddress === undefined) return {}
  return isDirect ? { address: clientAddress } : { addressByHub: clientAddress }
}

/** One user's connection, from its handshake to its end. */
export class Session implements Origin {
  /** Names it in logs and in the API server's audit. */
  readonly id: string
  readonly clientAddress: string | undefined
  readonly isDirect: boolean
  readonly certificate: UserCertificate
  readonly live = new Set<Live>()
  /** Groups, as the API server knows them, that requests on it ran with: it ends with the first of them. */
  readonly usedGroups = new Set<string>()
  /** Ends it in good order if it is idle; gives whether it is ended. */
  retireIdle: () => boolean = () => false
  readonly #socket: Duplex
  readonly #carrier: Duplex
  readonly #pipe: AcceptedPipe | undefined
  #answersPending = 0
  #cut: Cut | undefined

  constructor(
    id: string,
    certificate: UserCertificate,
    { clientAddress, isDirect }: Origin,
    socket: Duplex,
    carrier: Duplex,
    pipe?: AcceptedPipe,
  ) {
    this.id = id
    this.certificate = certificate
    this.clientAddress = clientAddress
    this.isDirect = isDirect
    this.#socket = socket
    this.#carrier = carrier
    this.#pipe = pipe
  }

  /** What its user makes this process hold: bytes sent that nobody has taken yet. */
  bufferedBytes(): number {
    let bytes = this.#carrier.readableLength + this.#socket.readableLength
    bytes += this.#pipe?.heldBytes ?? 0
    for (const live of this.live) bytes += live.bufferedBytes()
    return bytes
  }

  /** Why it was cut, once it was. */
  get wasCut(): Cut | undefined {
    return this.#cut
  }

  /** Ends everything on it and the connection itself. */
  cut(why: Cut): void {
    this.#cut ??= why
    this.#pipe?.blame(why.code)
    for (const live of this.live) live.cut(why.reason)
    if (this.#answersPending === 0) this.#socket.destroy()
    else setTimeout(() => this.#socket.destroy(), MAX_ANSWER_MS).unref()
  }

  /**
   * Whoever revokes oneself shall hear that it is done, and whoever is cut why: until the function is
   * called a cut lets the connection live, for half a second at most.
   */
  awaitAnswer(): () => void {
    this.#answersPending += 1
    return () => {
      this.#answersPending -= 1
      if (!this.#cut || this.#answersPending > 0) return
      setTimeout(() => this.#socket.destroy(), ANSWER_FLUSH_MS).unref()
    }
  }
}

const MAX_ANSWER_MS = 500
/** From the end of an answer to its last byte on the wire. */
const ANSWER_FLUSH_MS = 50

export interface Sessions {
  /** Until the session's socket closes. */
  add(session: Session, socket: Duplex): void
  /** How many one user has open. */
  countOf(user: string): number
  readonly size: number
  /** Retires the longest open of one user's idle sessions until no more than `keep` are left, or none is idle. */
  retireIdle(user: string, keep: number): void
  /**
   * Cuts every session (of one user, or of all) that `judge` throws for. Gives how many.
   * `onCut` hears of each.
   */
  cutUnless(judge: (session: Session) => void, user?: string): number
  /**
   * Cuts, of every user who makes this process hold more than so many bytes, the fullest sessions
   * until it is less. Gives how many.
   */
  cutOverBudget(maxBytesPerUser: number, why: McmError): number
  cutAll(): void
}

/** Everybody's open sessions. `onCut` hears which were ended and why. */
export function openSessions(onCut: (session: Session, why: McmError | unknown) => void): Sessions {
  const byUser = new Map<string, Set<Session>>()
  const all = () => [...byUser.values()].flatMap((sessions) => [...sessions])
  const remove = (session: Session) => {
    const { user } = session.certificate
    const sessions = byUser.get(user)
    sessions?.delete(session)
    if (sessions?.size === 0) byUser.delete(user)
  }
  return {
    add: (session, socket) => {
      const { user } = session.certificate
      const sessions = byUser.get(user) ?? new Set()
      byUser.set(user, sessions.add(session))
      if (socket.destroyed) remove(session)
      else socket.once('close', () => remove(session))
    },
    countOf: (user) => byUser.get(user)?.size ?? 0,
    get size() {
      return all().length
    },
    retireIdle: (user, keep) => {
      const sessions = byUser.get(user) ?? new Set()
      let excess = sessions.size - keep
      for (const session of sessions) {
        if (excess <= 0) return
        if (session.retireIdle()) excess -= 1
      }
    },
    cutUnless: (judge, user) => {
      const candidates = user === undefined ? all() : [...(byUser.get(user) ?? [])]
      let count = 0
      for (const session of candidates) {
        try {
          judge(session)
        } catch (why) {
          count += 1
          onCut(session, why)
          session.cut(denied(why))
        }
      }
      return count
    },
    cutOverBudget: (maxBytesPerUser, why) => {
      let count = 0
      for (const sessions of [...byUser.values()]) {
        const sized = [...sessions].map((session) => ({ session, bytes: session.bufferedBytes() }))
        let sum = sized.reduce((total, { bytes }) => total + bytes, 0)
        for (const { session, bytes } of sized.sort((a, b) => b.bytes - a.bytes)) {
          if (sum <= maxBytesPerUser) break
          sum -= bytes
          count += 1
          onCut(session, why)
          session.cut(OVERFULL)
        }
      }
      return count
    },
    cutAll: () => {
      for (const session of all()) session.cut(STOPPED)
    },
  }
}
