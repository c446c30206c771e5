import { Directory } from '../directory/directory.ts'
import { readUnverified, type Statement } from '../directory/statement.ts'
import {
  AccessDeniedError,
  messageOf,
  NotFoundError,
  StateError,
  TrustError,
  UnreachableError,
  UsageError,
} from '../errors.ts'
import type { DirectoryAppend, Head } from '../protocol/messages.ts'
import type { World } from '../world.ts'
import type { HubStore } from './store.ts'

/**
 * The hub's copy of the phone book. It orders appends and checks them as everybody else will; it can
 * make none. Invariant: `current` is what the store holds, and both only ever grow.
 */
export interface Book {
  readonly current: Directory
  /**
   * Appends signed statements that follow the head; the same ones again are no error.
   * @throws UnreachableError MCM_CONFLICT (`.cause` is the head), TrustError, UsageError, NotFoundError
   */
  append(update: DirectoryAppend): Promise<Head>
  /** The first statements of all. @throws AccessDeniedError when there is a fleet already */
  found(update: DirectoryAppend, ownPin: string): Promise<Head>
  /** Called after every append, with the directory before and after it. */
  onAppend(listener: (before: Directory, after: Directory) => void): void
}

const MAX_CLOCK_SKEW_MS = 10 * 60_000
const MAX_STATEMENTS = 1_000

/** Reads and verifies the stored chain. @throws StateError MCM_STATE_DAMAGED */
export async function openBook(store: HubStore, world: World): Promise<Book> {
  const book = new StoredBook(store, world)
  await book.load()
  return book
}

class StoredBook implements Book {
  readonly #store: HubStore
  readonly #world: World
  readonly #listeners: ((before: Directory, after: Directory) => void)[] = []
  #current = Directory.empty()
  #last: Promise<unknown> = Promise.resolve()

  constructor(store: HubStore, world: World) {
    this.#store = store
    this.#world = world
  }

  get current(): Directory {
    return this.#current
  }

  async load(): Promise<void> {
    const stored = await this.#store.readDirectory()
    try {
      this.#current = await Directory.empty().extend(stored)
    } catch (cause) {
      throw new StateError(
        'MCM_STATE_DAMAGED',
        `the stored directory is damaged: ${messageOf(cause)}`,
        {
          hint: 'restore the hub’s database from a backup',
          cause,
        },
      )
    }
  }

  onAppend(listener: (before: Directory, after: Directory) => void): void {
    this.#listeners.push(listener)
  }

  append(update: DirectoryAppend): Promise<Head> {
    return this.#inTurn(async () => {
      if (this.#current.head === null) throw noFleet()
      return this.#isKnown(update) ? this.#current.head : this.#extend(update)
    })
  }

  found(update: DirectoryAppend, ownPin: string): Promise<Head> {
    return this.#inTurn(async () => {
      if (this.#current.head !== null) throw alreadyFounded()
      return this.#extend(update, (next) => requireOwnCertificate(next, ownPin))
    })
  }

  /** One append at a time, whatever became of the one before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work)
    this.#last = turn.catch(() => {})
    return turn
  }

  async #extend(update: DirectoryAppend, alsoRequire?: (next: Directory) => void): Promise<Head> {
    const before = this.#current
    const added = this.#readNew(update)
    const next = await before.extend(update)
    requireEffect(next, added)
    requireAdminsRemovedFirst(before, next)
    alsoRequire?.(next)
    const after = before.head?.seq ?? -1
    const details = added.map(({ seq }) => next.details.get(seq)!)
    if (!(await this.#store.append(after, added, details))) throw conflict(before.head)
    this.#current = next
    for (const listener of this.#listeners) listener(before, next)
    return next.head!
  }

  /** The statements by their form alone, which must follow the head: signatures come later. */
  #readNew(update: DirectoryAppend): Statement[] {
    if (update.statements.length === 0) throw badAppend('it has no statement')
    if (update.statements.length > MAX_STATEMENTS) throw badAppend('it has too many statements')
    const added = update.statements.map((text) => readUnverified(text).unverified)
    const { head } = this.#current
    const [start] = added
    if (start!.seq !== (head?.seq ?? -1) + 1 || start!.previous !== head?.hash) throw conflict(head)
    const numbers = new Set(added.map(({ seq }) => seq))
    if (update.details.some(({ seq }) => !numbers.has(seq)))
      throw badAppend('it has a detail of another statement')
    for (const statement of added) this.#requireTime(statement)
    return added
  }

  #requireTime({ seq, time }: Statement): void {
    const now = this.#world.now()
    if (Math.abs(time.getTime() - now.getTime()) <= MAX_CLOCK_SKEW_MS) return
    throw new TrustError(
      'MCM_CLOCK_SKEW',
      `statement ${seq} was signed at ${time.toISOString()}, and it is ${now.toISOString()} here`,
      { hint: 'set the clock of the machine that is wrong (NTP), then run the command again' },
    )
  }

  #isKnown({ statements }: DirectoryAppend): boolean {
    if (statements.length === 0) return false
    const { seq } = readUnverified(statements[0]!).unverified
    return statements.every((text, index) => this.#current.statements[seq + index]?.text === text)
  }
}

/** Nothing is appended that would change nothing: backdated, of a revoked signer, without its detail. */
function requireEffect(next: Directory, added: readonly Statement[]): void {
  for (const { seq } of added) {
    if (!next.details.has(seq)) throw badAppend(`the detail of statement ${seq} is missing`)
    const why = next.state.withoutEffect.get(seq)
    if (why !== undefined) throw badAppend(`statement ${seq} would change nothing: ${why}`)
  }
}

/** Or those who are not shown the revocation would go on believing what a revoked admin signs. */
function requireAdminsRemovedFirst(before: Directory, next: Directory): void {
  const known = before.strandedAdmins
  const stranded = [...next.strandedAdmins].find((key) => !known.has(key))
  if (stranded === undefined) return
  throw badAppend(
    `key ${stranded} is revoked and still an admin’s: remove it from the admins first`,
  )
}

function requireOwnCertificate(next: Directory, ownPin: string): void {
  if (next.state.hubs.some(({ pin }) => pin === ownPin)) return
  throw badAppend('no statement names the certificate of this hub')
}

function badAppend(why: string): UsageError {
  return new UsageError('MCM_BAD_REQUEST', `these statements cannot be appended: ${why}`)
}

function noFleet(): NotFoundError {
  return new NotFoundError('MCM_NOT_FOUND', 'this hub has no fleet yet', {
    hint: 'mcm login with the start link that the hub printed',
  })
}

function alreadyFounded(): AccessDeniedError {
  return new AccessDeniedError('MCM_FORBIDDEN', 'this hub has its fleet already', {
    hint: 'ask an administrator for an invite',
  })
}

function conflict(head: Head | null): UnreachableError {
  return new UnreachableError('MCM_CONFLICT', 'another statement was appended first', {
    hint: 'read the directory and sign again',
    cause: head,
  })
}
