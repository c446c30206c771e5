import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  type WatchedCollectionOptions,
  watchCollection,
} from '../../src/agent/watched-collection.ts'
import { UnreachableError } from '../../src/errors.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const PATH = '/api/v1/namespaces/n/things'
const FAST = { backoff: { baseMs: 1, capMs: 2 } }
const ending: AbortController[] = []

afterEach(() => {
  for (const controller of ending.splice(0)) controller.abort()
})

function thing(name: string, color = 'red', labels?: Record<string, string>): KubernetesObject {
  const metadata = { name, ...(labels ? { labels } : {}) }
  return { apiVersion: 'v1', kind: 'Thing', metadata, color } as KubernetesObject
}

function start(api = new MemoryApi(), options: Partial<WatchedCollectionOptions> = {}) {
  const controller = new AbortController()
  ending.push(controller)
  const world = new FrozenWorld()
  const log = new RecordedLog()
  const background = { world, log, signal: controller.signal }
  const collection = watchCollection<KubernetesObject>(
    api,
    { path: PATH, ...FAST, ...options },
    background,
  )
  return { api, collection, world, log, controller }
}

describe('a watched collection', () => {
  it('is not fresh before it has read everything once, and knows everything after', async () => {
    const api = new MemoryApi()
    api.put(`${PATH}/a`, thing('a'))
    const { collection } = start(api)
    expect(collection.isFresh()).toBe(false)
    await collection.ready
    expect(collection.isFresh()).toBe(true)
    expect(collection.get('a')).toMatchObject({ color: 'red' })
  })

  it('learns of additions, changes and removals from the watch, with what was there before', async () => {
    const { api, collection } = start()
    await collection.ready
    const seen: [string | undefined, string | undefined][] = []
    const colorOf = (object: unknown) => (object as { color?: string } | undefined)?.color
    collection.onChange((after, before) => seen.push([colorOf(after), colorOf(before)]))
    api.put(`${PATH}/a`, thing('a', 'red'))
    api.put(`${PATH}/a`, thing('a', 'blue'))
    api.remove(`${PATH}/a`)
    await vi.waitFor(() => expect(seen).toHaveLength(3), { interval: 1 })
    expect(seen).toEqual([
      ['red', undefined],
      ['blue', 'red'],
      [undefined, 'blue'],
    ])
    expect(collection.values()).toEqual([])
  })

  it('sees only what its selectors select', async () => {
    const { api, collection } = start(new MemoryApi(), { labelSelector: 'kind=ours' })
    await collection.ready
    api.put(`${PATH}/theirs`, thing('theirs', 'red', { kind: 'theirs' }))
    api.put(`${PATH}/ours`, thing('ours', 'red', { kind: 'ours' }))
    await vi.waitFor(() => expect(collection.get('ours')).toBeDefined(), { interval: 1 })
    expect(collection.get('theirs')).toBeUndefined()
  })

  it('is not fresh any more when nothing was heard for longer than the maximum age', async () => {
    const { api, collection, world } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    world.advance(45_000)
    expect(collection.isFresh()).toBe(true)
    world.advance(1)
    expect(collection.isFresh()).toBe(false)
  })

  it('is not fresh when the clock went back: nobody knows how long ago it was heard', async () => {
    const { api, collection, world } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    api.areWatchesFrozen = true
    api.fault = () => new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
    world.advance(-3_600_000)
    expect(collection.isFresh()).toBe(false)
  })

  it('is kept fresh by bookmarks alone', async () => {
    const { api, collection, world } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    world.advance(50_000)
    api.bookmark()
    await vi.waitFor(() => expect(collection.isFresh()).toBe(true), { interval: 1 })
  })

  it('goes on from where a watch ended, without a new list, when the watch has brought something', async () => {
    const { api, collection } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    api.bookmark()
    api.endWatches()
    await vi.waitFor(() => expect(api.count('watch')).toBe(2), { interval: 1 })
    expect(api.count('list')).toBe(1)
    api.put(`${PATH}/a`, thing('a'))
    await vi.waitFor(() => expect(collection.get('a')).toBeDefined(), { interval: 1 })
  })

  it('reads everything anew after a watch that brought nothing: it proves nothing', async () => {
    const { api, collection } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    api.areWatchesFrozen = true
    api.put(`${PATH}/a`, thing('a'))
    api.endWatches()
    await vi.waitFor(() => expect(collection.get('a')).toBeDefined(), { interval: 1 })
    expect(api.count('list')).toBe(2)
  })

  it('finds with the next list what was removed while it could not see', async () => {
    const { api, collection } = start()
    api.put(`${PATH}/a`, thing('a'))
    await vi.waitFor(() => expect(collection.get('a')).toBeDefined(), { interval: 1 })
    const gone = vi.fn()
    collection.onChange(gone)
    api.areWatchesFrozen = true
    api.remove(`${PATH}/a`)
    api.endWatches(new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'cut'))
    await vi.waitFor(() => expect(collection.get('a')).toBeUndefined(), { interval: 1 })
    expect(gone).toHaveBeenCalledOnce()
  })

  it('lists again when its version has become too old to watch from', async () => {
    const { api, collection } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    api.put(`${PATH}/a`, thing('a'))
    api.compact()
    await vi.waitFor(() => expect(api.count('list')).toBeGreaterThan(1), { interval: 1 })
    expect(collection.get('a')).toBeDefined()
  })

  it('reads everything anew now and then, however well the watch works', async () => {
    const { api, collection, world } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    world.advance(300_000)
    api.bookmark()
    api.endWatches()
    await vi.waitFor(() => expect(api.count('list')).toBe(2), { interval: 1 })
  })

  it('keeps what a write was answered against a watch event from before that write', async () => {
    const { api, collection } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    api.areWatchesFrozen = true
    api.put(`${PATH}/a`, thing('a', 'old'))
    const written = api.put(`${PATH}/a`, thing('a', 'new'))
    collection.learn(written)
    const colors: unknown[] = []
    collection.onChange((after) => colors.push((after as { color?: string } | undefined)?.color))
    api.areWatchesFrozen = false
    api.put(`${PATH}/b`, thing('b', 'other'))
    await vi.waitFor(() => expect(collection.get('b')).toBeDefined(), { interval: 1 })
    expect(colors).toEqual(['other'])
    expect(collection.get('a')).toMatchObject({ color: 'new' })
  })

  it('does not bring back what was removed after a write whose answer comes late', async () => {
    const { api, collection } = start()
    await collection.ready
    const written = api.put(`${PATH}/a`, thing('a'))
    api.remove(`${PATH}/a`)
    api.put(`${PATH}/b`, thing('b'))
    await vi.waitFor(() => expect(collection.get('b')).toBeDefined(), { interval: 1 })
    collection.learn(written)
    expect(collection.get('a')).toBeUndefined()
  })

  it('says once that it is broken and once that it works again, and goes on trying in between', async () => {
    const api = new MemoryApi()
    api.fault = () => new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
    const { collection, log } = start(api)
    await vi.waitFor(() => expect(api.count('list')).toBeGreaterThan(3), { interval: 1 })
    expect(collection.isFresh()).toBe(false)
    api.fault = () => undefined
    await collection.ready
    await vi.waitFor(() => expect(log.events()).toHaveLength(2), { interval: 1 })
    expect(log.events()).toEqual(['watch_broken', 'watch_restored'])
  })

  it('survives a listener that throws', async () => {
    const { api, collection, log } = start()
    await collection.ready
    collection.onChange(() => {
      throw new Error('bug')
    })
    api.put(`${PATH}/a`, thing('a'))
    api.put(`${PATH}/b`, thing('b'))
    await vi.waitFor(() => expect(collection.get('b')).toBeDefined(), { interval: 1 })
    expect(log.events()).toContain('watch_listener_failed')
  })

  it('ends with its signal', async () => {
    const { api, collection, controller } = start()
    await collection.ready
    await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
    controller.abort()
    await vi.waitFor(() => expect(api.openWatches).toBe(0), { interval: 1 })
    expect(api.count('list')).toBe(1)
  })
})
