import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ceilingRole, readCeiling } from '../../src/access/ceiling.ts'
import { presetCeiling } from '../../src/access/preset-ceiling.ts'
import { startCeiling } from '../../src/agent/ceiling-holder.ts'
import { UnreachableError } from '../../src/errors.ts'
import { cleanup } from '../forward/stage.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'
import { HOST, openStage, type Person, type TrafficStage } from './traffic-stage.ts'

const ends = cleanup()
let stage: TrafficStage
let bob: Person

beforeEach(async () => {
  stage = await openStage(ends)
  bob = await stage.person('bob')
  stage.facts.ceiling = readCeiling(ceilingRole(presetCeiling(['no-exec'])))
})
afterEach(() => ends.run())

const ask = (line: string, ...more: string[]) =>
  stage.ask(bob, `${line} HTTP/1.1`, `Host: ${HOST}`, ...more)

test('what is above the ceiling is a Forbidden that names it, and nothing reaches the API server', async () => {
  const answer = await ask('GET /api/v1/namespaces/shop/pods/web/exec?command=sh')
  expect(answer.status).toBe(403)
  expect(JSON.parse(answer.body)).toMatchObject({ kind: 'Status', reason: 'Forbidden' })
  expect(JSON.parse(answer.body).message).toContain(
    'get pods/exec "web" in namespace "shop" is above the ceiling no-exec, which the owner of this cluster has set',
  )
  expect(stage.seen).toEqual([])
  expect(stage.audit.at(-1)).toMatchObject({ code: 403, refusal: 'MCM_FORBIDDEN' })
})

test.each([
  ['SPDY', 'POST', ['Connection: Upgrade', 'Upgrade: SPDY/3.1', 'Content-Length: 0']],
  [
    'WebSocket',
    'GET',
    [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    ],
  ],
])('so is a switch of protocols by %s', async (_, method, lines) => {
  const answer = await ask(`${method} /api/v1/namespaces/shop/pods/web/exec?command=sh`, ...lines)
  expect(answer.status).toBe(403)
  expect(answer.body).toContain('above the ceiling no-exec')
  expect(stage.seen).toEqual([])
})

test('what is below it goes on as ever', async () => {
  expect((await ask('GET /api/v1/namespaces/shop/pods')).status).toBe(200)
  expect((await ask('DELETE /api/v1/namespaces/shop/pods/web')).status).toBe(200)
})

test('acting as somebody else is below the same ceiling, and nobody is asked', async () => {
  stage.facts.names = { ...stage.facts.names, users: ['mcm:bob', 'mcm:alice'] }
  const answer = await ask(
    'GET /api/v1/namespaces/shop/pods/web/exec?command=sh',
    'Impersonate-User: mcm:alice',
  )
  expect(answer.body).toContain('above the ceiling no-exec')
  expect(stage.seen).toEqual([])
})

test('without a ceiling that was read nobody does anything, and who they are they may still ask', async () => {
  stage.facts.ceiling = undefined
  const answer = await ask('GET /version')
  expect(answer.status).toBe(403)
  expect(answer.body).toContain('has no ClusterRole mcm-ceiling')
  expect((await ask('GET /.mcm/v1/whoami')).status).toBe(200)
  expect(JSON.parse((await ask('GET /.mcm/v1/cluster')).body)).toEqual({
    impersonation: { list: 'legacy', isUnrestricted: false, server: 'constrained' },
    directory: { head: null },
    botMaximumLife: 86_400,
  })
})

test('while nothing is heard of the ceiling nobody does anything, and it is not a no for ever', async () => {
  stage.facts.isCeilingFresh = false
  const answer = await ask('GET /version')
  expect(answer.status).toBe(503)
  expect(answer.body).toContain('cannot see at present which ceiling this cluster has')
  expect(stage.seen).toEqual([])
  expect((await ask('GET /.mcm/v1/whoami')).status).toBe(200)
  stage.facts.isCeilingFresh = true
  expect((await ask('GET /version')).status).toBe(200)
})

test('where the agent may speak for anybody, nobody is let in while nothing is heard of that', async () => {
  stage.facts.names = { users: [], groups: [], isUnrestricted: true }
  stage.facts.areNamesFresh = false
  expect((await ask('GET /version')).status).toBe(503)
  stage.facts.areNamesFresh = true
  expect((await ask('GET /version')).status).toBe(200)
})

test('the agent says what limits everybody', async () => {
  expect(JSON.parse((await ask('GET /.mcm/v1/cluster')).body)).toMatchObject({ ceiling: 'no-exec' })
})

test('a ceiling is followed as it changes, and whoever was let in under another one is cut', async () => {
  const path = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-ceiling'
  const api = new MemoryApi()
  api.put(path, ceilingRole(presetCeiling([])))
  const ending = new AbortController()
  const background = { world: new FrozenWorld(), log: new RecordedLog(), signal: ending.signal }
  const holder = startCeiling(api, background, { backoff: { baseMs: 1, capMs: 2 } })
  const replaced = vi.fn()
  holder.onReplaced(replaced)
  await holder.ready
  expect(holder.current()?.name).toBe('none')
  expect(replaced).not.toHaveBeenCalled()
  await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
  api.put(path, ceilingRole(presetCeiling(['read-only'])))
  await vi.waitFor(() => expect(holder.current()?.name).toBe('read-only'), { interval: 1 })
  expect(replaced).toHaveBeenCalledTimes(1)
  api.remove(path)
  await vi.waitFor(() => expect(holder.current()).toBeUndefined(), { interval: 1 })
  expect(replaced).toHaveBeenCalledTimes(2)
  ending.abort()
})

test('a ceiling that is not heard of any more is not fresh, and one that cannot be read is none', async () => {
  const path = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-ceiling'
  const api = new MemoryApi()
  api.put(path, ceilingRole(presetCeiling([])))
  const ending = new AbortController()
  const world = new FrozenWorld()
  const background = { world, log: new RecordedLog(), signal: ending.signal }
  const holder = startCeiling(api, background, { backoff: { baseMs: 1, capMs: 2 } })
  expect(holder.isFresh()).toBe(false)
  await holder.ready
  expect(holder.isFresh()).toBe(true)
  await vi.waitFor(() => expect(api.openWatches).toBe(1), { interval: 1 })
  api.put(path, { ...ceilingRole(presetCeiling([])), rules: [{}] })
  await vi.waitFor(() => expect(holder.current()).toBeUndefined(), { interval: 1 })
  api.fault = () => new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
  world.advance(45_001)
  expect(holder.isFresh()).toBe(false)
  ending.abort()
})
