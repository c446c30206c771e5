import type { Detail } from '../directory/details.ts'
import type { SigningKey } from '../directory/signing-key.ts'
import { type Statement, signStatement } from '../directory/statement.ts'
import { isMcmError, TrustError, UnreachableError } from '../errors.ts'
import type { DetailEnvelope, DirectoryAppend, Head } from '../protocol/messages.ts'
import { withFileLock } from '../store/files.ts'
import type { World } from '../world.ts'
import { keepDirectory } from './directory-cache.ts'
import { catchUp, type FleetSession } from './fleet-session.ts'
import { renewReplaced } from './replaced-authorities.ts'
import { requireState } from './state.ts'

/** What is to be signed, and by whom; the number and predecessor come when it is. */
export type Draft = Detail & {
  readonly signers: readonly SigningKey[]
  readonly inviteKey?: string
  readonly invite?: number
}

const SALT_BYTES = 16
const MAX_ATTEMPTS = 8

/** Signs drafts one after the other on top of a head. */
export async function signDrafts(
  world: World,
  head: Head | null,
  drafts: readonly Draft[],
): Promise<DirectoryAppend & { readonly signed: readonly Statement[] }> {
  const signed: Statement[] = []
  const details: DetailEnvelope[] = []
  let after = head
  for (const { signers, ...draft } of drafts) {
    const salt = world.random(SALT_BYTES)
    const next = await signStatement({ ...draft, after, time: world.now(), salt }, signers)
    signed.push(next.statement)
    details.push(next.detail)
    after = { seq: next.statement.seq, hash: next.statement.hash }
  }
  return { signed, statements: signed.map(({ text }) => text), details }
}

/**
 * Appends what `draft` says about the directory as it is; when another was faster, asks again about the
 * new one. No drafts: nothing to do. Gives the session with the directory that has them.
 * @throws whatever `draft` throws, and what the hub refuses with
 */
export async function appendStatements(
  session: FleetSession,
  draft: (session: FleetSession) => readonly Draft[],
): Promise<FleetSession> {
  // Two processes would sign the same number.
  const path = `${session.device.home.directory}/append`
  return withFileLock(path, () => appendAlone(session, draft))
}

/** Far below what a hub takes in one message, in number and in size. */
const PART = 250

/**
 * The same in as many appends as it takes, for a `draft` that gives what is not said yet: it is asked until it has
 * nothing more to say. Somebody else's statement may come in between. @throws as `appendStatements`
 */
export async function appendInParts(
  session: FleetSession,
  draft: (session: FleetSession) => readonly Draft[],
): Promise<FleetSession> {
  let left = 0
  const part = (current: FleetSession) => {
    const drafts = draft(current)
    left = drafts.length - PART
    return drafts.slice(0, PART)
  }
  let current = session
  do current = await appendStatements(current, part)
  while (left > 0)
  return current
}

async function appendAlone(
  session: FleetSession,
  draft: (session: FleetSession) => readonly Draft[],
): Promise<FleetSession> {
  let current = await withAllSeen(session)
  for (let attempt = 1; ; attempt++) {
    const drafts = draft(current)
    if (drafts.length === 0) return current
    const { device, directory } = current
    const update = await signDrafts(device.world, directory.head, drafts)
    // Checked before it is sent: what we could not believe ourselves we do not ask others to.
    const extended = await directory.extend(update)
    requireEffect(extended.state.withoutEffect, extended.head!.seq - drafts.length)
    const faster = await send(current, update, extended.head!)
    if (faster && attempt === MAX_ATTEMPTS) throw tooBusy()
    if (faster) {
      current = faster
      continue
    }
    await renewReplaced(device, directory, extended)
    const state = await keepDirectory(device.home, extended)
    return { ...current, directory: extended, state }
  }
}

/**
 * Undefined when the hub took it; otherwise the session with what came before it. A hub that speaks of somebody faster
 * and shows nothing of them gets the same text again: another would give it two to choose from.
 */
async function send(
  session: FleetSession,
  { statements, details }: DirectoryAppend,
  head: Head,
): Promise<FleetSession | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      await session.hub.append({ statements, details })
      return undefined
    } catch (error) {
      if (!isConflict(error)) throw error
      const now = await catchUp(session)
      if (now.directory.leadsTo(head)) return undefined
      if (now.directory.head?.hash !== session.directory.head?.hash) return now
      if (attempt === MAX_ATTEMPTS) throw error
    }
  }
}

/**
 * The session, caught up where an earlier step of this command, or another one, has seen more: two statements with
 * one number, both by an administrator, would let a hub show some the one and some the other.
 */
async function withAllSeen(session: FleetSession): Promise<FleetSession> {
  const { head } = await requireState(session.device.home)
  return session.directory.leadsTo(head) ? session : catchUp(session)
}

function requireEffect(withoutEffect: ReadonlyMap<number, string>, after: number): void {
  for (const [seq, why] of withoutEffect) {
    if (seq <= after) continue
    throw new TrustError('MCM_DIRECTORY_INVALID', `this would change nothing: ${why}`, {
      hint: 'look at the directory as it is: mcm directory show',
    })
  }
}

function tooBusy(): UnreachableError {
  const message = `somebody else was faster ${MAX_ATTEMPTS} times`
  return new UnreachableError('MCM_CONFLICT', message, { hint: 'try again in a moment' })
}

function isConflict(error: unknown): boolean {
  return isMcmError(error) && error.code === 'MCM_CONFLICT'
}
