import { describe, expect, it } from 'vitest'
import {
  changeSecret,
  newStateSecret,
  principalSecretName,
  SECRETS_PATH,
  type StateSecret,
  secretValue,
  withValues,
} from '../../src/agent/state-secret.ts'
import { AccessDeniedError } from '../../src/errors.ts'
import { MemoryApi } from './memory-api.ts'

const CLUSTER = 'c-abcdefgh22'
const PATH = `${SECRETS_PATH}/counter`

/** Adds one to a number that is kept in a Secret. */
function count(api: MemoryApi): Promise<StateSecret | undefined> {
  return changeSecret(api, 'counter', (current) => {
    const before = Number(current && secretValue(current, 'count')?.toString())
    const values = { count: String((before || 0) + 1) }
    return current
      ? withValues(current, values)
      : newStateSecret('counter', CLUSTER, 'principal', values)
  })
}

const countOf = (api: MemoryApi) => secretValue(api.peek(PATH)!, 'count')!.toString()

describe('changing a Secret', () => {
  it('loses no change, however many make one at once', async () => {
    const api = new MemoryApi()
    await Promise.all(Array.from({ length: 10 }, () => count(api)))
    expect(countOf(api)).toBe('10')
  })

  it('starts from what is there when somebody else was faster', async () => {
    const api = new MemoryApi()
    await count(api)
    let hasInterfered = false
    api.beforeWrite = () => {
      if (hasInterfered) return
      hasInterfered = true
      api.put(PATH, withValues(api.peek(PATH)!, { count: '41' }))
    }
    await count(api)
    expect(countOf(api)).toBe('42')
  })

  it('creates it when somebody deletes it in between', async () => {
    const api = new MemoryApi()
    await count(api)
    let hasDeleted = false
    api.beforeWrite = () => {
      if (hasDeleted) return
      hasDeleted = true
      api.remove(PATH)
    }
    await count(api)
    expect(countOf(api)).toBe('1')
  })

  it('keeps labels and everything else that it does not know', async () => {
    const api = new MemoryApi()
    await count(api)
    const stored = api.peek(PATH)!
    const metadata = { ...stored.metadata, annotations: { note: 'kept' } }
    api.put(PATH, { ...stored, metadata })
    await count(api)
    expect(api.peek(PATH)!.metadata).toMatchObject({
      annotations: { note: 'kept' },
      labels: { 'app.kubernetes.io/managed-by': 'mcm', 'mcm.dev/cluster': CLUSTER },
    })
  })

  it('does not try again what is forbidden', async () => {
    const api = new MemoryApi()
    api.fault = (verb) =>
      verb === 'create' ? new AccessDeniedError('MCM_FORBIDDEN', 'no') : undefined
    await expect(count(api)).rejects.toMatchObject({ code: 'MCM_FORBIDDEN' })
    expect(api.count('create')).toBe(1)
  })
})

describe('the name of a principal’s Secret', () => {
  it('is one per user and cluster, and shows neither', () => {
    const names = [
      principalSecretName(CLUSTER, 'bob'),
      principalSecretName(CLUSTER, 'Bob'),
      principalSecretName('c-zzzzzzzz22', 'bob'),
      principalSecretName(CLUSTER, 'Łukasz'),
    ]
    expect(new Set(names).size).toBe(4)
    for (const name of names) expect(name).toMatch(/^mcm-principal-[0-9a-f]{32}$/)
  })
})
