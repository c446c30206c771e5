import { verifyInviteProof } from '../directory/proofs.ts'
import type { Viewer } from '../directory/visibility.ts'
import { IdentityError } from '../errors.ts'
import { INVITE_EXPORTER_LABEL } from '../protocol/messages.ts'
import type { World } from '../world.ts'
import type { Book } from './book.ts'
import type { Peer } from './peer.ts'

/** As of statements: a clock that is further off cannot join anyway. */
const MAX_SKEW_MS = 10 * 60_000

/**
 * As whom the holder of an invite reads the directory (docs/PROTOCOL.md §5.1). One answer for every proof
 * that fails, and for an invite that there is not: nobody learns which of them exist.
 * @throws IdentityError MCM_INVITE_EXPIRED
 */
export async function requireInvited(
  { book, world }: { readonly book: Book; readonly world: World },
  peer: Peer,
  proof: string,
): Promise<Viewer> {
  const { fleet, statements } = book.current
  const key = await provenKey({ fleet, peer, now: world.now() }, proof)
  if (key !== undefined && statements.some(({ inviteKey }) => inviteKey === key))
    return { kind: 'invite', key }
  throw unknownInvite()
}

interface Place {
  readonly fleet: string | undefined
  readonly peer: Peer
  readonly now: Date
}

/** The key that has signed the proof for this fleet, connection and time; undefined when none has. */
async function provenKey({ fleet, peer, now }: Place, proof: string): Promise<string | undefined> {
  try {
    const { keyId, payload } = await verifyInviteProof(proof)
    const exporter = peer.exporter(INVITE_EXPORTER_LABEL).toString('base64url')
    const skewMs = Math.abs(now.getTime() - Date.parse(payload.time))
    const isHere = payload.fleet === fleet && payload.exporter === exporter
    return isHere && skewMs <= MAX_SKEW_MS ? keyId : undefined
  } catch {
    return undefined
  }
}

function unknownInvite(): IdentityError {
  return new IdentityError('MCM_INVITE_EXPIRED', 'the directory knows no such invite', {
    hint: 'ask an administrator for a new one (mcm invite)',
  })
}
