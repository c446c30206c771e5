import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type EitherWay, eitherWay } from '../../src/client/either-way.ts'
import { AccessDeniedError, TrustError, UnreachableError } from '../../src/errors.ts'

/** Real promises and timers; only how long the hub is waited for is moved by hand. */
let clock: number
let either: EitherWay
let discarded: string[]

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  clock = 0
  either = eitherWay(() => clock)
  discarded = []
})
afterEach(() => {
  vi.useRealTimers()
})

const down = () => new UnreachableError('MCM_HUB_UNREACHABLE', 'no hub answers', { hint: 'wait' })
const never = () => new Promise<never>(() => {})

function go(hub: () => Promise<string>, direct: () => Promise<string | undefined>) {
  return either<string>({ hub, direct, discard: (late) => void discarded.push(late) })
}

describe('the way to an agent', () => {
  it('is the hub’s while that answers, and nobody else is asked', async () => {
    const direct = vi.fn(async () => 'direct')
    expect(await go(async () => 'hub', direct)).toBe('hub')
    await vi.advanceTimersByTimeAsync(5_000)
    expect(direct).not.toHaveBeenCalled()
  })

  it('is the direct one at once when no hub can be reached', async () => {
    const hub = async () => {
      throw down()
    }
    expect(await go(hub, async () => 'direct')).toBe('direct')
  })

  it.each([
    ['a refusal', new AccessDeniedError('MCM_REVOKED', 'revoked')],
    ['a wrong certificate', new TrustError('MCM_PIN_MISMATCH', 'another hub')],
    ['a bug', new TypeError('x')],
  ])('is never the direct one because of %s', async (_title, error) => {
    const direct = vi.fn(async () => 'direct')
    const hub = async () => {
      throw error
    }
    await expect(go(hub, direct)).rejects.toBe(error)
    expect(direct).not.toHaveBeenCalled()
  })

  it('is the direct one when the hub says nothing for a second, and what comes later is let go', async () => {
    const { promise: hub, resolve } = Promise.withResolvers<string>()
    const going = go(
      () => hub,
      async () => 'direct',
    )
    await vi.advanceTimersByTimeAsync(999)
    await vi.advanceTimersByTimeAsync(1)
    expect(await going).toBe('direct')
    resolve('late hub')
    await vi.advanceTimersByTimeAsync(0)
    expect(discarded).toEqual(['late hub'])
  })

  it('is a slow hub’s where the direct one fails meanwhile', async () => {
    const { promise: hub, resolve } = Promise.withResolvers<string>()
    const going = go(
      () => hub,
      async () => {
        throw down()
      },
    )
    await vi.advanceTimersByTimeAsync(3_000)
    resolve('slow hub')
    expect(await going).toBe('slow hub')
  })

  it('fails with the hub’s own words where there is no direct address', async () => {
    const hub = async () => {
      throw down()
    }
    await expect(go(hub, async () => undefined)).rejects.toMatchObject({
      message: 'no hub answers',
      hint: 'wait',
    })
  })

  it('fails with both reasons where neither can be gone', async () => {
    const hub = async () => {
      throw down()
    }
    const direct = async () => {
      throw new UnreachableError('MCM_AGENT_UNREACHABLE', 'h:1 cannot be reached')
    }
    await expect(go(hub, direct)).rejects.toMatchObject({
      code: 'MCM_HUB_UNREACHABLE',
      message: 'no hub answers; nor is there a way past the hub: h:1 cannot be reached',
    })
  })

  it('is looked for both ways at once for a while after a silent hub', async () => {
    const first = go(never, async () => 'direct')
    await vi.advanceTimersByTimeAsync(1_000)
    await first
    const second = go(never, async () => 'direct again')
    await vi.advanceTimersByTimeAsync(0)
    expect(await second).toBe('direct again')
    clock += 15_001
    let isThere = false
    void go(never, async () => 'x').then(() => {
      isThere = true
    })
    await vi.advanceTimersByTimeAsync(900)
    expect(isThere).toBe(false)
  })

  it('is the hub’s first again as soon as one has answered', async () => {
    const first = go(never, async () => 'direct')
    await vi.advanceTimersByTimeAsync(1_000)
    await first
    expect(await go(async () => 'hub', never)).toBe('hub')
    const direct = vi.fn(async () => 'direct')
    void go(never, direct)
    await vi.advanceTimersByTimeAsync(500)
    expect(direct).not.toHaveBeenCalled()
  })
})
