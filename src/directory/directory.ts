/**
 * directory knows the fleet's signed phone book: how a statement is signed, which chain is valid, what it
 * says, and whom each detail concerns. It must not know where chains are stored or sent, what a
 * certificate is, or what anyone may do in a cluster.
 * Its invariant: every byte that a Directory value holds was verified from the genesis on, here or, up to a head
 * that was remembered, by this device before: so whoever has one may believe its state, and whoever sent it did not
 * have to be trusted.
 */
import { TrustError } from '../errors.ts'
import type { DetailEnvelope, DirectoryPage, Head } from '../protocol/messages.ts'
import type { Admission } from './admission.ts'
import { type ChainRules, copyChainRules, followRules, isByAdmin, newChainRules } from './chain.ts'
import { type Detail, parseDetail } from './details.ts'
import { foldState } from './fold.ts'
import type { KeyCache } from './jws.ts'
import type { DirectoryState } from './state.ts'
import {
  invalid,
  readUnverified,
  requireDetailHash,
  type Statement,
  type UnverifiedStatement,
  verifyStatement,
} from './statement.ts'

/** Signatures checked at a time: enough for every core, few enough to stop early on a bad one. */
const BATCH = 64

interface Parts {
  readonly pinned: string | undefined
  readonly statements: readonly Statement[]
  readonly details: ReadonlyMap<number, DetailEnvelope>
  readonly known: ReadonlyMap<number, Detail | undefined>
  readonly rules: ChainRules
  readonly admissions: readonly Admission[]
}

export interface DirectoryUpdate {
  readonly statements: readonly string[]
  readonly details: readonly DetailEnvelope[]
}

/** A verified chain, the details known of it, and what both together say. Immutable. */
export class Directory {
  readonly statements: readonly Statement[]
  /** By statement number. */
  readonly details: ReadonlyMap<number, DetailEnvelope>
  /** The same read; undefined where the signed text makes no sense. */
  readonly known: ReadonlyMap<number, Detail | undefined>
  readonly #pinned: string | undefined
  readonly #rules: ChainRules
  readonly #admissions: readonly Admission[]
  #state: DirectoryState | undefined

  private constructor(parts: Parts) {
    this.statements = parts.statements
    this.details = parts.details
    this.known = parts.known
    this.#pinned = parts.pinned
    this.#rules = parts.rules
    this.#admissions = parts.admissions
  }

  /** Nothing yet, of the fleet with this fingerprint; without one only on a hub that nobody has founded. */
  static empty(fleet?: string): Directory {
    const nothing = { statements: [], details: new Map(), known: new Map() }
    return new Directory({ pinned: fleet, ...nothing, rules: newChainRules(), admissions: [] })
  }

  /**
   * A stored or received chain, verified from its genesis on, and not behind the head remembered. A chain that
   * leads to that head is the one verified then, letter by letter: only signatures after it are checked.
   * @throws TrustError MCM_DIRECTORY_INVALID, MCM_DIRECTORY_ROLLED_BACK
   */
  static async restore(fleet: string, page: DirectoryPage, remembered?: Head): Promise<Directory> {
    const directory = await Directory.empty(fleet).extend(page, remembered)
    const { head } = directory
    if (page.head?.seq !== head?.seq || page.head?.hash !== head?.hash)
      throw invalid('its head is not its last statement')
    if (remembered) requireNotRolledBack(directory, remembered)
    return directory
  }

  /** The pinned fingerprint, or that of the chain. */
  get fleet(): string | undefined {
    return this.#pinned ?? this.statements[0]?.hash
  }

  get head(): Head | null {
    const last = this.statements.at(-1)
    return last ? { seq: last.seq, hash: last.hash } : null
  }

  /** Whether this chain leads to that head, or past it. */
  leadsTo({ seq, hash }: Head): boolean {
    return this.statements[seq]?.hash === hash
  }

  /** The number of the last statement that an admin has signed, and with it the chain up to there; -1 without one. */
  get lastByAdmin(): number {
    return this.statements.findLastIndex(isByAdmin)
  }

  /** What it all says; folded once, when first asked. */
  get state(): DirectoryState {
    this.#state ??= foldState(this.statements, this.known, this.#admissions)
    return this.#state
  }

  /**
   * Key ids whose signature the whole fleet takes for an admin's although they are none: their user or device
   * was revoked, which few are shown, and not removed from the admins, which everybody is.
   */
  get strandedAdmins(): ReadonlySet<string> {
    const standing = this.state.admins
    return new Set([...this.#rules.admins.keys()].filter((key) => !standing.has(key)))
  }

  /**
   * This chain and what follows it. Statements that it has already may come again; details may come for
   * any statement, also late. Costs the signatures of the new statements only, and not of those up to `verified`.
   * @throws TrustError MCM_DIRECTORY_INVALID; MCM_DIRECTORY_ROLLED_BACK when a statement that was verified
   *   before comes in another form
   */
  async extend(update: DirectoryUpdate, verified?: Head): Promise<Directory> {
    const added = this.#skipVerified(update.statements)
      .map(readUnverified)
      .filter(({ unverified }) => !this.#isVerifiedBefore(unverified))
    const statements = [...this.statements, ...added.map(({ unverified }) => unverified)]
    this.#requireChain(statements)
    const details = new Map(this.details)
    const known = new Map(this.known)
    for (const envelope of update.details) addDetail(statements, details, known, envelope)
    const rules = copyChainRules(this.#rules)
    for (const { unverified } of added) followRules(rules, unverified, known.get(unverified.seq))
    // Last, because it is the dear part: nobody makes us check a chain that fits nowhere.
    const isSame = verified !== undefined && statements[verified.seq]?.hash === verified.hash
    await verifyInBatches(added.filter(({ unverified: { seq } }) => !isSame || seq > verified.seq))
    const parts = { pinned: this.#pinned, statements, details, known, rules }
    return new Directory({ ...parts, admissions: this.#admissions })
  }

  /**
   * The same chain for whoever holds these admissions, and no others: its state has these people too
   * (PROTOCOL §11.3). What is shown to others, and what the chain proves, is as before.
   */
  admitting(admissions: readonly Admission[]): Directory {
    const { statements, details, known } = this
    const parts = { pinned: this.#pinned, statements, details, known, rules: this.#rules }
    return new Directory({ ...parts, admissions })
  }

  /** The chain after `after` (-1: all of it), and the details known of that part. */
  page(after: number): DirectoryPage {
    const statements = this.statements.slice(after + 1).map(({ text }) => text)
    const details = [...this.details.values()].filter(({ seq }) => seq > after)
    return { head: this.head, statements, details }
  }

  /** What is left of a chain after the part that was verified before, which is compared only. */
  #skipVerified(texts: readonly string[]): readonly string[] {
    const start = this.statements.findIndex(({ text }) => text === texts[0])
    const isNew = (text: string, index: number) => this.statements[start + index]?.text !== text
    const firstNew = texts.findIndex(isNew)
    return firstNew < 0 ? [] : texts.slice(firstNew)
  }

  #isVerifiedBefore({ seq, hash }: Statement): boolean {
    const known = this.statements[seq]
    if (known && known.hash !== hash)
      throw rolledBack(`statement ${seq} is not the one seen before`)
    return known !== undefined
  }

  #requireChain(statements: readonly Statement[]): void {
    const first = statements[0]
    if (first && this.#pinned !== undefined && first.hash !== this.#pinned)
      throw invalid('it belongs to another fleet')
    for (let seq = this.statements.length; seq < statements.length; seq++) {
      const statement = statements[seq]!
      if (statement.seq !== seq)
        throw invalid(`statement ${statement.seq} stands where ${seq} must be`)
      if (statement.previous !== statements[seq - 1]?.hash)
        throw invalid(`statement ${seq} does not follow the one before it`)
    }
  }
}

/** Refuses a chain that is shorter than, or differs at, a head verified before. @throws TrustError MCM_DIRECTORY_ROLLED_BACK */
export function requireNotRolledBack(directory: Directory, remembered: Head): void {
  const statement = directory.statements[remembered.seq]
  if (!statement)
    throw rolledBack(`it ends before statement ${remembered.seq}, which was seen before`)
  if (statement.hash !== remembered.hash)
    throw rolledBack(`statement ${remembered.seq} is not the one seen before`)
}

function addDetail(
  statements: readonly Statement[],
  details: Map<number, DetailEnvelope>,
  known: Map<number, Detail | undefined>,
  envelope: DetailEnvelope,
): void {
  const statement = statements[envelope.seq]
  if (!statement) throw invalid(`a detail is for statement ${envelope.seq}, which there is not`)
  requireDetailHash(statement, envelope)
  if (details.has(envelope.seq)) return
  const { seq, salt, text } = envelope
  details.set(seq, { seq, salt, text })
  known.set(seq, parseDetail(statement.type, text))
}

async function verifyInBatches(statements: readonly UnverifiedStatement[]): Promise<void> {
  const keys: KeyCache = new Map()
  for (let start = 0; start < statements.length; start += BATCH) {
    const batch = statements.slice(start, start + BATCH)
    await Promise.all(batch.map((statement) => verifyStatement(statement, keys)))
  }
}

function rolledBack(why: string): TrustError {
  return new TrustError(
    'MCM_DIRECTORY_ROLLED_BACK',
    `the hub shows an older or another directory: ${why}`,
    { hint: 'nothing was changed; ask another admin whether their mcm sees the same' },
  )
}
