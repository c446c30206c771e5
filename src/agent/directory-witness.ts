import type { Directory } from '../directory/directory.ts'
import { lackingDetails } from '../directory/lacking.ts'
import { formatTime } from '../directory/time.ts'
import { AccessDeniedError } from '../errors.ts'
import type { DirectoryAppend, DirectoryFacts, Head, NamedHead } from '../protocol/messages.ts'
import type { Log, World } from '../world.ts'
import { bringingTurns } from './bringing-turns.ts'
import type { DirectoryHolder } from './directory-holder.ts'

/**
 * What clients say of the directory beside what hubs say (PROTOCOL §3.6): so a hub that withholds a statement
 * from this agent is noticed. Invariant: a claim alone changes nothing but what is said; statements are
 * judged as those of a hub, and are taken from others than admins no further than an admin has signed: a hub is what
 * orders the rest, and whoever may sign one could fork this agent away from everybody with it.
 */
export interface DirectoryWitness {
  /** Takes note of a head that somebody who stands has named; gives the agent’s own, and what it lacks. */
  hear(user: string, head: Head): NamedHead
  /**
   * Takes statements, but from an admin's device up to the last of an admin only, and details in as a hub’s, and notes
   * who brought them. They are only read when they may be.
   * @throws UnreachableError MCM_LIMIT while others bring some; AccessDeniedError MCM_FORBIDDEN for statements
   *   that no admin has signed; as `DirectoryHolder.apply`
   */
  take(by: Bringer, read: () => Promise<DirectoryAppend>): Promise<Head>
  /** The same of a hub. */
  takeFromHub(append: DirectoryAppend): Promise<Head>
  facts(): DirectoryFacts
  /** What an owner should look at, as short words. */
  notes(): readonly string[]
}

export interface Bringer {
  readonly user: string
  /** Key id of the device that the session is of. */
  readonly device: string
}

interface Claim {
  readonly head: Head
  readonly since: number
  readonly user: string
}

/** A statement is with every agent in far less, if the hub lets it through. */
const PATIENCE_MS = 15_000

export function directoryWitness(
  holder: Pick<DirectoryHolder, 'directory' | 'head' | 'state' | 'apply'>,
  options: { readonly maximumAgeSeconds?: number | undefined },
  { world, log }: { readonly world: World; readonly log: Log },
): DirectoryWitness {
  const claims = new Map<string, Claim>()
  let brought: Claim | undefined
  /** By number of the statement. */
  const broughtDetails = new Map<number, Claim>()
  let shownByHub = -1
  const turns = bringingTurns(world)
  /** When it was said last, by what and who. */
  const said = new Map<string, number>()
  const now = () => world.now().getTime()
  const say = (event: string, { head, user }: Claim) => {
    const what = `${event} ${user}`
    if (now() - (said.get(what) ?? Number.NEGATIVE_INFINITY) < SAY_AGAIN_MS) return
    if (said.size >= MAX_SAID) said.clear()
    said.set(what, now())
    log.error(event, { seq: head.seq, hash: head.hash, user, own: holder.head?.seq ?? -1 })
  }
  const heard = (): Claim | undefined => {
    for (const [user, claim] of claims)
      if (holder.directory.leadsTo(claim.head)) claims.delete(user)
    const old = [...claims.values()].filter(({ since }) => now() - since >= PATIENCE_MS)
    for (const claim of old) say('directory_head_not_shown', claim)
    // One who lies about a head that is far off covers nobody else's claim.
    return old.sort((a, b) => a.head.seq - b.head.seq)[0]
  }
  const withheld = (): Claim | undefined => {
    if (brought && shownByHub >= brought.head.seq) brought = undefined
    const old = [...(brought ? [brought] : []), ...broughtDetails.values()].filter(
      ({ since }) => now() - since >= PATIENCE_MS,
    )
    const highest = old.sort((a, b) => b.head.seq - a.head.seq)[0]
    if (highest) say('directory_withheld_by_hub', highest)
    return highest
  }
  const noteBrought = (user: string, before: Directory, after: Directory) => {
    const since = now()
    if (after.head && after.head.seq > (before.head?.seq ?? -1))
      brought = { head: after.head, since, user }
    for (const seq of after.details.keys()) {
      // What comes in heaps makes nobody forget what came before it.
      if (before.details.has(seq) || broughtDetails.size >= MAX_BROUGHT_DETAILS) continue
      const { hash } = after.statements[seq]!
      broughtDetails.set(seq, { head: { seq, hash }, since, user })
    }
  }
  const factOf = ({ head, since }: Claim) => ({ head, since: formatTime(new Date(since)) })
  return {
    hear(user, head) {
      heard()
      // Another statement under a number that is known here is none: two chains are signed, or it is a lie.
      const knows = holder.directory.leadsTo(head)
      if (knows) claims.delete(user)
      else {
        const before = claims.get(user)
        // A directory only grows: who names one that is not beyond has begun anew.
        const isSame = before?.head.hash === head.hash || (before && before.head.seq < head.seq)
        claims.set(user, { head, since: isSame ? before.since : now(), user })
      }
      return { head: holder.head, lacks: lackingDetails(holder.directory), knows }
    },
    take({ user, device }, read) {
      return turns.run(user, async () => {
        const body = await read()
        // An admin could sign whatever they like on top, so nothing is gained by asking for the end of it.
        const append = holder.state.admins.has(device)
          ? body
          : await turns.judge(() => vouched(holder.directory, body))
        return holder.apply(append, (before, after) => noteBrought(user, before, after))
      })
    },
    async takeFromHub(append) {
      const head = await holder.apply(append)
      const last = append.statements.at(-1)
      const seq = holder.directory.statements.findLastIndex(({ text }) => text === last)
      // Whoever shows what a statement says has it.
      for (const shown of [{ seq }, ...append.details]) shownByHub = Math.max(shownByHub, shown.seq)
      for (const detail of append.details) broughtDetails.delete(detail.seq)
      return head
    },
    facts() {
      const [named, kept] = [heard(), withheld()]
      const { confirmed } = holder.state
      return {
        head: holder.head,
        ...(confirmed ? { confirmed: formatTime(confirmed) } : {}),
        ...(options.maximumAgeSeconds ? { maximumAge: options.maximumAgeSeconds } : {}),
        ...(named ? { heard: factOf(named) } : {}),
        ...(kept ? { withheld: factOf(kept) } : {}),
      }
    },
    notes() {
      const [named, kept] = [heard(), withheld()]
      const of = ({ head: { seq } }: Claim) => `statement ${seq}`
      return [
        ...(named ? [`a directory was named that no hub shows: ${of(named)}`] : []),
        ...(kept ? [`a client had to bring what no hub shows: ${of(kept)}`] : []),
      ]
    },
  }
}

const MAX_SAID = 1_000
const MAX_BROUGHT_DETAILS = 10_000
/** A user once an hour. */
const SAY_AGAIN_MS = 3_600_000

/**
 * What of it nobody but an admin could have put there. Verified here first: only what follows proves who signed.
 * @throws TrustError; AccessDeniedError MCM_FORBIDDEN when new statements have no admin's among them
 */
async function vouched(directory: Directory, append: DirectoryAppend): Promise<DirectoryAppend> {
  const own = directory.head?.seq ?? -1
  const next = await directory.extend(append)
  const last = Math.max(own, next.lastByAdmin)
  if ((next.head?.seq ?? -1) > own && last === own)
    throw new AccessDeniedError(
      'MCM_FORBIDDEN',
      'statements that no administrator has signed are for a hub to bring',
    )
  return {
    statements: next.statements.slice(own + 1, last + 1).map(({ text }) => text),
    details: append.details.filter(({ seq }) => seq <= last),
  }
}
