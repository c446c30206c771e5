import type { Duplex } from 'node:stream'
import { isMcmError, messageOf } from '../errors.ts'
import { parseClusterAuthority } from '../protocol/names.ts'
import type { World } from '../world.ts'
import type { HubEvents } from './events.ts'
import type { Guests } from './guests.ts'
import type { HubMetrics } from './metrics.ts'
import { Denial, type Peer, requirePassage } from './peer.ts'
import type { Relays, Seat } from './relays.ts'
import { hubStatusOf } from './status-body.ts'
import type { Tunnels } from './tunnels.ts'

/** A way to an agent that has said yes; its caller answers 200 and joins, or abandons it. */
export interface Line {
  join(client: Duplex): void
  abandon(): void
}

/** What a CONNECT is answered by, whichever HTTP it came in. */
export interface Switchboard {
  /**
   * `replica`: the only one that will do. @throws AccessDeniedError, UnreachableError: the refusal to
   * answer with
   */
  open(peer: Peer, authority: string, replica?: string): Promise<Line>
}

interface SwitchboardDeps {
  readonly world: World
  readonly guests: Pick<Guests, 'directory'>
  readonly tunnels: Tunnels
  readonly relays: Relays
  readonly events: HubEvents
  readonly metrics: HubMetrics
  /** See `requirePassage`. */
  readonly decoyDer: Buffer
}

export function switchboard(deps: SwitchboardDeps): Switchboard {
  return {
    async open(peer, authority, replica) {
      try {
        return await openLine(deps, peer, authority, replica)
      } catch (error) {
        report(deps, peer, authority, error)
        throw error
      }
    },
  }
}

async function openLine(
  deps: SwitchboardDeps,
  peer: Peer,
  authority: string,
  replica: string | undefined,
): Promise<Line> {
  const { guests, relays, tunnels, decoyDer, world } = deps
  const asked = guests.directory
  const passage = requirePassage(asked.state, peer, authority, decoyDer, world.now())
  const seat = relays.reserve(passage, peer.address)
  let agent: Duplex | undefined
  try {
    agent = await tunnels.connect(passage.target.id, authority, peer.address, replica)
    // While the agent was asked the directory may have changed: only running relays were looked at.
    if (guests.directory !== asked)
      requirePassage(guests.directory.state, peer, authority, decoyDer, world.now())
    return lineOf(seat, agent)
  } catch (error) {
    agent?.destroy()
    seat.release()
    throw error
  }
}

function lineOf(seat: Seat, agent: Duplex): Line {
  return {
    join: (client) => seat.join(client, agent),
    abandon() {
      seat.release()
      agent.destroy()
    },
  }
}

function report(deps: SwitchboardDeps, peer: Peer, authority: string, error: unknown): void {
  deps.metrics.refused(hubStatusOf(error).code)
  const denial = isMcmError(error) && error.cause instanceof Denial ? error.cause : undefined
  // Strangers are only counted: they could write as many lines as they like.
  if (denial && denial.user === undefined) return
  const cluster = parseClusterAuthority(authority)?.id
  const { user, reason } = denial ?? { user: undefined, reason: messageOf(error) }
  deps.events.relayRefused({ reason, user, cluster, address: peer.address, key: peer.key })
}
