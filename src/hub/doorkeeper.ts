import { isIPv6, type Socket } from 'node:net'

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

const MAPPED_IPV4 = /^::ffff:(?=\d+\.)/i

/** An IPv4 address as such, also from a socket that speaks IPv6 as well. */
export function plainAddress(address: string): string {
  return address.replace(MAPPED_IPV4, '')
}

/** What one customer of a network usually has: an IPv4 address, or an IPv6 /64. */
export function networkOf(address: string): string {
  const plain = plainAddress(address)
  if (!isIPv6(plain)) return plain
  const [front = '', back = ''] = plain.split('%')[0]!.split('::')
  const head = front.split(':').filter((group) => group !== '')
  const tail = back.split(':').filter((group) => group !== '')
  const zeros = Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => '0')
  return [...head, ...zeros, ...tail].slice(0, 4).join(':')
}
