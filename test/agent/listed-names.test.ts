import { afterEach, describe, expect, it, vi } from 'vitest'
import { impersonatorRole, unrestrictedImpersonatorRole } from '../../src/access/impersonator.ts'
import { isListedUser, startListedNames } from '../../src/agent/listed-names.ts'
import { UnreachableError } from '../../src/errors.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator'
const ending: AbortController[] = []

afterEach(() => {
  for (const controller of ending.splice(0)) controller.abort()
})

async function start(users: string[] | undefined = ['mcm:bob']) {
  const api = new MemoryApi()
  if (users.length > 0) list(api, users)
  const controller = new AbortController()
  ending.push(controller)
  const world = new FrozenWorld()
  const background = { world, log: new RecordedLog(), signal: controller.signal }
  const names = startListedNames(api, background, { backoff: { baseMs: 1, capMs: 2 } })
  await names.ready
  await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
  return { api, names, world }
}

function list(api: MemoryApi, users: string[], groups: string[] = []): void {
  api.put(ROLE, impersonatorRole({ users, groups }))
}

describe('the names that may be spoken for', () => {
  it('are those of the one role, as it is read at the start', async () => {
    const { names } = await start(['mcm:bob', 'mcm:alice'])
    expect(names.current()).toEqual({
      users: ['mcm:alice', 'mcm:bob'],
      groups: [],
      isUnrestricted: false,
    })
    expect(names.isFresh()).toBe(true)
  })

  it('are nobody’s where there is no role', async () => {
    const { names } = await start([])
    expect(isListedUser(names.current(), 'mcm:bob')).toBe(false)
    expect(isListedUser(await names.fresh(), 'mcm:bob')).toBe(false)
  })

  it('follow a grant and its end within a moment, and say so', async () => {
    const { api, names } = await start()
    const changed = vi.fn()
    names.onChange(changed)
    list(api, ['mcm:bob', 'mcm:carol'], ['mcm:dev'])
    await vi.waitFor(() => expect(isListedUser(names.current(), 'mcm:carol')).toBe(true), {
      interval: 1,
    })
    api.remove(ROLE)
    await vi.waitFor(() => expect(isListedUser(names.current(), 'mcm:carol')).toBe(false), {
      interval: 1,
    })
    expect(changed).toHaveBeenCalledTimes(2)
  })

  it('do not come from another role', async () => {
    const { api, names } = await start()
    const other = impersonatorRole({ users: ['mcm:mallory'], groups: [] })
    const metadata = { ...other.metadata, name: 'mcm-impersonator-2' }
    api.put(`${ROLE}-2`, { ...other, metadata })
    list(api, ['mcm:bob', 'mcm:carol'])
    await vi.waitFor(() => expect(isListedUser(names.current(), 'mcm:carol')).toBe(true), {
      interval: 1,
    })
    expect(isListedUser(names.current(), 'mcm:mallory')).toBe(false)
  })

  it('are everybody’s where the owner chose so, and that shows', async () => {
    const { api, names } = await start()
    api.put(ROLE, unrestrictedImpersonatorRole())
    await vi.waitFor(() => expect(names.current().isUnrestricted).toBe(true), { interval: 1 })
    expect(isListedUser(names.current(), 'mcm:anybody')).toBe(true)
  })

  it('are read from the server on request, when the watch has not brought them yet', async () => {
    const { api, names } = await start()
    api.areWatchesFrozen = true
    list(api, ['mcm:bob', 'mcm:carol'])
    expect(isListedUser(names.current(), 'mcm:carol')).toBe(false)
    expect(isListedUser(await names.fresh(), 'mcm:carol')).toBe(true)
    expect(isListedUser(names.current(), 'mcm:carol')).toBe(true)
  })

  it('are not read from the server for each of many refused people', async () => {
    const { api, names, world } = await start()
    await Promise.all(Array.from({ length: 50 }, () => names.fresh()))
    await names.fresh()
    expect(api.count('get')).toBe(1)
    world.advance(1_000)
    await names.fresh()
    expect(api.count('get')).toBe(2)
  })

  it('are not taken for empty when the server fails', async () => {
    const { api, names } = await start()
    api.fault = () => new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
    await expect(names.fresh()).rejects.toMatchObject({ httpStatus: 503 })
    expect(isListedUser(names.current(), 'mcm:bob')).toBe(true)
  })
})
