import { afterEach, describe, expect, it, vi } from 'vitest'
import { recordSecret } from '../../src/agent/principal-record.ts'
import {
  type NewCertificate,
  type Principals,
  type Revoked,
  startPrincipals,
} from '../../src/agent/principals.ts'
import { principalSecretName, SECRETS_PATH } from '../../src/agent/state-secret.ts'
import { UnreachableError } from '../../src/errors.ts'
import { issuedCertificateSchema } from '../../src/protocol/messages.ts'
import { FrozenWorld, RecordedLog } from './frozen-world.ts'
import { MemoryApi } from './memory-api.ts'

const CLUSTER = 'c-abcdefgh22'
const HOUR_MS = 3_600_000
const LAPTOP = 'L'.repeat(43)
const PHONE = 'P'.repeat(43)
const BOB = `${SECRETS_PATH}/${principalSecretName(CLUSTER, 'bob')}`
const ending: AbortController[] = []

afterEach(() => {
  for (const controller of ending.splice(0)) controller.abort()
})

class Replica {
  readonly principals: Principals
  readonly log = new RecordedLog()
  readonly ended: Revoked[] = []

  constructor(api: MemoryApi, world: FrozenWorld, cluster = CLUSTER, isIssuer = true) {
    const controller = new AbortController()
    ending.push(controller)
    const watch = { backoff: { baseMs: 1, capMs: 2 } }
    const background = { world, log: this.log, signal: controller.signal }
    this.principals = startPrincipals(api, { cluster, isIssuer, watch }, background)
    this.principals.onRevoked((what) => this.ended.push(what))
  }
}

async function twoReplicas() {
  const api = new MemoryApi()
  const world = new FrozenWorld()
  const [a, b] = [new Replica(api, world), new Replica(api, world)]
  await Promise.all([a.principals.ready, b.principals.ready])
  await vi.waitFor(() => expect(api.openWatches).toBe(2), { interval: 1 })
  return { api, world, a, b }
}

function fingerprint(name: string | number): string {
  return String(name).padEnd(43, 'x')
}

function certificate(
  world: FrozenWorld,
  name: string | number,
  changes: Partial<NewCertificate> = {},
): NewCertificate {
  const now = world.now().getTime()
  return {
    fingerprint: fingerprint(name),
    serial: `0${String(name)}`,
    device: LAPTOP,
    deviceSince: new Date(now - 24 * HOUR_MS),
    notBefore: new Date(now - 300_000),
    notAfter: new Date(now + 12 * HOUR_MS),
    ...changes,
  }
}

const soon = (assertion: () => void) => vi.waitFor(assertion, { interval: 1 })

describe('the allowlist', () => {
  it('knows nobody at first, and is not fresh before it was read', () => {
    const replica = new Replica(new MemoryApi(), new FrozenWorld())
    expect(replica.principals.isFresh()).toBe(false)
    expect(replica.principals.find(fingerprint('a'))).toBeUndefined()
  })

  it('holds a certificate in the replica that issued it at once, and in the other by watch', async () => {
    const { a, b, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    expect(a.principals.find(fingerprint('one'))).toEqual({ user: 'bob', device: LAPTOP })
    await soon(() =>
      expect(b.principals.find(fingerprint('one'))).toEqual({ user: 'bob', device: LAPTOP }),
    )
  })

  it('is found again after a restart', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    const later = new Replica(api, world)
    await later.principals.ready
    expect(later.principals.find(fingerprint('one'))).toBeDefined()
    expect(later.principals.lastExpiry('bob', LAPTOP)).toEqual(certificate(world, 'one').notAfter)
  })

  it('writes nothing for a request, however many there are', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    const before = api.calls.length
    for (let request = 0; request < 1000; request++) {
      a.principals.find(fingerprint('one'))
      a.principals.revocationOf({ user: 'bob', device: LAPTOP })
    }
    expect(api.calls.length).toBe(before)
  })

  it('has one Secret per principal, whose name tells nothing of the user', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.record('bob', certificate(world, 'two'))
    await a.principals.record('Łukasz', certificate(world, 'three', { device: PHONE }))
    expect(api.keys()).toHaveLength(2)
    for (const key of api.keys()) expect(key).toMatch(/\/mcm-principal-[0-9a-f]{32}$/)
    expect(a.principals.secretName('bob')).toBe(BOB.slice(SECRETS_PATH.length + 1))
  })

  it('loses no entry when both replicas write one user’s at once', async () => {
    const { api, a, b, world } = await twoReplicas()
    const names = Array.from({ length: 10 }, (_, index) => `n${index}`)
    await Promise.all(
      names.map((name, index) =>
        (index % 2 ? a : b).principals.record('bob', certificate(world, name)),
      ),
    )
    for (const name of names) expect(a.principals.find(fingerprint(name)), name).toBeDefined()
    for (const name of names)
      await soon(() => expect(b.principals.find(fingerprint(name)), name).toBeDefined())
    expect(api.count('update')).toBeGreaterThanOrEqual(9)
  })

  it('acknowledges nothing that is not written', async () => {
    const { api, a, world } = await twoReplicas()
    api.fault = (verb) =>
      verb === 'create' ? new UnreachableError('MCM_TIMEOUT', 'etcd is full') : undefined
    await expect(a.principals.record('bob', certificate(world, 'one'))).rejects.toThrow('etcd')
    expect(a.principals.find(fingerprint('one'))).toBeUndefined()
    api.fault = () => undefined
    await a.principals.record('bob', certificate(world, 'two'))
    expect(a.principals.find(fingerprint('two'))).toBeDefined()
  })

  it('gives up, and says so, when somebody else wins every round', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    api.beforeWrite = (path) => {
      api.put(path, api.peek(path)!)
    }
    await expect(a.principals.record('bob', certificate(world, 'two'))).rejects.toMatchObject({
      code: 'MCM_CONFLICT',
    })
  })

  it('drops expired entries with the next write, and still knows when the device was last there', async () => {
    const { a, world } = await twoReplicas()
    const old = certificate(world, 'old')
    await a.principals.record('bob', old)
    world.advance(13 * HOUR_MS)
    await a.principals.record('bob', certificate(world, 'new', { device: PHONE }))
    expect(a.principals.certificatesOf('bob')).toHaveLength(1)
    expect(a.principals.find(old.fingerprint)).toBeUndefined()
    expect(a.principals.lastExpiry('bob', LAPTOP)).toEqual(old.notAfter)
    expect(a.ended).toEqual([])
  })

  it('does not grow without bound: of one device the oldest leave', async () => {
    const { a, world } = await twoReplicas()
    for (let index = 0; index < 40; index++)
      await a.principals.record('bob', certificate(world, `n${index}`))
    await a.principals.record('bob', certificate(world, 'phone', { device: PHONE }))
    expect(a.principals.certificatesOf('bob')).toHaveLength(33)
    expect(a.principals.find(fingerprint('n7'))).toBeUndefined()
    expect(a.principals.find(fingerprint('n8'))).toBeDefined()
  })

  it('holds a certificate once, however many replicas note it, and a revoked one stays revoked', async () => {
    const { a, b, world, api } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.revoke({ serial: '0one' })
    api.areWatchesFrozen = true
    await b.principals.record('bob', certificate(world, 'one'))
    for (const { principals } of [a, b]) {
      expect(principals.find(fingerprint('one'))?.revoked).toBeDefined()
      expect(principals.certificatesOf('bob')).toHaveLength(1)
    }
  })

  it('never drops a revoked certificate that has not ended, however many come after it', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'stolen'))
    await a.principals.revoke({ serial: '0stolen' })
    for (let index = 0; index < 40; index++)
      await a.principals.record('bob', certificate(world, `n${index}`))
    expect(a.principals.find(fingerprint('stolen'))?.revoked).toBeDefined()
  })

  it('lets a newer certificate of the same device take the place of one, which is no revocation', async () => {
    const { a, b, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'old'))
    await a.principals.record('bob', certificate(world, 'new', { replaces: fingerprint('old') }))
    await a.principals.replace({ user: 'bob', fingerprint: fingerprint('new') })
    const from = new Date(world.now().getTime() + 5 * 60_000)
    await soon(() =>
      expect(b.principals.find(fingerprint('old'))).toMatchObject({ replacedFrom: from }),
    )
    expect(b.principals.find(fingerprint('new'))).toEqual({ user: 'bob', device: LAPTOP })
    expect([...a.ended, ...b.ended]).toEqual([])
  })

  it('ends no certificate by one that its device could not keep, until a later one is used', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'old'))
    const lost = certificate(world, 'lost', { replaces: fingerprint('old') })
    await a.principals.record('bob', lost)
    expect(a.principals.find(fingerprint('old'))).not.toHaveProperty('replacedFrom')
    await a.principals.record('bob', certificate(world, 'new', { replaces: lost.fingerprint }))
    await a.principals.replace({ user: 'bob', fingerprint: fingerprint('new') })
    for (const name of ['old', 'lost'])
      expect(a.principals.find(fingerprint(name))).toHaveProperty('replacedFrom')
  })

  it('lets no device replace a certificate of another', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'phone', { device: PHONE }))
    await a.principals.record('bob', certificate(world, 'new', { replaces: fingerprint('phone') }))
    await a.principals.replace({ user: 'bob', fingerprint: fingerprint('new') })
    expect(a.principals.find(fingerprint('phone'))).not.toHaveProperty('replacedFrom')
  })

  it('puts a certificate into the bin in every replica, and takes it out as it was', async () => {
    const { a, b, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await soon(() => expect(b.principals.find(fingerprint('one'))).toBeDefined())
    await a.principals.purge({ user: 'bob', serial: '0one', by: 'alice' })
    await soon(() =>
      expect(b.ended).toEqual([{ user: 'bob', device: LAPTOP, fingerprint: fingerprint('one') }]),
    )
    expect(b.principals.find(fingerprint('one'))).toMatchObject({ purged: world.now() })
    expect(b.principals.purgedBy('0one')).toBe('alice')
    expect(a.principals.certificatesOf('bob')).toEqual([])
    expect(a.principals.certificatesOf('bob', 'bin')).toHaveLength(1)
    await b.principals.restore({ user: 'bob', serial: '0one' })
    await soon(() => expect(a.principals.certificatesOf('bob')).toHaveLength(1))
    expect(a.principals.find(fingerprint('one'))).toEqual({ user: 'bob', device: LAPTOP })
  })

  it('keeps revoked what comes out of the bin', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.revoke({ serial: '0one' })
    await a.principals.purge({ user: 'bob', serial: '0one', by: 'bob' })
    await a.principals.restore({ user: 'bob', serial: '0one' })
    expect(a.principals.find(fingerprint('one'))?.revoked).toEqual(world.now())
  })

  it('leaves the bin to an administrator who purges what its owner has purged before', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    const purge = (by: string) => a.principals.purge({ user: 'bob', serial: '0one', by })
    await purge('bob')
    await purge('alice')
    expect(a.principals.purgedBy('0one')).toBe('alice')
    await purge('bob')
    expect(a.principals.purgedBy('0one')).toBe('alice')
  })

  it('forgets of ended ones those of long ago where the agent issues, and never where the owner does', async () => {
    for (const isIssuer of [true, false]) {
      const [api, world] = [new MemoryApi(), new FrozenWorld()]
      const ended = Array.from({ length: 258 }, (_, index) => {
        const { deviceSince: _since, ...facts } = certificate(world, index)
        return { ...facts, purged: { time: world.now(), by: 'bob' } }
      })
      const record = { user: 'bob', certificates: ended, devices: {} }
      api.put(BOB, recordSecret(CLUSTER, record, undefined))
      const { principals } = new Replica(api, world, CLUSTER, isIssuer)
      await principals.ready
      await principals.record('bob', certificate(world, 'new'))
      expect(principals.certificatesOf('bob', 'bin')).toHaveLength(isIssuer ? 256 : 258)
      expect(principals.find(fingerprint(1)) === undefined).toBe(isIssuer)
      expect(principals.find(fingerprint(257))).toHaveProperty('purged')
    }
  })

  it('empties the bin as certificates end', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.purge({ user: 'bob', serial: '0one', by: 'bob' })
    world.advance(13 * HOUR_MS)
    expect(a.principals.certificatesOf('bob', 'bin')).toEqual([])
  })

  it('lists everybody’s', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.record('carol', certificate(world, 'two', { device: PHONE }))
    expect(a.principals.certificatesOf(undefined).map(({ user }) => user)).toEqual(['bob', 'carol'])
  })

  it('keeps clusters apart, also in one namespace', async () => {
    const { api, a, world } = await twoReplicas()
    const other = new Replica(api, world, 'c-zzzzzzzz22')
    await other.principals.ready
    await a.principals.record('bob', certificate(world, 'one'))
    await other.principals.record('bob', certificate(world, 'two'))
    await other.principals.revoke({ user: 'bob' })
    expect(other.principals.find(fingerprint('one'))).toBeUndefined()
    expect(a.principals.find(fingerprint('one'))).toEqual({ user: 'bob', device: LAPTOP })
  })

  it('lists certificates in the form of the protocol', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.revoke({ serial: '0one' })
    const [listed] = a.principals.certificatesOf('bob')
    expect(issuedCertificateSchema.parse(listed)).toEqual({
      fingerprint: fingerprint('one'),
      serial: '0one',
      user: 'bob',
      device: LAPTOP,
      notBefore: '2026-01-01T11:55:00Z',
      notAfter: '2026-01-02T00:00:00Z',
      revoked: '2026-01-01T12:00:00Z',
    })
  })
})

describe('looking a certificate up that the watch has not brought yet', () => {
  it('finds what the other replica has just issued', async () => {
    const { api, a, b, world } = await twoReplicas()
    api.areWatchesFrozen = true
    await a.principals.record('bob', certificate(world, 'one'))
    expect(b.principals.find(fingerprint('one'))).toBeUndefined()
    expect(await b.principals.lookUp(fingerprint('one'), 'bob')).toMatchObject({ user: 'bob' })
    expect(b.principals.find(fingerprint('one'))).toBeDefined()
  })

  it('asks the API server once for many at once, and not again within a second', async () => {
    const { api, a, world } = await twoReplicas()
    const before = api.count('get')
    const look = () => a.principals.lookUp(fingerprint('stranger'), 'bob')
    await Promise.all(Array.from({ length: 100 }, look))
    await look()
    expect(api.count('get')).toBe(before + 1)
    world.advance(1_001)
    await look()
    expect(api.count('get')).toBe(before + 2)
  })

  it('does not take an API server that fails for a no', async () => {
    const { api, a } = await twoReplicas()
    api.fault = () => new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
    await expect(a.principals.lookUp(fingerprint('one'), 'bob')).rejects.toMatchObject({
      httpStatus: 503,
    })
  })
})

describe('revocation', () => {
  it('of a user ends every certificate and device, in both replicas, and both are told', async () => {
    const { a, b, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.record('bob', certificate(world, 'two', { device: PHONE }))
    await soon(() => expect(b.principals.find(fingerprint('two'))).toBeDefined())
    expect(await b.principals.revoke({ user: 'bob' })).toEqual({ user: 'bob' })
    await soon(() => expect(a.ended).toEqual([{ user: 'bob' }]))
    expect(b.ended).toEqual([{ user: 'bob' }])
    for (const { principals } of [a, b])
      for (const name of ['one', 'two'])
        expect(principals.find(fingerprint(name))?.revoked).toEqual(world.now())
  })

  it('of a device leaves the user’s others alone', async () => {
    const { a, b, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.record('bob', certificate(world, 'two', { device: PHONE }))
    await a.principals.revoke({ device: LAPTOP })
    expect(a.principals.find(fingerprint('one'))?.revoked).toBeDefined()
    expect(a.principals.find(fingerprint('two'))?.revoked).toBeUndefined()
    expect(a.ended).toEqual([{ user: 'bob', device: LAPTOP }])
    await soon(() => expect(b.ended).toEqual(a.ended))
  })

  it('of a serial ends one certificate', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.record('bob', certificate(world, 'two'))
    await a.principals.revoke({ serial: '0one' })
    expect(a.principals.find(fingerprint('one'))?.revoked).toBeDefined()
    expect(a.principals.find(fingerprint('two'))?.revoked).toBeUndefined()
    expect(a.ended).toEqual([{ user: 'bob', device: LAPTOP, fingerprint: fingerprint('one') }])
  })

  it('of what nobody owns is said to be that, and writes nothing', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    const before = api.peek(BOB)
    for (const order of [{ device: PHONE }, { serial: '0two' }, { serial: '0two', user: 'bob' }])
      await expect(a.principals.revoke(order)).rejects.toMatchObject({ code: 'MCM_USER_UNKNOWN' })
    expect(api.peek(BOB)).toEqual(before)
    expect(api.keys()).toEqual([BOB])
  })

  it('of a device that never had a certificate here still keeps it out', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.revoke({ device: LAPTOP, user: 'bob' })
    expect(a.principals.revocationOf({ user: 'bob', device: LAPTOP })).toEqual(world.now())
    await expect(a.principals.record('bob', certificate(world, 'one'))).rejects.toMatchObject({
      code: 'MCM_REVOKED',
    })
  })

  it('that the issuing replica has not heard of yet still stops the issuance', async () => {
    const { api, a, b, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    api.areWatchesFrozen = true
    await a.principals.revoke({ user: 'bob' })
    expect(b.principals.revocationOf({ user: 'bob', device: LAPTOP })).toBeUndefined()
    await expect(b.principals.record('bob', certificate(world, 'two'))).rejects.toMatchObject({
      code: 'MCM_REVOKED',
    })
  })

  it('of a user reaches devices that never were here, also where this agent’s clock is behind theirs', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.revoke({ user: 'bob', devices: [PHONE] })
    const deviceSince = new Date(world.now().getTime() + 60_000)
    const late = certificate(world, 'late', { device: PHONE, deviceSince })
    await expect(a.principals.record('bob', late)).rejects.toMatchObject({ code: 'MCM_REVOKED' })
  })

  it('of a user does not reach a device that the directory knows only since', async () => {
    const { a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.revoke({ user: 'bob' })
    world.advance(HOUR_MS)
    const deviceSince = world.now()
    const fresh = certificate(world, 'two', { device: PHONE, deviceSince })
    await a.principals.record('bob', fresh)
    expect(a.principals.find(fresh.fingerprint)).toEqual({ user: 'bob', device: PHONE })
    expect(a.principals.find(fingerprint('one'))?.revoked).toBeDefined()
    const unseen = { user: 'bob', device: 'N'.repeat(43) }
    expect(a.principals.revocationOf({ ...unseen, deviceSince })).toBeUndefined()
    expect(a.principals.revocationOf(unseen)).toBeDefined()
  })

  it('stays when the same is revoked again, and after the certificates have expired', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    const since = world.now()
    await a.principals.revoke({ device: LAPTOP })
    world.advance(48 * HOUR_MS)
    await a.principals.revoke({ device: LAPTOP, user: 'bob' })
    const later = new Replica(api, world)
    await later.principals.ready
    expect(later.principals.revocationOf({ user: 'bob', device: LAPTOP })).toEqual(since)
  })

  it('tells listeners nothing at start: there is no session yet', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.revoke({ user: 'bob' })
    const later = new Replica(api, world)
    await later.principals.ready
    expect(later.ended).toEqual([])
  })

  it('reaches the other listeners when one of them throws', async () => {
    const { a, world } = await twoReplicas()
    const heard = vi.fn()
    a.principals.onRevoked(() => {
      throw new Error('bug')
    })
    a.principals.onRevoked(heard)
    await a.principals.record('bob', certificate(world, 'one'))
    await a.principals.revoke({ user: 'bob' })
    expect(heard).toHaveBeenCalledOnce()
    expect(a.log.events()).toContain('revocation_listener_failed')
  })
})

describe('an administrator with kubectl', () => {
  it('ends a user by deleting the Secret', async () => {
    const { api, a, b, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await soon(() => expect(b.principals.find(fingerprint('one'))).toBeDefined())
    api.remove(BOB)
    await soon(() => expect(b.ended).toEqual([{ user: 'bob' }]))
    expect(b.principals.find(fingerprint('one'))).toBeUndefined()
    await soon(() => expect(a.ended).toEqual([{ user: 'bob' }]))
  })

  it('ends a certificate by taking it off the list', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    const secret = api.peek<{ data: Record<string, string> }>(BOB)!
    const record = JSON.parse(Buffer.from(secret.data['principal.json']!, 'base64').toString())
    const text = JSON.stringify({ ...record, certificates: [] })
    api.put(BOB, { ...secret, data: { 'principal.json': Buffer.from(text).toString('base64') } })
    await soon(() => expect(a.principals.find(fingerprint('one'))).toBeUndefined())
    expect(a.ended).toEqual([{ user: 'bob', device: LAPTOP, fingerprint: fingerprint('one') }])
  })

  it('lets nobody in by a Secret that cannot be read, and overwrites nothing', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    const secret = api.peek(BOB)!
    api.put(BOB, { ...secret, data: { 'principal.json': 'e30=' } })
    await soon(() => expect(a.ended).toEqual([{ user: 'bob' }]))
    expect(a.principals.find(fingerprint('one'))).toBeUndefined()
    await expect(a.principals.record('bob', certificate(world, 'two'))).rejects.toMatchObject({
      code: 'MCM_STATE_DAMAGED',
    })
    expect(api.peek(BOB)).toMatchObject({ data: { 'principal.json': 'e30=' } })
    expect(a.log.events()).toContain('principal_damaged')
    expect([a.principals.isReadable('bob'), a.principals.isReadable('carol')]).toEqual([
      false,
      true,
    ])
    const broken = api.peek<{ metadata: object }>(BOB)!
    api.put(BOB, { ...secret, metadata: broken.metadata })
    await soon(() => expect(a.principals.isReadable('bob')).toBe(true))
  })

  it('cannot give one user’s list to another by copying a Secret under another name', async () => {
    const { api, a, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    const secret = api.peek<{ metadata: { name: string } }>(BOB)!
    const name = principalSecretName(CLUSTER, 'carol')
    const copy = { ...secret, metadata: { ...secret.metadata, name } }
    api.put(`${SECRETS_PATH}/${name}`, copy)
    await soon(() => expect(a.log.events()).toContain('principal_misplaced'))
    expect(a.principals.find(fingerprint('one'))).toMatchObject({ user: 'bob' })
  })
})

describe('a broken watch', () => {
  it('makes the memory say that it is too old, and new news make it fresh again', async () => {
    const { api, a, world } = await twoReplicas()
    api.fault = () => new UnreachableError('MCM_API_SERVER_UNREACHABLE', 'down')
    api.endWatches()
    await soon(() => expect(a.log.events()).toContain('watch_broken'))
    world.advance(45_001)
    expect(a.principals.isFresh()).toBe(false)
    api.fault = () => undefined
    await soon(() => expect(a.principals.isFresh()).toBe(true))
  })

  it('hides no revocation for good', async () => {
    const { api, a, b, world } = await twoReplicas()
    await a.principals.record('bob', certificate(world, 'one'))
    await soon(() => expect(b.principals.find(fingerprint('one'))).toBeDefined())
    api.areWatchesFrozen = true
    await a.principals.revoke({ user: 'bob' })
    // A watch that hangs is given up after its time; the one after it brings nothing either.
    await soon(() => {
      api.endWatches()
      expect(b.ended).toEqual([{ user: 'bob' }])
    })
  })
})
