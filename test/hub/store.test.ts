import { randomBytes } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Statement } from '../../src/directory/statement.ts'
import { type HubDatabase, type HubStore, hubStore, openHubDatabase } from '../../src/hub/store.ts'

let database: HubDatabase
let store: HubStore

beforeEach(async () => {
  database = await openHubDatabase(':memory:')
  store = hubStore(database)
})

afterEach(() => database.destroy())

function statement(seq: number, text = `statement ${seq}`): Statement {
  const hash = randomBytes(32).toString('base64url')
  return { text, hash, seq, time: new Date(0), type: 'member', detailHash: hash, signers: [] }
}

function detail(seq: number) {
  return { seq, salt: 'c2FsdA', text: `detail ${seq} ü` }
}

describe('the stored directory', () => {
  it('comes back in its order, text and details unchanged', async () => {
    expect(await store.append(-1, [statement(0), statement(1)], [detail(0), detail(1)])).toBe(true)
    expect(await store.append(1, [statement(2)], [detail(2)])).toBe(true)
    expect(await store.readDirectory()).toEqual({
      statements: ['statement 0', 'statement 1', 'statement 2'],
      details: [detail(0), detail(1), detail(2)],
    })
  })

  it('takes no append that does not follow its last statement', async () => {
    await store.append(-1, [statement(0)], [detail(0)])
    expect(await store.append(-1, [statement(0, 'other')], [detail(0)])).toBe(false)
    expect(await store.append(1, [statement(2)], [detail(2)])).toBe(false)
    expect((await store.readDirectory()).statements).toEqual(['statement 0'])
  })

  it('keeps nothing of an append that fails half way', async () => {
    await store.append(-1, [statement(0)], [detail(0)])
    const twice = [statement(1), statement(1)]
    await expect(store.append(0, twice, [detail(1)])).rejects.toThrow()
    expect((await store.readDirectory()).statements).toEqual(['statement 0'])
  })

  it('on one file takes one of two appends by two hubs', async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'mcm-store-')), 'hub.db')
    const [one, other] = [await openHubDatabase(path), await openHubDatabase(path)]
    const answers = [
      await hubStore(one).append(-1, [statement(0, 'one')], [detail(0)]),
      await hubStore(other).append(-1, [statement(0, 'other')], [detail(0)]),
    ]
    expect(answers).toEqual([true, false])
    expect((await hubStore(other).readDirectory()).statements).toEqual(['one'])
    await Promise.all([one.destroy(), other.destroy()])
  })
})

describe('registrations', () => {
  const registration = {
    cluster: 'c-aaaaaaaaaa',
    name: 'idc',
    tokenHash: 'hash',
    expires: '2026-03-02T00:00:00Z',
    createdBy: 'alice’s key',
    agentKey: null,
    publication: null,
  }

  it('belong to the first agent key that publishes', async () => {
    await store.addRegistration(registration)
    expect(await store.publish(registration.cluster, 'first', 'jws 1')).toBe(true)
    expect(await store.publish(registration.cluster, 'second', 'jws 2')).toBe(false)
    expect(await store.publish(registration.cluster, 'first', 'jws 3')).toBe(true)
    expect(await store.publish('c-bbbbbbbbbb', 'first', 'jws')).toBe(false)
    expect(await store.readRegistration(registration.cluster)).toEqual({
      ...registration,
      agentKey: 'first',
      publication: 'jws 3',
    })
  })

  it('go when their time is over', async () => {
    await store.addRegistration(registration)
    await store.deleteRegistrationsBefore('2026-03-02T00:00:00Z')
    expect(await store.readRegistration(registration.cluster)).toBeDefined()
    await store.deleteRegistrationsBefore('2026-03-02T00:00:01Z')
    expect(await store.readRegistration(registration.cluster)).toBeUndefined()
  })
})

describe('agents', () => {
  it('are remembered by cluster and replica, as they were last seen', async () => {
    const agent = { cluster: 'c-aaaaaaaaaa', replica: 'a', version: '1', kubernetesVersion: 'v1' }
    await store.recordAgents([{ ...agent, lastSeen: '2026-03-01T00:00:00Z' }])
    await store.recordAgents([
      { ...agent, version: '2', lastSeen: '2026-03-02T00:00:00Z' },
      { ...agent, replica: 'b', lastSeen: '2026-03-02T00:00:00Z' },
    ])
    expect(await store.readAgents()).toEqual([
      { ...agent, version: '2', lastSeen: '2026-03-02T00:00:00Z' },
      { ...agent, replica: 'b', lastSeen: '2026-03-02T00:00:00Z' },
    ])
  })
})
