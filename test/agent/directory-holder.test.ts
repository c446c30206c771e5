import { gunzipSync } from 'node:zlib'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type DirectoryHolder, openDirectoryHolder } from '../../src/agent/directory-holder.ts'
import { directorySecretName, SECRETS_PATH } from '../../src/agent/state-secret.ts'
import { UnreachableError } from '../../src/errors.ts'
import type { DirectoryAppend } from '../../src/protocol/messages.ts'
import { CLUSTER, Fleet } from '../directory/fleet.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const SECRET = `${SECRETS_PATH}/${directorySecretName(CLUSTER)}`
const ending: AbortController[] = []

afterEach(() => {
  for (const controller of ending.splice(0)) controller.abort()
})

interface Started {
  readonly holder: DirectoryHolder
  readonly log: RecordedLog
  readonly world: FrozenWorld
}

async function start(api: MemoryApi, fleet: string, maxChainBytes?: number): Promise<Started> {
  const controller = new AbortController()
  ending.push(controller)
  const world = new FrozenWorld()
  const log = new RecordedLog()
  const watch = { backoff: { baseMs: 1, capMs: 2 } }
  const background = { world, log, signal: controller.signal }
  const limit = maxChainBytes === undefined ? {} : { maxChainBytes }
  const options = { cluster: CLUSTER, fleet, watch, ...limit }
  const holder = await openDirectoryHolder(api, options, background)
  return { holder, log, world }
}

/** What a hub sends: the statements after `after`, with the details of those it shows. */
function push(fleet: Fleet, after = -1, withoutDetails: readonly number[] = []): DirectoryAppend {
  const { statements, details } = fleet.directory.page(after)
  return { statements, details: details.filter(({ seq }) => !withoutDetails.includes(seq)) }
}

/** Alice founds, registers the cluster and admits bob as a member. */
async function withBob() {
  const fleet = await Fleet.found()
  await fleet.register()
  const device = await fleet.admit('bob')
  await fleet.member('add', 'user', 'bob')
  return { fleet, device: device.id, pin: fleet.directory.fleet! }
}

function flipSignature(text: string): string {
  const flip = (_: string, first: string) => `"signature":"${first === 'A' ? 'B' : 'A'}`
  return text.replace(/"signature":"(.)/, flip)
}

const soon = (assertion: () => void) => vi.waitFor(assertion, { interval: 1 })

describe('the directory that an agent holds', () => {
  it('is nothing, and lets nobody in, before a hub has sent any', async () => {
    const { pin } = await withBob()
    const { holder } = await start(new MemoryApi(), pin)
    expect(holder.head).toBeNull()
    expect(holder.isFresh()).toBe(false)
    expect(holder.state.isMember('bob', CLUSTER)).toBe(false)
  })

  it('is what was verified, is remembered before it is acknowledged, and comes again harmlessly', async () => {
    const { fleet, pin, device } = await withBob()
    const api = new MemoryApi()
    const { holder } = await start(api, pin)
    const changed = vi.fn()
    holder.onChange(changed)
    expect(await holder.apply(push(fleet))).toEqual(fleet.directory.head)
    expect(api.peek(SECRET)).toBeDefined()
    expect(holder.isFresh()).toBe(true)
    expect(holder.state.isLiveDevice(device)).toBe(true)
    const writes = api.count('create') + api.count('update')
    await holder.apply(push(fleet))
    expect(await holder.apply({ statements: [], details: [] })).toEqual(fleet.directory.head)
    expect(api.count('create') + api.count('update')).toBe(writes)
    expect(changed).toHaveBeenCalledOnce()
  })

  it('takes in only what follows, and tells what was before', async () => {
    const { fleet, pin } = await withBob()
    const { holder } = await start(new MemoryApi(), pin)
    await holder.apply(push(fleet))
    const { seq } = fleet.directory.head!
    await fleet.revoke({ user: 'bob' })
    const heard: [boolean, boolean][] = []
    holder.onChange((after, before) =>
      heard.push([after.isMember('bob', CLUSTER), before.isMember('bob', CLUSTER)]),
    )
    await holder.apply(push(fleet, seq))
    expect(heard).toEqual([[false, true]])
  })

  it('says what somebody has added, whatever waited for its turn before them', async () => {
    const { fleet, pin } = await withBob()
    const { holder } = await start(new MemoryApi(), pin)
    const first = fleet.directory.head!
    await fleet.revoke({ user: 'bob' })
    const added = vi.fn()
    const pages = [push(fleet), push(fleet, first.seq)]
    await Promise.all([holder.apply(pages[0]!), holder.apply(pages[1]!, added)])
    const [before, after] = added.mock.calls[0]!
    expect([before.head, after.head]).toEqual([fleet.directory.head, fleet.directory.head])
  })

  it('of another fleet is refused, whoever signed it', async () => {
    const { pin } = await withBob()
    const other = await Fleet.found()
    const { holder } = await start(new MemoryApi(), pin)
    await expect(holder.apply(push(other))).rejects.toMatchObject({ code: 'MCM_DIRECTORY_INVALID' })
    expect(holder.head).toBeNull()
  })

  it.each([
    ['a flipped signature', flipSignature],
    ['a missing statement', () => undefined],
  ])('with %s is refused whole, and what was there stays', async (_, damage) => {
    const { fleet, pin } = await withBob()
    const { holder } = await start(new MemoryApi(), pin)
    await holder.apply(push(fleet))
    const before = holder.head
    const { seq } = before!
    await fleet.admit('mallory')
    const { statements, details } = push(fleet, seq)
    const damaged = [damage(statements[0]!), ...statements.slice(1)].filter(
      (text) => text !== undefined,
    )
    await expect(holder.apply({ statements: damaged, details })).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_INVALID',
    })
    expect(holder.head).toEqual(before)
  })

  it('that forks from what was seen is refused, also after a restart', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const { holder } = await start(api, pin)
    await holder.apply(push(fleet))
    const { seq } = fleet.directory.head!
    const common = fleet.directory
    await fleet.revoke({ user: 'bob' })
    await holder.apply(push(fleet, seq))
    fleet.directory = common
    await fleet.admit('mallory')
    for (const each of [holder, (await start(api, pin)).holder]) {
      await expect(each.apply(push(fleet))).rejects.toMatchObject({
        code: 'MCM_DIRECTORY_ROLLED_BACK',
      })
      expect(each.state.users.has('mallory')).toBe(false)
      expect(each.state.isMember('bob', CLUSTER)).toBe(false)
    }
  })

  it('is verified again from memory after a restart, without any hub', async () => {
    const { fleet, pin, device } = await withBob()
    const api = new MemoryApi()
    await (await start(api, pin)).holder.apply(push(fleet))
    const { holder } = await start(api, pin)
    expect(holder.head).toEqual(fleet.directory.head)
    expect(holder.isFresh()).toBe(true)
    expect(holder.state.isLiveDevice(device)).toBe(true)
  })

  it('never forgets a revocation because a hub leaves its detail out later', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const first = await start(api, pin)
    const revocation = await fleet.revoke({ user: 'bob' })
    await first.holder.apply(push(fleet))
    const { holder } = await start(api, pin)
    await holder.apply(push(fleet, -1, [revocation]))
    expect(holder.state.isMember('bob', CLUSTER)).toBe(false)
  })

  it('takes in details that come late, of statements it knows', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const { holder } = await start(api, pin)
    const hidden = [2, 3]
    await holder.apply(push(fleet, -1, hidden))
    expect(holder.state.isMember('bob', CLUSTER)).toBe(false)
    const { details } = push(fleet)
    await holder.apply({ statements: [], details })
    expect(holder.state.isMember('bob', CLUSTER)).toBe(true)
    const later = await start(api, pin)
    expect(later.holder.state.isMember('bob', CLUSTER)).toBe(true)
  })

  it('serves nobody after a restart until all that was seen is there again', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    await (await start(api, pin)).holder.apply(push(fleet))
    const stored = api.peek<{ data: Record<string, string> }>(SECRET)!
    const { 'chain.json.gz': _, ...headAlone } = stored.data
    api.put(SECRET, { ...stored, data: headAlone })

    const { holder } = await start(api, pin)
    const pages = push(fleet)
    const early = pages.statements.slice(0, 2)
    await holder.apply({ statements: early, details: pages.details.slice(0, 2) })
    expect(holder.remembered).toEqual(fleet.directory.head)
    expect(holder.isFresh()).toBe(false)
    expect(api.peek<{ data: object }>(SECRET)!.data).toEqual(headAlone)
    await holder.apply(pages)
    expect(holder.isFresh()).toBe(true)
  })

  it('is fetched anew when the kept chain is damaged, behind the same head', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    await (await start(api, pin)).holder.apply(push(fleet))
    const stored = api.peek<{ data: Record<string, string> }>(SECRET)!
    api.put(SECRET, { ...stored, data: { ...stored.data, 'chain.json.gz': 'AAAA' } })
    const { holder } = await start(api, pin)
    expect(holder.remembered).toEqual(fleet.directory.head)
    expect(holder.isFresh()).toBe(false)
    await holder.apply(push(fleet))
    expect(holder.isFresh()).toBe(true)
  })

  it('does not start on a memory whose head cannot be read', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    await (await start(api, pin)).holder.apply(push(fleet))
    const stored = api.peek<{ data: Record<string, string> }>(SECRET)!
    api.put(SECRET, { ...stored, data: { ...stored.data, 'head.json': 'AAAA' } })
    await expect(start(api, pin)).rejects.toMatchObject({ code: 'MCM_STATE_DAMAGED' })
  })

  it('counts at once although it cannot be written, and is written when it comes again', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const { holder } = await start(api, pin)
    await holder.apply(push(fleet))
    const { seq } = fleet.directory.head!
    await fleet.revoke({ user: 'bob' })
    api.fault = (verb) =>
      verb === 'update' ? new UnreachableError('MCM_TIMEOUT', 'etcd has no quorum') : undefined
    await expect(holder.apply(push(fleet, seq))).rejects.toMatchObject({ httpStatus: 503 })
    expect(holder.state.isMember('bob', CLUSTER)).toBe(false)
    api.fault = () => undefined
    expect(await holder.apply(push(fleet, seq))).toEqual(fleet.directory.head)
    const stored = api.peek<{ data: Record<string, string> }>(SECRET)!
    const chain = gunzipSync(Buffer.from(stored.data['chain.json.gz']!, 'base64')).toString()
    expect(JSON.parse(chain).head).toEqual(fleet.directory.head)
  })

  it('takes less than 500 bytes of memory a statement: two thousand fit into a Secret', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    for (let person = 0; person < 20; person++) await fleet.admit(`person-${person}`)
    const { holder } = await start(api, pin)
    await holder.apply(push(fleet))
    const stored = api.peek<{ data: Record<string, string> }>(SECRET)!
    const bytes = Buffer.from(stored.data['chain.json.gz']!, 'base64').length
    expect(bytes / fleet.directory.statements.length).toBeLessThan(500)
  })

  it('that is too long to be kept is known by its head, so that nothing shorter passes for it', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const { holder, log } = await start(api, pin, 100)
    await holder.apply(push(fleet))
    expect(log.events()).toContain('directory_too_long_to_keep')
    expect(holder.isFresh()).toBe(true)
    const later = await start(api, pin, 100)
    expect(later.holder.isFresh()).toBe(false)
    await later.holder.apply(push(fleet))
    expect(later.holder.isFresh()).toBe(true)
  })
})

describe('a directory that is too long to be kept', () => {
  /** Fits the head and one revocation, not the chain. */
  const LIMIT = 400

  it('is still remembered by its revocations, whatever a hub leaves out later', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const first = await start(api, pin, LIMIT)
    const revocation = await fleet.revoke({ user: 'bob' })
    await first.holder.apply(push(fleet))
    expect(first.log.events()).toContain('directory_too_long_to_keep')
    const { holder } = await start(api, pin, LIMIT)
    expect(holder.head).toBeNull()
    await holder.apply(push(fleet, -1, [revocation]))
    expect(holder.isFresh()).toBe(true)
    expect(holder.state.isMember('bob', CLUSTER)).toBe(false)
  })

  it('is not believed for a moment when it holds another statement at the place that was seen', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const common = fleet.directory
    await fleet.revoke({ user: 'bob' })
    const first = await start(api, pin, LIMIT)
    await first.holder.apply(push(fleet))
    fleet.directory = common
    await fleet.admit('mallory')
    const { holder } = await start(api, pin, LIMIT)
    const changed = vi.fn()
    holder.onChange(changed)
    await expect(holder.apply(push(fleet))).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_ROLLED_BACK',
    })
    expect(changed).not.toHaveBeenCalled()
    expect(holder.isFresh()).toBe(false)
  })

  it('shares them with a replica that a hub has told less', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const [a, b] = [await start(api, pin, LIMIT), await start(api, pin, LIMIT)]
    const revocation = await fleet.revoke({ user: 'bob' })
    await b.holder.apply(push(fleet, -1, [revocation]))
    expect(b.holder.state.isMember('bob', CLUSTER)).toBe(true)
    await a.holder.apply(push(fleet))
    await soon(() => expect(b.holder.state.isMember('bob', CLUSTER)).toBe(false))
  })
})

describe('two replicas', () => {
  it('share what one of them was shown, also a revocation that the other’s hub holds back', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const [a, b] = [await start(api, pin), await start(api, pin)]
    await a.holder.apply(push(fleet))
    await soon(() => expect(b.holder.head).toEqual(fleet.directory.head))
    const { seq } = fleet.directory.head!
    const changed = vi.fn()
    b.holder.onChange(changed)
    await fleet.revoke({ user: 'bob' })
    await a.holder.apply(push(fleet, seq))
    await soon(() => expect(b.holder.state.isMember('bob', CLUSTER)).toBe(false))
    expect(changed).toHaveBeenCalledOnce()
  })

  it('put together what each was shown at once', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const [a, b] = [await start(api, pin), await start(api, pin)]
    await Promise.all([a.holder.apply(push(fleet, -1, [2])), b.holder.apply(push(fleet, -1, [3]))])
    await soon(() => expect(a.holder.state.isMember('bob', CLUSTER)).toBe(true))
    await soon(() => expect(b.holder.state.isMember('bob', CLUSTER)).toBe(true))
    const later = await start(api, pin)
    expect(later.holder.state.isMember('bob', CLUSTER)).toBe(true)
  })

  it('that cannot share the chain bear to be shown it at different moments, but not for a minute', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const [a, b] = [await start(api, pin, 100), await start(api, pin, 100)]
    await a.holder.apply(push(fleet))
    await b.holder.apply(push(fleet))
    const { seq } = fleet.directory.head!
    await fleet.admit('carol')
    await a.holder.apply(push(fleet, seq))
    await soon(() => expect(b.holder.remembered).toEqual(fleet.directory.head))
    expect(b.holder.isFresh()).toBe(true)
    b.world.advance(60_001)
    expect(b.holder.isFresh()).toBe(false)
    // Nor does a clock that goes back make it known again.
    b.world.advance(-3_600_000)
    expect(b.holder.isFresh()).toBe(false)
    await b.holder.apply(push(fleet, seq))
    expect(b.holder.isFresh()).toBe(true)
  })

  it('that are shown two signed chains keep the one that was remembered first', async () => {
    const { fleet, pin } = await withBob()
    const api = new MemoryApi()
    const [a, b] = [await start(api, pin), await start(api, pin)]
    await a.holder.apply(push(fleet))
    await soon(() => expect(b.holder.head).toEqual(fleet.directory.head))
    const common = fleet.directory
    await fleet.revoke({ user: 'bob' })
    const kept = fleet.directory
    const first = push(fleet, common.head!.seq)
    fleet.directory = common
    await fleet.admit('mallory')
    const second = push(fleet, common.head!.seq)

    api.areWatchesFrozen = true
    await a.holder.apply(first)
    await expect(b.holder.apply(second)).rejects.toMatchObject({
      code: 'MCM_DIRECTORY_ROLLED_BACK',
    })
    expect(b.holder.state.users.has('mallory')).toBe(false)
    api.areWatchesFrozen = false
    api.bookmark()
    await soon(() => expect(b.holder.head).toEqual(kept.head))
    expect(b.holder.state.isMember('bob', CLUSTER)).toBe(false)
  })
})
