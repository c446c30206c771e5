import { describe, expect, it } from 'vitest'
import type { HubEndpoint } from '../../src/agent/hub-endpoints.ts'
import { startPlaces } from '../../src/agent/tunnel-places.ts'
import { FrozenWorld } from './frozen-world.ts'

function places(...names: string[]) {
  const world = new FrozenWorld()
  const endpoints: HubEndpoint[] = names.map((endpoint) => ({ endpoint, pins: [] }))
  const { signal } = new AbortController()
  const held = startPlaces({ world, signal })
  return { world, held, take: (place: number) => held.take(place, endpoints)?.endpoint }
}

describe('which endpoint a place dials', () => {
  it('is the first that no other place has', () => {
    const { take } = places('a', 'b', 'c')
    expect([take(0), take(1)]).toEqual(['a', 'b'])
  })

  it('is none when every endpoint is taken', () => {
    const { take } = places('a')
    expect([take(0), take(1)]).toEqual(['a', undefined])
  })

  it('is the one that failed longest ago, once all have failed', () => {
    const { held, take, world } = places('a', 'b', 'c')
    const order: (string | undefined)[] = []
    for (let attempt = 0; attempt < 6; attempt++) {
      order.push(take(0))
      held.leave(0, false)
      world.advance(1_000)
    }
    expect(order).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
  })

  it('is the same again after a tunnel that worked', () => {
    const { held, take } = places('a', 'b')
    take(0)
    held.opened(0)
    held.leave(0, true)
    expect(take(0)).toBe('a')
  })

  it('is never another name of the hub that holds our tunnel, as far as that has shown', () => {
    const { held, take, world } = places('public', 'private')
    take(0)
    held.opened(0)
    world.advance(60_000)
    take(1)
    held.opened(1)
    world.advance(100)
    held.leave(0, true)
    expect(take(0)).toBeUndefined()
    held.leave(1, true)
    expect(take(0)).toBe('public')
  })

  it('may be any again when the end of one had nothing to do with the start of the other', () => {
    const { held, take, world } = places('a', 'b')
    take(0)
    held.opened(0)
    take(1)
    held.opened(1)
    world.advance(6_000)
    held.leave(0, true)
    expect(take(0)).toBe('a')
  })

  it('is not held against an endpoint that was never reached', () => {
    const { held, take } = places('a', 'b')
    take(0)
    take(1)
    held.opened(1)
    held.leave(0, false)
    expect(take(0)).toBe('a')
  })

  it('is asked for again as soon as a place becomes free', async () => {
    const { held, take } = places('a')
    take(0)
    const waiting = held.wait(60_000)
    held.leave(0, true)
    await waiting
    expect(take(1)).toBe('a')
  })
})
