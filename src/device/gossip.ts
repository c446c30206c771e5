import { setTimeout } from 'node:timers/promises'
import type { AgentApi } from '../client/agent.ts'
import { batches } from '../directory/batches.ts'
import { isByAdmin } from '../directory/chain.ts'
import type { Directory } from '../directory/directory.ts'
import { readLacking } from '../directory/lacking.ts'
import type { Statement } from '../directory/statement.ts'
import { visibleDetails } from '../directory/visibility.ts'
import {
  AccessDeniedError,
  IdentityError,
  isMcmError,
  type McmError,
  UnreachableError,
} from '../errors.ts'
import {
  type DetailEnvelope,
  type DirectoryAppend,
  type Head,
  MAX_BROUGHT_BYTES,
} from '../protocol/messages.ts'

/** What came of it. `why` is a sentence without the cluster’s name. */
export type GossipOutcome =
  | { readonly result: 'nothing lacked' | 'brought' }
  /** unfinished: not in time, or the way is gone, or one’s own access is; the next session goes on. */
  | { readonly result: 'unfinished' | 'refused' | 'forked'; readonly why: string }

export interface Gossip {
  /** Resolves when all is told, or after that many milliseconds. @throws bugs */
  wait(patienceMs: number): Promise<GossipOutcome>
}

/** Whoever tells: what they know, and the id of their device's key. */
interface Teller {
  readonly directory: Directory
  readonly key: { readonly id: string }
}

type Listener = Pick<AgentApi, 'nameHead' | 'bringDirectory'>

/**
 * Tells the agent of a cluster how far this device knows the directory, and brings what it lacks: a hub that withholds
 * a revocation from it, or what a revocation says, is found out (PROTOCOL §3.6). Nobody needs it to go on, so what
 * fails is an outcome and no error.
 */
export function gossip(agent: Listener, teller: Teller, cluster: string): Gossip {
  const end = new AbortController()
  const told = tell(agent, teller, cluster, end.signal)
  told.catch(() => {})
  return {
    async wait(patienceMs) {
      const late = setTimeout(patienceMs, tooLate(patienceMs), { ref: false })
      try {
        return await Promise.race([told, late])
      } finally {
        end.abort()
      }
    },
  }
}

function tooLate(patienceMs: number): GossipOutcome {
  return { result: 'unfinished', why: `not everything was there after ${patienceMs / 1000} s` }
}

/** While somebody else, or another session of this user, brings the agent something. */
const AGAIN_AFTER_MS = 250

async function tell(
  agent: Listener,
  teller: Teller,
  cluster: string,
  end: AbortSignal,
): Promise<GossipOutcome> {
  for (;;) {
    try {
      return await bring(agent, teller, cluster)
    } catch (error) {
      if (!isMcmError(error)) throw error
      if (error.code !== 'MCM_LIMIT' || end.aborted) return failed(error)
      await setTimeout(AGAIN_AFTER_MS, undefined, { ref: false })
    }
  }
}

/** Whoever lets nobody in any more has judged nothing. */
function failed(error: McmError): GossipOutcome {
  const families = [UnreachableError, IdentityError, AccessDeniedError]
  const isOver = families.some((family) => error instanceof family)
  return { result: isOver ? 'unfinished' : 'refused', why: error.message }
}

async function bring(agent: Listener, teller: Teller, cluster: string): Promise<GossipOutcome> {
  const { directory } = teller
  if (directory.head === null) return { result: 'nothing lacked' }
  const { head, lacks, knows } = await agent.nameHead(directory.head)
  // One that knows nobody has let nobody in: there is none to tell.
  if (head === null) return { result: 'nothing lacked' }
  if (!agrees(directory, head)) return forked(head)
  if (head.seq >= directory.head.seq && knows === false) return forked(directory.head)
  let result: 'nothing lacked' | 'brought' = 'nothing lacked'
  let expected = head.seq
  for (const batch of broughtTo(teller, cluster, { head, lacks })) {
    if (Buffer.byteLength(JSON.stringify(batch)) > MAX_BROUGHT_BYTES) return tooLong(expected + 1)
    const reached = await agent.bringDirectory(batch)
    if (reached && !agrees(directory, reached)) return forked(reached)
    expected += batch.statements.length
    if (reached === null || reached.seq < expected) return stopped(reached)
    result = 'brought'
  }
  return { result }
}

function forked({ seq }: Head): GossipOutcome {
  return { result: 'forked', why: `it was shown another statement ${seq} than this device` }
}

function tooLong(seq: number): GossipOutcome {
  const why = `statements from ${seq} on fill more than one message, and an administrator signed none of them`
  return { result: 'refused', why }
}

function stopped(reached: Head | null): GossipOutcome {
  return { result: 'refused', why: `it goes no further than statement ${reached?.seq ?? -1}` }
}

/**
 * What an agent lacks and takes from a client: up to the last statement of an admin, and of the details only those
 * that a hub would show it: it may be anybody's. All of it, in the order of `urgency`, revocations by themselves, and
 * what others than admins signed long ago after the statements: who signs heaps of them keeps no revocation waiting.
 */
function* broughtTo(
  { directory, key }: Teller,
  cluster: string,
  { head: { seq: after }, lacks }: { readonly head: Head; readonly lacks: string },
): Generator<DirectoryAppend> {
  const last = directory.lastByAdmin
  if (after >= last && lacks === '') return
  const isLacking = readLacking(lacks)
  const statementOf = ({ seq }: { seq: number }) => directory.statements[seq]!
  const details = visibleDetails(directory, { kind: 'agent', cluster })
    .filter(({ seq }) => (seq <= after ? isLacking(seq) : seq <= last))
    .sort((a, b) => urgency(statementOf(a)) - urgency(statementOf(b)))
  const turnOf = (detail: DetailEnvelope) => (detail.seq > after ? 1 : urgency(statementOf(detail)))
  const statements = directory.statements.slice(after + 1, last + 1).map(({ text }) => text)
  const inTurn = (turns: readonly number[]) =>
    details.filter((detail) => turns.includes(turnOf(detail)))
  // The agent, too, takes it for an admin's by then.
  const isAdmins = (directory.state.admins.get(key.id)?.since ?? Number.POSITIVE_INFINITY) <= after
  const mayEnd = (seq: number) => isAdmins || isByAdmin(statementOf({ seq }))
  const limits = { mayEnd, isGrowing: true }
  yield* batches({ statements: [], details: inTurn([0]) }, after, limits)
  yield* batches({ statements, details: inTurn([1]) }, after, limits)
  yield* batches({ statements: [], details: inTurn([2, 3]) }, after, limits)
}

/**
 * Another statement under the number of its head is not ours to set right. One that knows more than we do, as a hub
 * can always arrange, may lack a detail all the same, and judges what it is brought.
 */
function agrees(directory: Directory, head: Head): boolean {
  const own = directory.statements[head.seq]
  return own === undefined || own.hash === head.hash
}

/** What ends somebody, then what else admins signed, then what anybody may sign as often as they like. */
function urgency(statement: Statement): number {
  if (statement.type === 'revoke') return 0
  if (isByAdmin(statement)) return 1
  return statement.type === 'removal' ? 2 : 3
}
