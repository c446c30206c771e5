import type { World } from '../world.ts'

/** A random UUID (RFC 9562 version 4) out of the given world. */
export function uuid(world: World): string {
  const bytes = Buffer.from(world.random(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [
    [0, 8],
    [8, 12],
    [12, 16],
    [16, 20],
    [20, 32],
  ]
    .map(([a, b]) => hex.slice(a, b))
    .join('-')
}
