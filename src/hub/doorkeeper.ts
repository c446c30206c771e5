import type { Socket } from 'node:net'
import { networkOf } from '../protocol/address.ts'

/**
 * Connections of people who have not said yet who they are, counted in all and per address, so that
 * nobody who only knocks takes the place of somebody who comes in.
 */
export interface Doorkeeper {
  readonly count: number
  /** Whether one more may wait; it is counted until `leave`, or its end. */
  admit(socket: Socket): boolean
  /** It waits no more; the TLS socket on top is the same connection. */
  leave(socket: Socket): void
}

export function doorkeeper(limits: {
  readonly total: number
  readonly perAddress: number
}): Doorkeeper {
  const pending = new Set<string>()
  const perNetwork = new Map<string, number>()
  function release(connection: string, network: string): void {
    if (!pending.delete(connection)) return
    const count = perNetwork.get(network)! - 1
    if (count === 0) perNetwork.delete(network)
    else perNetwork.set(network, count)
  }
  return {
    get count() {
      return pending.size
    },
    admit(socket) {
      const network = networkOf(socket.remoteAddress ?? '')
      const count = perNetwork.get(network) ?? 0
      if (pending.size >= limits.total || count >= limits.perAddress) return false
      const connection = connectionOf(socket)
      pending.add(connection)
      perNetwork.set(network, count + 1)
      socket.once('close', () => release(connection, network))
      return true
    },
    leave: (socket) => release(connectionOf(socket), networkOf(socket.remoteAddress ?? '')),
  }
}

/** What tells one live connection from another; the same for a socket and the TLS on top of it. */
export function connectionOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`
}
