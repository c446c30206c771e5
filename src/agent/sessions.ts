import type { Duplex } from 'node:stream'
import type { McmError } from '../errors.ts'
import type { AcceptedPipe } from '../pipe/acceptor.ts'
import { RESET } from '../pipe/pipe-end.ts'
import type { UserCertificate } from '../pki/user-certificate.ts'

/** Something under way on a session that can be ended at once. */
export interface Live {
  cut(): void
  /** Bytes that wait in it for somebody to take them. */
  bufferedBytes(): number
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
  readonly #socket: Duplex
  readonly #carrier: Duplex
  readonly #pipe: AcceptedPipe | undefined
  #answersPending = 0
  #isCut = false

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

  /** Ends everything on it and the connection itself. `code` is why, for the other end of a pipe. */
  cut(code: number = RESET.notAllowed): void {
    this.#pipe?.blame(code)
    for (const live of this.live) live.cut()
    this.#isCut = true
    if (this.#answersPending === 0) this.#socket.destroy()
    else setTimeout(() => this.#socket.destroy(), MAX_ANSWER_MS).unref()
  }

  /**
   * Whoever revokes oneself shall hear that it is done: until the function is called a cut lets the
   * connection live, for half a second at most.
   */
  awaitAnswer(): () => void {
    this.#answersPending += 1
    return () => {
      this.#answersPending -= 1
      if (!this.#isCut || this.#answersPending > 0) return
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
    cutUnless: (judge, user) => {
      const candidates = user === undefined ? all() : [...(byUser.get(user) ?? [])]
      let count = 0
      for (const session of candidates) {
        try {
          judge(session)
        } catch (why) {
          count += 1
          onCut(session, why)
          session.cut()
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
          session.cut(RESET.tooMuchWaits)
        }
      }
      return count
    },
    cutAll: () => {
      for (const session of all()) session.cut()
    },
  }
}
