import { isIPv6 } from 'node:net'

/** IP addresses of peers, as hub and agent count and show them. */

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
