import type { Duplex } from 'node:stream'
import { UnreachableError } from '../errors.ts'

/**
 * Places for handshakes under way. Whoever shakes hands has shown nothing yet but the address that
 * the hub tells, so when all are taken the address that holds the most gives way with its oldest:
 * nobody alone can keep others out.
 */
export interface HandshakePlaces {
  /**
   * Takes a place; the function gives it back, once. @throws UnreachableError when nobody holds
   * more than `from`
   */
  take(from: string, stream: Duplex): () => void
}

export const MAX_HANDSHAKES = 256

export function handshakePlaces(maximum = MAX_HANDSHAKES): HandshakePlaces {
  const byAddress = new Map<string, Set<Duplex>>()
  let taken = 0
  const remove = (from: string, stream: Duplex) => {
    const streams = byAddress.get(from)
    if (!streams?.delete(stream)) return
    taken -= 1
    if (streams.size === 0) byAddress.delete(from)
  }
  const makeRoom = (from: string) => {
    const [address, fullest] = [...byAddress].reduce((most, each) =>
      each[1].size > most[1].size ? each : most,
    )
    if (fullest.size <= (byAddress.get(from)?.size ?? 0) + 1) throw tooMany()
    const [oldest] = fullest
    remove(address, oldest!)
    oldest!.destroy()
  }
  return {
    take: (from, stream) => {
      if (taken >= maximum) makeRoom(from)
      byAddress.set(from, (byAddress.get(from) ?? new Set()).add(stream))
      taken += 1
      return () => remove(from, stream)
    },
  }
}

function tooMany(): UnreachableError {
  return new UnreachableError(
    'MCM_AGENT_UNREACHABLE',
    'the agent has too many handshakes under way',
  )
}
