import { afterEach, describe, expect, it } from 'vitest'
import type { AuditEvent } from '../../src/agent/audit-event.ts'
import { type CertificateUses, startCertificateUses } from '../../src/agent/certificate-uses.ts'
import { SECRETS_PATH, usesSecretName } from '../../src/agent/state-secret.ts'
import { UnreachableError } from '../../src/errors.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const CLUSTER = 'c-abcdefgh22'
const MINUTE_MS = 60_000
const ending: AbortController[] = []

afterEach(() => {
  for (const controller of ending.splice(0)) controller.abort()
})

const api = () => new MemoryApi()

function start(memory: MemoryApi, world: FrozenWorld, replica: string): CertificateUses {
  const controller = new AbortController()
  ending.push(controller)
  const background = { world, log: new RecordedLog(), signal: controller.signal }
  return startCertificateUses(memory, { cluster: CLUSTER, replica }, userOf, background)
}

/** All that were ever used, as a record of what stands. */
const gone = new Set<string>()
const userOf = (fingerprint: string) =>
  gone.has(fingerprint) ? undefined : fingerprint.startsWith('mallory') ? 'mallory' : 'bob'

/** Of these, which were used. */
async function used(uses: CertificateUses, ...names: string[]) {
  const last = await uses.last()
  return names.filter((name) => last.get(of(name)) !== undefined)
}

function event(certificate: string, changes: Partial<AuditEvent> = {}): AuditEvent {
  return {
    stage: 'ended',
    auditId: 'a',
    session: 's',
    user: 'bob',
    device: 'D'.repeat(43),
    certificate: certificate.padEnd(43, 'x'),
    groups: [],
    addressByHub: '192.0.2.7',
    method: 'GET',
    path: '/api',
    verb: 'get',
    apiGroup: '',
    resource: '',
    subresource: '',
    namespace: '',
    name: '',
    code: 200,
    ended: 'complete',
    bytes: 0,
    durationMs: 1,
    ...changes,
  }
}

const of = (name: string) => name.padEnd(43, 'x')

function secrets(memory: MemoryApi): Promise<{ items: unknown[] }> {
  return memory.list(SECRETS_PATH)
}

describe('when certificates were used last', () => {
  it('is known at once, and makes no write however many requests there are', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const uses = start(memory, world, 'a')
    for (let index = 0; index < 1_000; index++) uses.note(event('one'))
    const last = { time: '2026-01-01T12:00:00Z', addressByHub: '192.0.2.7' }
    expect((await uses.last()).get(of('one'))).toEqual(last)
    expect(memory.count('create') + memory.count('update')).toBe(0)
  })

  it('is folded into one Secret of a replica, and only when it has changed', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const uses = start(memory, world, 'a')
    await uses.fold()
    expect((await secrets(memory)).items).toEqual([])
    uses.note(event('one'))
    await uses.fold()
    await uses.fold()
    uses.note(event('two'))
    await uses.fold()
    expect((await secrets(memory)).items).toHaveLength(1)
    expect([memory.count('create'), memory.count('update')]).toEqual([1, 1])
  })

  it('is merged from both replicas, the later use of a certificate first', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const [a, b] = [start(memory, world, 'a'), start(memory, world, 'b')]
    a.note(event('one'))
    await a.fold()
    world.advance(MINUTE_MS)
    b.note(event('one', { addressByHub: '198.51.100.1' }))
    b.note(event('two'))
    await b.fold()
    expect((await secrets(memory)).items).toHaveLength(2)
    for (const uses of [a, b]) {
      const last = await uses.last()
      expect(last.get(of('one'))).toEqual({
        time: '2026-01-01T12:01:00Z',
        addressByHub: '198.51.100.1',
      })
      expect(last.get(of('two'))).toBeDefined()
    }
  })

  it('outlives its replica, whose Secret the next one takes over and goes on', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const old = start(memory, world, 'old')
    old.note(event('one'))
    await old.fold()
    world.advance(16 * MINUTE_MS)
    const next = start(memory, world, 'next')
    next.note(event('two'))
    await next.fold()
    expect((await secrets(memory)).items).toHaveLength(1)
    expect(await used(next, 'one', 'two')).toEqual(['one', 'two'])
  })

  it('gives way when another has taken its Secret, and loses nothing', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const sleeper = start(memory, world, 'sleeper')
    sleeper.note(event('one'))
    await sleeper.fold()
    world.advance(16 * MINUTE_MS)
    const other = start(memory, world, 'other')
    other.note(event('two'))
    await other.fold()
    sleeper.note(event('three'))
    await sleeper.fold()
    await sleeper.fold()
    expect((await secrets(memory)).items).toHaveLength(2)
    expect(await used(other, 'one', 'two', 'three')).toEqual(['one', 'two', 'three'])
  })

  it('does not count a request that was not let in', async () => {
    const uses = start(api(), new FrozenWorld(), 'a')
    uses.note(event('one', { code: 401, ended: 'refused', refusal: 'MCM_CERTIFICATE_EXPIRED' }))
    uses.note(event('two', { code: 403, ended: 'refused', refusal: 'MCM_REVOKED' }))
    uses.note(event('three', { code: 403, ended: 'complete' }))
    uses.note(event('four', { code: 503, ended: 'refused', refusal: 'MCM_DIRECTORY_OLD' }))
    expect(await used(uses, 'one', 'two', 'three', 'four')).toEqual(['three'])
  })

  it('waits with what cannot be written until it can', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const uses = start(memory, world, 'a')
    uses.note(event('one'))
    memory.fault = () => new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
    await uses.fold()
    memory.fault = () => undefined
    await uses.fold()
    expect((await secrets(memory)).items).toHaveLength(1)
  })

  it('goes over a Secret that cannot be read', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const uses = start(memory, world, 'a')
    uses.note(event('one'))
    await uses.fold()
    const path = `${SECRETS_PATH}/${usesSecretName(CLUSTER, 0)}`
    const secret = await memory.get<{ data: object }>(path)
    await memory.update(path, { ...secret, data: { 'uses.json': 'eA==' } })
    uses.note(event('two'))
    await uses.fold()
    expect(await used(start(memory, world, 'b'), 'one', 'two')).toEqual(['one', 'two'])
  })

  it('is read once for a thousand who ask at the same time, and again five seconds later', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const uses = start(memory, world, 'a')
    await Promise.all(Array.from({ length: 1_000 }, () => uses.last()))
    expect(memory.count('list')).toBe(1)
    uses.note(event('one'))
    expect(await used(uses, 'one')).toEqual(['one'])
    world.advance(5_000)
    await uses.last()
    expect(memory.count('list')).toBe(2)
  })

  it('is not pushed out by a member who uses thousands of certificates: 64 of each user stay', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const uses = start(memory, world, 'a')
    uses.note(event('one'))
    world.advance(MINUTE_MS)
    const many = Array.from({ length: 4_000 }, (_, index) => `mallory${index}`)
    for (const name of many) uses.note(event(name))
    await uses.fold()
    const reader = start(memory, world, 'b')
    expect(await used(reader, 'one')).toEqual(['one'])
    expect(await used(reader, ...many)).toHaveLength(64)
  })

  it('is forgotten of a certificate that is neither on the list nor in the bin', async () => {
    const [memory, world] = [api(), new FrozenWorld()]
    const uses = start(memory, world, 'a')
    uses.note(event('one'))
    uses.note(event('two'))
    gone.add(of('one'))
    uses.note(event('one'))
    await uses.fold()
    gone.clear()
    expect(await used(uses, 'one', 'two')).toEqual(['two'])
    expect(await used(start(memory, world, 'b'), 'one', 'two')).toEqual(['two'])
  })
})
